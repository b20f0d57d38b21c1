"""What Temporal keeps is sealed: by the newest key, opened by any of ours, and never changed."""

import asyncio
import base64
import os

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from wap.codec import data_converter
from wap.errors import ConfigError, DecryptionError
from wap.layers import settings_of
from wap.located import read_toml
from wap.model import Ending, RunResult


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def converter(text: str):
    variables = {"WAP_TEMPORAL__ENCRYPTION_KEYS": text}
    settings, _ = settings_of(read_toml("", "wap.toml"), variables, {})
    return data_converter(settings.temporal.encryption_keys)


def sealed(text: str, value: object):
    (payload,) = asyncio.run(converter(text).encode([value]))
    return payload


def opened(text: str, payload, kind: type):
    (value,) = asyncio.run(converter(text).decode([payload], [kind]))
    return value


@pytest.mark.parametrize("size", [1, 12_000, 1_900_000])
def test_small_and_large_values_come_back_and_stand_nowhere_in_clear(size):
    keys, reason = f"a={key()}", "secret reason " * (size // 14 + 1)
    result = RunResult(
        run_id="r", pipeline="p", table="shop.orders", ending=Ending.REJECTED, reason=reason
    )
    payload = sealed(keys, result)
    assert payload.metadata["wap-key-id"] == b"a"
    assert b"secret" not in payload.data
    assert b"shop.orders" not in payload.SerializeToString()
    assert opened(keys, payload, RunResult) == result


def test_the_first_key_encrypts_and_the_older_ones_still_decrypt():
    old, new = key(), key()
    before = sealed(f"old={old}", "x")
    rotated = f"new={new},old={old}"
    assert sealed(rotated, "x").metadata["wap-key-id"] == b"new"
    assert opened(rotated, before, str) == "x"


def test_a_missing_key_is_named_and_no_key_is_shown():
    old, new = key(), key()
    with pytest.raises(DecryptionError, match="'old'") as caught:
        opened(f"new={new}", sealed(f"old={old}", "x"), str)
    assert new not in str(caught.value)
    assert "Hint:" in str(caught.value)


def test_the_key_that_is_named_is_part_of_what_is_sealed():
    one = key()
    payload = sealed(f"a={one}", "x")
    payload.metadata["wap-key-id"] = b"b"
    with pytest.raises(DecryptionError, match="changed"):
        opened(f"b={one}", payload, str)


def test_a_changed_payload_is_refused():
    keys = f"a={key()}"
    payload = sealed(keys, "x")
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(DecryptionError):
        opened(keys, payload, str)


def test_what_was_written_before_there_was_a_key_can_be_read():
    (payload,) = asyncio.run(pydantic_data_converter.encode(["x"]))
    assert opened(f"a={key()}", payload, str) == "x"


def test_the_same_value_is_never_sealed_alike():
    keys = f"a={key()}"
    assert sealed(keys, "x").data != sealed(keys, "x").data


def test_what_failed_is_not_told_in_clear():
    keys, failure = f"a={key()}", Failure()
    error = ApplicationError("row 3 of shop.orders is odd", type="EngineError")
    asyncio.run(converter(keys).encode_failure(error, failure))
    assert b"shop.orders" not in failure.SerializeToString()
    told = asyncio.run(converter(keys).decode_failure(failure))
    assert "row 3 of shop.orders is odd" in str(told)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", "write id=base64"),
        ("a=c2hvcnQ=", "key 'a' is not base64 of 32 bytes"),
        ("a=###", "key 'a' is not base64 of 32 bytes"),
        ("a={0},a={0}", "two keys have the same id"),
    ],
)
def test_keys_that_are_none_are_refused_without_being_shown(text, said):
    secret = key()
    with pytest.raises(ConfigError, match=said) as caught:
        converter(text.format(secret))
    assert secret not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)
