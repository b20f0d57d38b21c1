"""The settings of a project: the sections of ``wap.toml``, their defaults and their units."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
)

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]i?B)", re.IGNORECASE)
_POWERS = "KMGT"
#: Below this nothing runs; such a size is a slip (400 for 400MB).
_LEAST = 64_000_000
_ADDRESS = r"^[^\s/@]+:\d+$"
_SERVER = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_CONNECT = re.compile(r"sc://([^\s/@:;\[\]]+|\[[0-9a-fA-F:.]+\])(:\d+)?(/(;[^\s;=]+=[^\s;=]+)*)?")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]+")
#: AES-256.
_KEY_BYTES = 32


def size_in_bytes(text: str) -> int:
    """Bytes of ``400MB`` (10⁶) or ``1GiB`` (2³⁰).

    Raises:
        ValueError: not such a text, or less than 64MB.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is not a size; write 400MB or 1GiB"
        raise ValueError(msg)
    unit = match["unit"].upper()
    base = 1024 if "I" in unit else 1000
    size = int(float(match["number"]) * base ** (_POWERS.index(unit[0]) + 1))
    if size < _LEAST:
        msg = f"{text!r} is less than 64MB, with which nothing runs"
        raise ValueError(msg)
    return size


def _as_bytes(value: object) -> object:
    return size_in_bytes(value) if isinstance(value, str) else value


def _checked_size(value: str) -> str:
    size_in_bytes(value)
    return value


def _checked_url(value: str) -> str:
    if "://" not in value:
        msg = "a database URL is expected, such as sqlite:///.wap/ledger.db"
        raise ValueError(msg)
    return value


def _checked_server(value: str) -> str:
    # It is told in warnings, reports and the ledger, so it may hold nothing that must not be shown.
    if not _SERVER.fullmatch(value):
        msg = "http://host:port is expected, without user and query; the token goes into `token`"
        raise ValueError(msg)
    return value


def _checked_connect(value: str) -> str:
    if not _CONNECT.fullmatch(value):  # pyspark would quote the part of it that it dislikes
        msg = "sc://host:port is expected, or sc://host:port/;key=value;key=value, with = as %3D"
        raise ValueError(msg)
    return value


def _as_keys(value: object) -> object:
    """The keys of ``id=base64,…``; what is wrong with them is said without quoting them."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if not pairs or not all(_KEY_ID.fullmatch(name) and sep for name, sep, _ in pairs):
        msg = "write id=base64,id=base64: letters, digits, _ and - name a key"
        raise ValueError(msg)
    if len({name for name, _, _ in pairs}) != len(pairs):
        msg = "two keys have the same id"
        raise ValueError(msg)
    return tuple((name, SecretStr(_checked_key(name, text))) for name, _, text in pairs)


def _checked_key(name: str, text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except ValueError:
        size = 0
    if size != _KEY_BYTES:
        msg = f"key {name!r} is not base64 of {_KEY_BYTES} bytes; make one: openssl rand -base64 32"
        raise ValueError(msg) from None
    return text


def _checked_runs(value: str) -> str:
    if "://" not in value or value.startswith("file:") or "@" in value or "?" in value:
        # In a folder a crash can leave half a document; an object is there whole or not at all.
        msg = "an object store's URL is expected, without user and query: s3://bucket/runs"
        raise ValueError(msg)
    return value


Bytes = Annotated[int, BeforeValidator(_as_bytes), Field(ge=_LEAST)]
Size = Annotated[str, AfterValidator(_checked_size)]
#: May hold a password: never shown in a repr, and never quoted in a message.
DatabaseUrl = Annotated[str, AfterValidator(_checked_url), Field(repr=False)]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=100)]
ServerUrl = Annotated[str, AfterValidator(_checked_server)]
#: May hold a token.
ConnectUrl = Annotated[str, AfterValidator(_checked_connect)]
RunsLocation = Annotated[str, AfterValidator(_checked_runs)]
#: Keys by their id, the one that encrypts first.
Keys = Annotated[tuple[tuple[str, SecretStr], ...], BeforeValidator(_as_keys)]


class Section(BaseModel):
    """Base of all sections: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def written_keys(cls) -> list[str]:
        """Its keys as they are written."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class ProjectSection(Section):
    """What the project is called."""

    name: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9_-]*)?$")
    """Names the project in Temporal and DataHub; by default after its folder."""


class CatalogSection(Section):
    """Where the tables are registered, and where new ones lie."""

    kind: Literal["sqlite", "postgres", "rest", "glue", "hive", "nessie"] = "sqlite"
    """What holds the tables; see `docs/server.md` for what each can do."""
    uri: DatabaseUrl = "sqlite:///.wap/catalog.db"
    """Of the catalog; a relative SQLite path is taken from the project's folder."""
    warehouse: str = "warehouse"
    """Where new tables lie: a folder in the project, or a URL (`s3://bucket/warehouse`)."""
    properties: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further properties for pyiceberg, such as `s3.endpoint`; they may hold secrets."""


class LedgerSection(Section):
    """The database of what happened."""

    url: DatabaseUrl = "sqlite:///.wap/ledger.db"
    """SQLAlchemy URL; a relative SQLite path is taken from the project's folder."""


