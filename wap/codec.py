"""Encrypting what Temporal keeps: every payload sealed by AES-GCM under a named key."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import os
from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

from wap.errors import DecryptionError, NotInstalledError
from wap.settings import Keys

_ENCODING = b"binary/encrypted"
_KEY_ID = "wap-key-id"
_NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """Encrypts by the first key and decrypts by whichever the payload names.

    The key's id and the encoding are authenticated with the content: a payload that is said to be
    under another key than it is, or that was changed, is refused.
    """

    def __init__(self, keys: Keys) -> None:
        """Take the keys.

        Raises:
            NotInstalledError: the extra ``encryption`` is missing.
        """
        try:
            aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
            self._invalid = importlib.import_module("cryptography.exceptions").InvalidTag
        except ImportError as exc:
            raise NotInstalledError(
                "encrypting payloads needs the package cryptography",
                hint="pip install 'wap-lakehouse[encryption]'",
            ) from exc
        self._newest = keys[0][0]
        self._ciphers: dict[str, Any] = {
            name: aead.AESGCM(base64.b64decode(key.get_secret_value())) for name, key in keys
        }

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal each payload whole, its metadata too."""
        return [self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what is sealed; what was written before there was a key is left as it is.

        Raises:
            DecryptionError: the key is not at hand, or the payload was changed.
        """
        return [self._opened(payload) for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._newest]
        content = cipher.encrypt(nonce, payload.SerializeToString(), _bound(self._newest))
        metadata = {"encoding": _ENCODING, _KEY_ID: self._newest.encode()}
        return Payload(metadata=metadata, data=nonce + content)

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            return payload
        name = payload.metadata.get(_KEY_ID, b"").decode(errors="replace")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise DecryptionError(
                f"a payload was encrypted under the key {name!r}, which is not among ours",
                where="Temporal's history",
                hint="add it behind the newest one in WAP_TEMPORAL__ENCRYPTION_KEYS: a key stays "
                "there until the last history under it is gone",
            )
        nonce, content = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, content, _bound(name)))
        except self._invalid as exc:
            raise DecryptionError(
                f"a payload under the key {name!r} was changed, or that is another key now",
                where="Temporal's history",
                hint="every door and worker needs the same key under the same id",
            ) from exc


def _bound(key_id: str) -> bytes:
    """What is authenticated beside the content."""
    return b"wap:1:" + key_id.encode()


def data_converter(keys: Keys | None) -> DataConverter:
    """How values become payloads; with keys also the messages of failures are encrypted."""
    if not keys:
        return pydantic_data_converter
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
