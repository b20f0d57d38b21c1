"""Connecting to a Temporal server: TLS, key and namespace, and what went wrong in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from temporalio.client import Client, Interceptor
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from wap.codec import data_converter
from wap.errors import ConfigError, TemporalUnavailableError
from wap.settings import TemporalSection

CONNECT_SECONDS = 30.0

#: What a server in its first second answers; of a given one only the first two pass by themselves.
_AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)
_STARTING = (*_AWAY, RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)

#: Words of the TLS library in a handshake that failed for good.
_CERTIFICATES = (
    "InvalidCertificate", "InvalidContentType", "InconsistentKeys", "AlertReceived", "close_notify",
    "TLS",
)  # fmt: skip


async def connect(
    address: str,
    settings: TemporalSection,
    root: Path,
    *,
    interceptors: Sequence[Interceptor] = (),
    seconds: float = CONNECT_SECONDS,
) -> Client:
    """Connect to a Temporal server that may still be starting.

    Args:
        address: ``host:port``.
        settings: namespace, key, certificates.
        root: the project's folder; relative paths of certificates are taken from it.
        seconds: how long a server that is away is waited for.

    Raises:
        ConfigError: a certificate's file cannot be read, or one of a pair is missing.
        TemporalUnavailableError: it did not answer in time, or refuses us.
    """
    tls = tls_of(settings, root)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            client = await Client.connect(
                address,
                namespace=settings.namespace,
                api_key=key,
                tls=tls,
                data_converter=data_converter(settings.encryption_keys),
                interceptors=interceptors,
            )
            await client.count_workflows("WorkflowType='none'")
        except (RPCError, RuntimeError) as exc:
            late = asyncio.get_running_loop().time() > deadline
            if late or not _passes(exc, given=settings.address is not None):
                raise refused(exc, address, settings) from exc
            await asyncio.sleep(0.05)
        else:
            return client


def tls_of(settings: TemporalSection, root: Path) -> TLSConfig | bool | None:
    """What TLS needs; None: no TLS, unless a key implies it.

    Certificates are the machine's, not the project's: they are mounted where its secrets are, so
    their paths may lie anywhere. They are handed to TLS alone and never shown.

    Raises:
        ConfigError: a file cannot be read, or one of a pair is missing.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigError(
            "a client certificate and its key go together",
            where="[temporal] tls_cert, tls_key",
            hint="name both files, or neither",
        )
    named = (settings.tls_ca, settings.tls_cert, settings.tls_key, settings.tls_server_name)
    if not any(named):
        return settings.tls or None
    return TLSConfig(
        server_root_ca_cert=_content(root, "tls_ca", settings.tls_ca),
        client_cert=_content(root, "tls_cert", settings.tls_cert),
        client_private_key=_content(root, "tls_key", settings.tls_key),
        domain=settings.tls_server_name,
    )


def _content(root: Path, key: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = (root / path).read_bytes()
    except OSError as exc:
        raise ConfigError(
            f"the file cannot be read: {exc.strerror or exc}",
            where=f"[temporal] {key} = {path}",
            hint="a relative path is taken from the project's folder",
        ) from exc
    if b"-----BEGIN " not in content:
        raise ConfigError(
            "the file is not PEM: it has no line -----BEGIN …-----",
            where=f"[temporal] {key} = {path}",
            hint="openssl x509 -inform der -in FILE turns DER into PEM",
        )
    return content


def _passes(exc: Exception, *, given: bool) -> bool:
    """Whether the error may be gone in a moment."""
    if isinstance(exc, RPCError):
        return exc.status in (_AWAY if given else _STARTING)
    return not _is_about_certificates(exc)


def _is_about_certificates(exc: Exception) -> bool:
    return any(word in str(exc) for word in _CERTIFICATES)


def refused(exc: Exception, address: str, settings: TemporalSection) -> TemporalUnavailableError:
    """What a failed connection means; the key is never part of it."""
    status = exc.status if isinstance(exc, RPCError) else None
    if status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
        sent = "the key" if settings.api_key else "no key was sent, and the connection"
        return TemporalUnavailableError(
            f"the Temporal server refuses us: {sent} is not accepted for the namespace "
            f"{settings.namespace!r}",
            where=address,
            hint="check TEMPORAL_API_KEY and TEMPORAL_NAMESPACE; a key belongs to one account",
        )
    if status is RPCStatusCode.NOT_FOUND:
        return TemporalUnavailableError(
            f"the Temporal server knows no namespace {settings.namespace!r}",
            where=address,
            hint="check TEMPORAL_NAMESPACE; or make it: temporal operator namespace create "
            f"--namespace {settings.namespace}",
        )
    if _is_about_certificates(exc):
        return TemporalUnavailableError(
            f"no TLS with the Temporal server: {_hushed(exc, settings)}",
            where=address,
            hint="check [temporal] tls_ca (who signed the server's certificate), tls_server_name "
            "(the name in it) and tls_cert with tls_key (what it wants from us)",
        )
    return TemporalUnavailableError(
        f"no Temporal server answers: {_hushed(exc, settings)}",
        where=address,
        hint="check the address, and whether it wants TLS ([temporal] tls); or unset "
        "TEMPORAL_ADDRESS to use the project's own server",
    )


def _hushed(exc: Exception, settings: TemporalSection) -> str:
    said = str(exc)
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    return said.replace(key, "…") if key else said