class PipelinesSection(Section):
    """Where pipelines are declared."""

    source: Literal["files", "database", "both"] = Field(default="files", alias="from")
    """`files`: in `pipelines/*.yml`; `database`: in the ledger's; `both`: a name in one of them."""


class ApiSection(Section):
    """What `wap serve` listens to, and whom it answers."""

    host: str = Field(default="127.0.0.1", pattern=r"^\S+$")
    """The address it binds to; other than loopback only with a token."""
    port: int = Field(default=8686, ge=0, le=65535)
    """The port; 0 takes a free one."""
    open_reads: bool = False
    """Whether reading needs no token."""
    token: SecretStr | None = None
    """The engineers' token: reads and changes. Only from WAP_API__TOKEN, never from a file."""
    auditor_token: SecretStr | None = None
    """The auditors' token: reads. Only from WAP_API__AUDITOR_TOKEN, never from a file."""


class LineageSection(Section):
    """Who is told what a run did."""

    kind: Literal["file", "none", "datahub"] = "file"
    """`file` writes what `datahub ingest` reads; `datahub` sends it to a server as well."""
    folder: str = "lineage"
    """Where the files lie, in the project."""
    url: ServerUrl | None = None
    """DataHub's address, for kind `datahub`; it is shown, so it may hold no credentials."""
    token: SecretStr | None = None
    """DataHub's access token; better given as WAP_LINEAGE__TOKEN than written in a file."""
    env: str = Field(default="PROD", pattern=r"^[A-Z_]+$")
    """DataHub's fabric."""
    platform_instance: str | None = None
    """DataHub's name for this catalog, when it knows several."""


class TemporalSection(Section):
    """The Temporal server; without an address the project runs its own."""

    address: str | None = Field(default=None, pattern=_ADDRESS)
    """`host:port` of a given server (also from TEMPORAL_ADDRESS)."""
    namespace: str = "default"
    """On that server (also from TEMPORAL_NAMESPACE)."""
    api_key: SecretStr | None = None
    """For that server (also from TEMPORAL_API_KEY); it implies TLS."""
    tls: bool = False
    """Whether to speak TLS with that server; implied by a key and by any `tls_…`."""
    tls_ca: str | None = None
    """PEM file of the authority that signed the server's certificate; else the system's."""
    tls_cert: str | None = None
    """PEM file of our certificate (mTLS); goes with `tls_key`."""
    tls_key: str | None = None
    """PEM file of its private key."""
    tls_server_name: str | None = None
    """The name in the server's certificate, when it is not that of the address."""
    encryption_keys: Keys | None = Field(default=None, repr=False)
    """`id=base64,…`: payloads are encrypted by the first and decrypted by any of them."""
    search_attributes: Literal["auto", "on", "off"] = "auto"
    """Whether runs are found by WapTable and WapStatus; `auto`: where the server knows them."""
    heartbeat_seconds: float = Field(default=10.0, ge=1)
    """A worker that is silent for so long is taken for dead, and another takes its step over."""


