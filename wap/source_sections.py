"""The section ``source`` of a pipeline: where the rows come from, one model per kind."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from wap.paths import without_password


class Section(BaseModel):
    """Base of all sections: an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )

    #: Fields that are not keys of the file.
    unwritten: ClassVar[frozenset[str]] = frozenset()


class FilesSource(Section):
    """Files, local or behind an fsspec URL."""

    kind: Literal["files"]
    path: str | list[str]
    """A path or glob inside the project, or a URL such as `s3://bucket/in/*.parquet`; or a list."""
    format: Literal["csv", "tsv", "json", "ndjson", "parquet"]
    """Format of the files, before compression."""
    compression: Literal["auto", "none", "gzip", "zip", "zstd"] = "auto"
    """Compression of each file; `auto` looks at the name's ending."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Between two fields of csv; the default is a comma (tsv: a tab)."""
    quote: str = Field(default='"', max_length=1)
    """Around a field of csv that holds a delimiter; empty: nothing is quoted."""
    header: bool = True
    """Whether the first line of csv names the columns."""
    null: list[str] = Field(default_factory=lambda: [""])
    """Texts of csv that stand for null."""
    encoding: str = "utf-8"
    """Encoding of the text."""
    malformed: Literal["fail", "set_aside"] = "fail"
    """A row that cannot be read: `fail` ends the run; `set_aside` counts it, keeps it with file,
    line and reason, and leaves it out."""

    @field_validator("path")
    @classmethod
    def _some_path(cls, value: str | list[str]) -> str | list[str]:
        paths = [value] if isinstance(value, str) else value
        if not paths or not all(p.strip() for p in paths):
            msg = "at least one path is needed, and none may be empty"
            raise ValueError(msg)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError as exc:
            msg = f"{value!r} is not an encoding"
            raise ValueError(msg) from exc
        return value

    @property
    def paths(self) -> tuple[str, ...]:
        """:attr:`path` as several, in the order written."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    @property
    def is_text(self) -> bool:
        """Whether the format carries no types, so that an inferred type is only a guess."""
        return self.format != "parquet"

    @property
    def location(self) -> str:
        """Where it is, for people and lineage: nothing secret in it."""
        return ", ".join(map(without_password, self.paths))


#: Words that stand for a secret in the settings behind a URL.
_SECRET = re.compile(
    r"(?i)(pass\w*|pwd|secret\w*|\w*token|credential\w*|user(name)?)=|//[^/?;]*@|:[^/:@?]+/[^/@?]*@"
)
_ENV = r"^[A-Za-z_][A-Za-z0-9_]*$"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_SERVERS = r"^[^\s,/@]+:\d+(,[^\s,/@]+:\d+)*$"


class JdbcPartition(Section):
    """Into how many queries one read is cut, and by which column."""

    column: str
    """A column of numbers, dates or timestamps, best one with an index; nulls go with the first."""
    count: int = Field(ge=1, le=1000)
    """How many queries at the same time, as far as Spark has room for them."""
    lower: int | str | None = None
    """Where the first cut is counted from; by default the least value. It leaves no row out."""
    upper: int | str | None = None
    """Where the last cut is counted to; by default the greatest value. It leaves no row out."""


class JdbcSource(Section):
    """A table or query of a database, read by Spark."""

    kind: Literal["jdbc"]
    url: str
    """JDBC's URL, `jdbc:postgresql://host:5432/db`, without user and password."""
    table: str | None = Field(default=None, min_length=1)
    """The table, `schema.table`; or else `query`."""
    query: str | None = Field(default=None, min_length=1)
    """One SELECT in the database's own SQL, in place of `table`."""
    user_env: str | None = Field(default=None, pattern=_ENV)
    """Name of the environment variable that holds the user."""
    password_env: str | None = Field(default=None, pattern=_ENV)
    """Name of the environment variable that holds the password."""
    driver: str | None = Field(default=None, pattern=r"^[A-Za-z_$][\w$.]*$")
    """The driver's Java class, where the URL's is not known."""
    cursor: str | None = Field(default=None, min_length=1)
    """Column whose values only grow: a run reads the rows above the last published value."""
    partition: JdbcPartition | None = None
    """Reads in several queries at once; by default one query reads all."""
    fetch_size: int = Field(default=10_000, ge=1)
    """Rows that the driver asks the database for at a time."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        if not re.fullmatch(r"jdbc:\w+:\S+", value):
            msg = "a JDBC URL is expected, such as jdbc:postgresql://host:5432/db"
            raise ValueError(msg)
        if _SECRET.search(value):
            msg = "the URL may hold no user and no secret; name variables: user_env, password_env"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> JdbcSource:
        if (self.table is None) == (self.query is None):
            msg = "either table or query is needed, and not both"
            raise ValueError(msg)
        return self

    @property
    def is_text(self) -> bool:
        """See :class:`FilesSource`: a database has types."""
        return False

    @property
    def location(self) -> str:
        """Where it is, for people and lineage: nothing secret in it."""
        return f"{self.url.partition('?')[0].partition(';')[0]}/{self.table or 'query'}"


class KafkaMetadata(Section):
    """What Kafka says of each record, as columns of these names."""

    key: str | None = None
    """The record's key, as text."""
    partition: str | None = None
    """Its partition, an `int`."""
    offset: str | None = None
    """Its offset in the partition, a `long`."""
    timestamp: str | None = None
    """Its timestamp, a `timestamptz`."""

    @property
    def columns(self) -> dict[str, str]:
        """Column by fact, of the facts that are asked for."""
        return {fact: name for fact, name in self if name is not None}


class KafkaSource(Section):
    """Records of a Kafka topic, up to where it ends when the run is planned."""

    kind: Literal["kafka"]
    servers: str = Field(pattern=_SERVERS)
    """Addresses to begin with, `host:9092,host:9092`."""
    topic: str = Field(pattern=_TOPIC)
    """The topic."""
    format: Literal["json"]
    """Format of the values: one JSON object each."""
    metadata: KafkaMetadata = KafkaMetadata()
    """What Kafka says of a record, as columns: `{offset: kafka_offset}`."""
    malformed: Literal["fail", "set_aside"] = "fail"
    """A record that cannot be read: `fail` ends the run; `set_aside` counts it, keeps it with
    partition, offset and reason, and leaves it out."""
    gaps: Literal["fail", "allow"] = "fail"
    """Offsets without a record: `fail` ends the run; `allow` where transactions or compaction
    leave such. Records that retention deleted before they were read always end it."""
    tls: bool = False
    """Whether to speak TLS with the servers."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How user and password are proved (SASL), when they are given."""
    user_env: str | None = Field(default=None, pattern=_ENV)
    """Name of the environment variable that holds the user."""
    password_env: str | None = Field(default=None, pattern=_ENV)
    """Name of the environment variable that holds the password."""

    @property
    def is_text(self) -> bool:
        """See :class:`FilesSource`: JSON carries few types."""
        return True

    @property
    def location(self) -> str:
        """Where it is, for people and lineage: nothing secret in it."""
        return f"kafka://{self.servers}/{self.topic}"
