"""Who may do what: two bearer tokens, the engineers' for changes and the auditors' for reading."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from wap.errors import ConfigError
from wap.settings import ApiSection

#: A shorter token can be guessed.
MIN_TOKEN = 16


class Role(StrEnum):
    """What a caller is taken for."""

    ENGINEER = "engineer"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """The tokens there are, and whether reading needs one."""

    engineer: bytes | None
    auditor: bytes | None
    open_reads: bool

    @classmethod
    def of(cls, settings: ApiSection) -> Access:
        """The access that the settings give.

        Raises:
            ConfigError: a token can be guessed, one is both roles', or without any the API would
                be open to others than this machine's users, or to nobody.
        """
        engineer = _token(settings.token, "WAP_API__TOKEN")
        auditor = _token(settings.auditor_token, "WAP_API__AUDITOR_TOKEN")
        if engineer is not None and engineer == auditor:
            raise ConfigError(
                "engineers and auditors have one token",
                where="WAP_API__AUDITOR_TOKEN",
                hint="give them different ones, or the engineers' alone",
            )
        if engineer is None and not is_loopback(settings.host):
            raise ConfigError(
                f"without a token nothing is served at {settings.host}",
                where="WAP_API__TOKEN",
                hint="set it to a long random text, or serve at 127.0.0.1",
            )
        if engineer is None and auditor is None and not settings.open_reads:
            raise ConfigError(
                "there is no token, so nobody could ask anything",
                where="WAP_API__TOKEN",
                hint="set it to a long random text, or let everybody here read: --open-reads",
            )
        return cls(engineer, auditor, settings.open_reads)

    def role(self, credentials: HTTPAuthorizationCredentials | None) -> Role | None:
        """Whose token it is; None: nobody's. Every token is compared, each in constant time."""
        if credentials is None:
            return None
        given = credentials.credentials.encode("latin-1", "replace")
        found = None
        for role, token in ((Role.AUDITOR, self.auditor), (Role.ENGINEER, self.engineer)):
            if hmac.compare_digest(given, token or b"") and token is not None:
                found = role
        return found


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _token(secret: SecretStr | None, variable: str) -> bytes | None:
    value = secret.get_secret_value() if secret is not None else ""
    if not value:
        return None
    if len(value) < MIN_TOKEN or not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"a token has at least {MIN_TOKEN} printable ASCII characters",
            where=variable,
            hint="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return value.encode()


_bearer = HTTPBearer(auto_error=False, description="The engineers' or the auditors' token.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def may_read(request: Request, credentials: _Credentials) -> None:
    """Let engineers and auditors pass, and everybody where reads are open."""
    access: Access = request.app.state.access
    role = access.role(credentials)
    # A token that is wrong is told so, also where none is needed.
    if role is None and (credentials is not None or not access.open_reads):
        raise _unknown()


def may_change(request: Request, credentials: _Credentials) -> None:
    """Let engineers pass."""
    role = request.app.state.access.role(credentials)
    if role is None:
        raise _unknown()
    if role is not Role.ENGINEER:
        raise HTTPException(403, "an auditor reads and changes nothing")


def _unknown() -> HTTPException:
    return HTTPException(
        401, "a token is needed: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
    )