class WorkerSection(Section):
    """Workers of a given server (`wap worker`)."""

    door: Literal["auto", "always", "never"] = "auto"
    """Whether a door is its run's worker: `auto` asks the server whether one is there."""
    memory: Bytes | None = None
    """For all data steps of one worker together; by default 80 % of the machine's or cgroup's."""
    graceful_seconds: float = Field(default=30.0, ge=0)
    """So long a step may go on when the worker is told to stop; then another worker redoes it."""
    health: str | None = Field(default=None, pattern=_ADDRESS)
    """`host:port` where a probe learns by HTTP whether the worker takes work."""
    deployment: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$")
    """Names the worker deployment; set, running sagas stay with the build they began with."""
    build: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+$")
    """Names this build of it; by default the version and a digest of the program's files."""


class RunsSection(Section):
    """Where a run's plan, books and reports are kept."""

    location: RunsLocation | None = None
    """A URL that all workers reach (`s3://bucket/runs`); by default the project's folder."""


class MetricsSection(Section):
    """Figures of `wap worker` and `wap up` for Prometheus."""

    address: str | None = Field(default=None, pattern=_ADDRESS)
    """`host:port` of the page `/metrics`."""


class EngineSection(Section):
    """What writes the data files."""

    memory: Bytes = 400_000_000
    """Budget for rows on their way, as text: `400MB`."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """How many write at once; by default as many as there are processors."""
    spark_from: Bytes | None = None
    """Input of so many bytes (`10GB`), before decompression, is taken by Spark; none: never."""


class SparkSection(Section):
    """Spark, for pipelines with `engine: spark` and for large input; nothing starts before."""

    master: str = Field(default="local[*]", pattern=r"^(local(\[(\*|[1-9]\d*)\])?|spark://\S+)$")
    """Where our own driver runs its tasks: `local[*]`, or a standalone master `spark://host:7077`."""
    remote: ConnectUrl | None = Field(default=None, repr=False)
    """A Spark Connect server, `sc://host:15002`, in place of a driver of our own."""
    memory: Bytes = 1_000_000_000
    """Heap of the driver, and of each executor: `4GB`."""
    jars: list[str] = Field(default_factory=list)
    """Jars, by path or `group:artifact:version`; one of a needed jar's name takes its place."""
    conf: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further settings of Spark for a driver of our own."""


class AuditSection(Section):
    """How the checks are run."""

    memory: Size = "400MB"
    """Memory that the audit's queries may take; they spill to disk beyond it."""
    sample_rows: int = Field(default=5, ge=0, le=100)
    """Failing rows shown in a report per check; 0 shows none."""


class MaintainSection(Section):
    """What `wap maintain` leaves alone."""

    keep_runs: int = Field(default=20, ge=1)
    """So many of a table's newest published runs stay in its history, whatever their age."""
    keep_days: float = Field(default=5.0, ge=0)
    """What main showed within so many days stays, however many runs there were."""
    grace_hours: float = Field(default=24.0, ge=1)
    """A file younger than this is never deleted: somebody's commit may be about to name it."""
    abandoned_hours: float = Field(default=1.0, ge=0)
    """So long after its workflow was over, a run that left its branch is undone."""


class GroupSection(Section):
    """Tables that are published together, all or none."""

    pipelines: tuple[str, ...] = Field(min_length=1)
    """The pipelines that load them."""
    contracts: tuple[str, ...] = ()
    """Contract files that are checked only when the group is published, beside each pipeline's."""
    abreast: int = Field(default=2, ge=1, le=64)
    """So many tables are staged and audited at once, each with a step's memory; 1: in turn."""


class GroupsSection(RootModel[dict[GroupName, GroupSection]]):
    """The groups by their names."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def written_keys(cls) -> list[str]:
        """None: what groups there are is the project's own affair."""
        return []


class Settings(Section):
    """All of ``wap.toml``; an empty file is a valid one."""

    project: ProjectSection = ProjectSection()
    catalog: CatalogSection = CatalogSection()
    ledger: LedgerSection = LedgerSection()
    pipelines: PipelinesSection = PipelinesSection()
    api: ApiSection = ApiSection()
    lineage: LineageSection = LineageSection()
    temporal: TemporalSection = TemporalSection()
    worker: WorkerSection = WorkerSection()
    runs: RunsSection = RunsSection()
    metrics: MetricsSection = MetricsSection()
    engine: EngineSection = EngineSection()
    spark: SparkSection = SparkSection()
    audit: AuditSection = AuditSection()
    maintain: MaintainSection = MaintainSection()
    groups: GroupsSection = GroupsSection({})
