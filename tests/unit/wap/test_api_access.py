"""Whom the API answers: tokens that are none, addresses that are open, and constant comparison."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.security import HTTPAuthorizationCredentials

from wap.api.access import Access, Role, is_loopback
from wap.api.server import _socket
from wap.errors import ConfigError
from wap.settings import ApiSection

ENGINEER, AUDITOR = "e" * 16, "a" * 16


def access(**settings: Any) -> Access:
    return Access.of(ApiSection.model_validate(settings))


def role(of: Access, token: str) -> Role | None:
    return of.role(HTTPAuthorizationCredentials(scheme="Bearer", credentials=token))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "there is no token"),
        ({"token": "", "auditor_token": ""}, "there is no token"),
        ({"host": "0.0.0.0", "open_reads": True}, "nothing is served at 0.0.0.0"),  # noqa: S104
        ({"host": "::", "auditor_token": AUDITOR}, "nothing is served at ::"),
        ({"host": "lake.example", "open_reads": True}, "nothing is served at lake.example"),
        ({"token": "short-and-known"}, "at least 16"),
        ({"token": "ü" * 20}, "at least 16"),
        ({"token": ENGINEER, "auditor_token": "short"}, "at least 16"),
        ({"token": ENGINEER, "auditor_token": ENGINEER}, "have one token"),
    ],
)
def test_access_that_is_none_or_too_open_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said) as caught:
        access(**settings)
    assert "short" not in str(caught.value)
    assert ENGINEER not in str(caught.value)


def test_each_token_is_its_role_and_nothing_else_is_one():
    both = access(token=ENGINEER, auditor_token=AUDITOR)
    assert (role(both, ENGINEER), role(both, AUDITOR)) == (Role.ENGINEER, Role.AUDITOR)
    assert both.role(None) is None
    for wrong in ("", "e", ENGINEER[:-1], ENGINEER + "e", "ü", "🛫"):
        assert role(both, wrong) is None


def test_a_token_that_is_not_set_is_not_the_empty_one():
    assert role(access(open_reads=True), "") is None
    assert role(access(token=ENGINEER), "") is None


def test_tokens_are_not_in_a_repr():
    assert ENGINEER not in repr(access(token=ENGINEER))
    assert ENGINEER not in repr(ApiSection.model_validate({"token": ENGINEER}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", ""])  # noqa: S104
def test_not_loopback(host):
    assert not is_loopback(host)


def test_an_address_that_cannot_be_had_is_said_so():
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1"):
        _socket(ApiSection(host="192.0.2.1"))
    with _socket(ApiSection(port=0)) as taken, pytest.raises(ConfigError, match="cannot listen"):
        _socket(ApiSection(port=taken.getsockname()[1]))
