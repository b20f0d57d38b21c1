"""The S3 client: what it is made of, how long it waits, and its errors in our words."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from catalog.errors import (
    CatalogConfigError,
    CatalogUnavailableError,
    NotInstalledError,
    StorageFullError,
)

#: Schemes of locations that lie in S3.
SCHEMES: Final = ("s3", "s3a", "s3n")

#: A request is given up after so many tries; each waits for at most the timeouts.
TRIES = 3
_CONNECT_SECONDS = 5.0
_REQUEST_SECONDS = 20.0
_CONNECTIONS = 32
#: S3's word for an upload that was completed or aborted meanwhile.
ABORTED: Final = "NoSuchUpload"
#: Parts of uploads on their way at once, in the whole process.
UPLOADS = 4

_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "InvalidToken",
                   "InvalidClientTokenId", "UnrecognizedClientException"})  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"})
_REGION = frozenset({"PermanentRedirect", "301", "AuthorizationHeaderMalformed",
                     "IllegalLocationConstraintException", "IncorrectEndpoint"})  # fmt: skip
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507"})
_BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout",
                   "InternalError", "ServiceUnavailable", "OperationAborted", "BadDigest",
                   "IncompleteBody", "429"})  # fmt: skip
_SERVER_FAULT = 500

_RETRY = "it is tried again by itself; if this stays, look whether the store is up and reachable"
_CREDENTIALS = (
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the catalog's properties "
    "s3.access-key-id and s3.secret-access-key"
)


@dataclass(frozen=True, slots=True)
class Access:
    """Where S3 is and who we are there; without a key boto3's own chain says who.

    Attributes:
        endpoint: URL of a store that is not AWS's; None: AWS, or what AWS_ENDPOINT_URL says.
        connect: seconds until a connection must stand.
        request: seconds without a byte after which a request is given up.
        virtual: the bucket in the host's name (True), in the path (False), or as boto3 does it.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    anonymous: bool = False
    virtual: bool | None = None
    connect: float = _CONNECT_SECONDS
    request: float = _REQUEST_SECONDS

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> Access:
        """What pyiceberg's properties say.

        Raises:
            CatalogConfigError: one of them cannot be used; it is named, its value is not.
        """
        for name in ("s3.role-arn", "client.role-arn", "s3.signer"):
            if properties.get(name):
                raise CatalogConfigError(
                    f"the property {name} is not supported",
                    hint="name the role in a profile of ~/.aws/config, and the profile in "
                    "AWS_PROFILE or client.profile-name; boto3 then takes the role",
                )
        key = _first(properties, "s3.access-key-id", "client.access-key-id")
        secret = _first(properties, "s3.secret-access-key", "client.secret-access-key")
        if (key is None) != (secret is None):
            raise CatalogConfigError(
                "s3.access-key-id and s3.secret-access-key go together, and one is not set",
                hint="set both, or neither: then boto3's own chain is asked",
            )
        endpoint = properties.get("s3.endpoint") or None
        if "@" in (endpoint or ""):
            raise CatalogConfigError(
                "credentials do not belong in s3.endpoint, which clients quote", hint=_CREDENTIALS
            )
        return cls(
            endpoint=endpoint,
            region=_first(properties, "s3.region", "client.region"),
            profile=properties.get("client.profile-name") or None,
            key=key,
            secret=secret,
            token=_first(properties, "s3.session-token", "client.session-token"),
            proxy=properties.get("s3.proxy-uri") or None,
            anonymous=_truth(properties, "s3.anonymous") or False,
            virtual=_addressing(properties, endpoint),
            connect=_seconds(properties, "s3.connect-timeout", _CONNECT_SECONDS),
            request=_seconds(properties, "s3.request-timeout", _REQUEST_SECONDS),
        )

    @property
    def from_chain(self) -> bool:
        """Whether boto3's chain finds the credentials."""
        return self.key is None and not self.anonymous


def _first(properties: Mapping[str, str], *names: str) -> str | None:
    return next((properties[n] for n in names if properties.get(n)), None)


def _truth(properties: Mapping[str, str], name: str) -> bool | None:
    text = properties.get(name)
    return None if text is None else text.strip().lower() in ("true", "1", "yes", "on")


def _addressing(properties: Mapping[str, str], endpoint: str | None) -> bool | None:
    virtual = _truth(properties, "s3.force-virtual-addressing")
    path = _truth(properties, "s3.path-style-access")
    if virtual is None and path is not None:
        virtual = not path
    # Few stores beside AWS have a host name per bucket.
    return False if virtual is None and endpoint is not None else virtual


def _seconds(properties: Mapping[str, str], name: str, default: float) -> float:
    text = properties.get(name)
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise CatalogConfigError(f"the property {name} must be a number of seconds above 0")
    return seconds


class Client:
    """boto3's client for one :class:`Access`, shared by all threads; it refreshes credentials.

    boto3 refreshes those that it knows to expire. Others, such as a key in a file that somebody
    rotates, are read again when S3 refuses them: a worker lives for days.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._made: Any = None
        self.uploads = ThreadPoolExecutor(UPLOADS, "wap-upload")

    def call(self, operation: str, where: str, **parameters: Any) -> Any:
        """One request, tried a few times.

        Args:
            operation: boto3's name of it.
            where: the location to name in an error.
            parameters: of the operation.

        Raises:
            FileNotFoundError: no such object.
            CatalogConfigError, CatalogUnavailableError, StorageFullError: what S3 says.
        """
        client = self._client()
        try:
            return getattr(client, operation)(**parameters)
        except Exception as exc:
            if not (self._access.from_chain and _code(exc) in (_KEYS | _EXPIRED)):
                raise s3_error(exc, operation, where) from exc
        return self._call_anew(client, operation, where, parameters)

    def _call_anew(
        self, refused: Any, operation: str, where: str, parameters: Mapping[str, Any]
    ) -> Any:
        with self._lock:
            if self._made is refused:
                self._made = None
        try:
            return getattr(self._client(), operation)(**parameters)
        except Exception as exc:
            raise s3_error(exc, operation, where) from exc

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = _make(self._access)
            return self._made


@lru_cache(maxsize=32)
def client_of(access: Access) -> Client:
    """The client of an access; equal ones share it."""
    return Client(access)


def _make(access: Access) -> Any:
    try:
        import boto3  # noqa: PLC0415 - of the extra s3
        from botocore import UNSIGNED  # noqa: PLC0415 - as above
        from botocore.config import Config  # noqa: PLC0415 - as above
    except ModuleNotFoundError as exc:
        raise NotInstalledError(
            f"S3 needs the package {exc.name}", hint="pip install 'wap-lakehouse[s3]'"
        ) from exc
    style = {None: "auto", True: "virtual", False: "path"}[access.virtual]
    options: dict[str, Any] = {
        "connect_timeout": access.connect,
        "read_timeout": access.request,
        "retries": {"mode": "standard", "total_max_attempts": TRIES},
        "max_pool_connections": _CONNECTIONS,
        "s3": {"addressing_style": style},
        "user_agent_extra": "wap-lakehouse",
    }
    if access.anonymous:
        options["signature_version"] = UNSIGNED
    if access.proxy:
        options["proxies"] = {"http": access.proxy, "https": access.proxy}
    if access.endpoint and "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:
        # Not every other store knows the checksums that AWS added later.
        options["request_checksum_calculation"] = "when_required"
        options["response_checksum_validation"] = "when_required"
    try:
        session = boto3.Session(
            aws_access_key_id=access.key,
            aws_secret_access_key=access.secret,
            aws_session_token=access.token,
            region_name=access.region,
            profile_name=access.profile,
        )
        region = session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
        return session.client(
            "s3", endpoint_url=access.endpoint, region_name=region, config=Config(**options)
        )
    except Exception as exc:
        raise s3_error(exc, "open", access.endpoint or "S3") from exc


def _code(exc: BaseException) -> str:
    response = getattr(exc, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(exc: BaseException) -> int:
    response = getattr(exc, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode") or 0)


def s3_error(exc: BaseException, operation: str, where: str) -> Exception:
    """What went wrong in our words; S3's own may quote keys and signatures, and stay out.

    Returns:
        CatalogConfigError, CatalogUnavailableError or StorageFullError; FileNotFoundError for an
        object that is not there, as a FileIO says it.
    """
    code = _code(exc)
    if code:
        return _of_answer(code, _status(exc), operation, where)
    return _of_client(exc, where)


def _of_answer(code: str, status: int, operation: str, where: str) -> Exception:
    if code == "NoSuchBucket":
        hint = "create the bucket, or correct the warehouse"
        return CatalogConfigError("there is no such bucket", where=where, hint=hint)
    if code == ABORTED:
        hint = "another attempt, or the bucket's lifecycle rule, aborted it; it is tried again"
        return CatalogUnavailableError(f"the upload is gone ({code})", where=where, hint=hint)
    if code in _MISSING:
        return FileNotFoundError(f"there is no object {where}")
    for codes, error in _ANSWERS:
        if code in codes:
            return error(code, operation, where)
    if code in _BUSY or status >= _SERVER_FAULT:
        return CatalogUnavailableError(f"S3 answers {code} now", where=where, hint=_RETRY)
    hint = "look at what the store says of this request in its own log"
    return CatalogConfigError(f"S3 refuses {operation}: {code}", where=where, hint=hint)


def _bad_keys(code: str, _: str, where: str) -> Exception:
    return CatalogConfigError(
        f"S3 does not take our credentials ({code})", where=where, hint=_CREDENTIALS
    )


def _expired(code: str, _: str, where: str) -> Exception:
    return CatalogConfigError(
        f"our credentials for S3 have expired ({code})", where=where,
        hint="sign in again (aws sso login), or give credentials that boto3 can refresh",
    )  # fmt: skip


def _denied(code: str, operation: str, where: str) -> Exception:
    return CatalogConfigError(
        f"S3 denies {operation} ({code})", where=where,
        hint="grant what docs/server.md lists under S3, on the bucket and on the prefix",
    )  # fmt: skip


def _elsewhere(code: str, _: str, where: str) -> Exception:
    hint = "set s3.region to the bucket's region, and s3.endpoint to its address"
    return CatalogConfigError(f"the bucket lies elsewhere ({code})", where=where, hint=hint)


def _full(code: str, _: str, where: str) -> Exception:
    hint = "free some room and run again; nothing was published"
    return StorageFullError(f"no room left to write ({code})", where=where, hint=hint)


_ANSWERS: Final[tuple[tuple[frozenset[str], Callable[[str, str, str], Exception]], ...]] = (
    (_KEYS, _bad_keys),
    (_EXPIRED, _expired),
    (_DENIED, _denied),
    (_REGION, _elsewhere),
    (_FULL, _full),
)

#: What boto3 raises by itself, by name: it is only there where the extra is.
_NO_CREDENTIALS = frozenset({
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError",
    "CredentialRetrievalError", "SSOError", "UnauthorizedSSOTokenError", "SSOTokenLoadError",
    "TokenRetrievalError", "InvalidConfigError", "ConfigParseError", "InfiniteLoopConfigError",
})  # fmt: skip
_NO_ANSWER = frozenset({
    "HTTPClientError", "ConnectionError", "MetadataRetrievalError", "IncompleteReadError",
    "ResponseStreamingError", "HTTPError", "TimeoutError", "OSError",
})  # fmt: skip


def _of_client(exc: BaseException, where: str) -> Exception:
    names = {c.__name__ for c in type(exc).__mro__}
    name = type(exc).__name__
    if names & _NO_CREDENTIALS:
        return CatalogConfigError(
            f"there are no credentials for S3 ({name})", where=where, hint=_CREDENTIALS
        )
    if names & {"SSLError", "ProxyConnectionError"}:
        return CatalogConfigError(
            f"no safe connection to S3 ({name})", where=where,
            hint="check the endpoint, AWS_CA_BUNDLE and the proxy",
        )  # fmt: skip
    if names & _NO_ANSWER:
        return CatalogUnavailableError(f"S3 does not answer ({name})", where=where, hint=_RETRY)
    return CatalogConfigError(
        f"S3 cannot be asked with these settings ({name})", where=where,
        hint="check s3.endpoint (http:// or https://), the region and the bucket's name",
    )  # fmt: skip
