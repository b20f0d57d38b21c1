"""The pipeline model: what an engineer declares for one table, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from catalog.errors import CatalogConfigError
from catalog.refs import TableName
from wap.complaints import config_error
from wap.errors import ConfigError
from wap.located import Document, read_text, read_yaml
from wap.source_sections import FilesSource, JdbcSource, KafkaSource, Section

#: How the name of the table ends that holds the rows which a table's checks refused.
QUARANTINE = "__quarantine"
#: Of a table's name; folders, the ledger and Temporal's search attributes have room for it.
MAX_TABLE = 255
#: How contracts call what a run adds to a table, and what consumers see of it.
PARTS = ("__batch", "__published")

_TRANSFORM = re.compile(
    r"(?P<name>identity|year|month|day|hour|bucket|truncate)"
    r"\((?:(?P<arg>[1-9]\d*),\s*)?(?P<column>.+)\)"
)


class Marker(Section):
    """Which rows of a batch are none, but say that the row with their key is gone."""

    column: str
    """A column of the input; the table does not have it."""
    values: list[bool | int | str] = Field(min_length=1)
    """Its values that delete, all of one type; another value, or null, does not."""

    @field_validator("values")
    @classmethod
    def _one_type(cls, value: list[bool | int | str]) -> list[bool | int | str]:
        if len({type(v) for v in value}) > 1:
            msg = "the values are of several types; write them all as texts, numbers or booleans"
            raise ValueError(msg)
        return value


class Write(Section):
    """How the batch changes the table."""

    mode: Literal["append", "replace", "merge", "history"]
    """`append` adds rows; `replace` puts them in place of all rows, of those that match `where`,
    or of the run's data interval on `interval`; `merge` puts each in place of the row with its
    keys, or adds it; `history` adds it as a version, and ends the version before."""
    keys: list[str] = Field(default_factory=list)
    """Columns that identify a row."""
    deduplicate: bool = False
    """`append` leaves out rows whose keys are in the table, or in the batch, already."""
    order_by: str | None = None
    """Which of several rows with the same keys is the later one; for `history` also the time from
    which a version is valid. Without it such rows are refused, unless they are equal."""
    delete: Marker | None = None
    """Rows of `merge` and `history` that delete."""
    recorded: bool = False
    """`history` keeps both time axes: also when a version was recorded, and when superseded."""
    where: str | None = None
    """Iceberg row filter of what `replace` replaces, `carrier = 'AA'`."""
    interval: str | None = None
    """Column that the run's data interval bounds."""

    @field_validator("where")
    @classmethod
    def _row_filter(cls, value: str | None) -> str | None:
        if value is not None:
            # pyparsing's grammar is only built when a filter is there to be read.
            from pyiceberg.expressions import parser  # noqa: PLC0415 - see above
            from pyparsing import ParseException  # noqa: PLC0415 - see above

            try:
                parser.parse(value)
            except (ParseException, ValueError) as exc:
                msg = f"{value!r} is not a row filter; write carrier = 'AA' and year >= 2013"
                raise ValueError(msg) from exc
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Write:
        if msg := self._misplaced():
            raise ValueError(msg)
        if self.where is not None and self.mode != "replace":
            msg = "where belongs to write mode replace"
            raise ValueError(msg)
        if self.where is not None and self.interval is not None:
            msg = "replace either where a filter matches or a data interval, not both"
            raise ValueError(msg)
        return self

    def _misplaced(self) -> str:  # noqa: PLR0911 - a rule a line
        """What does not go together about keys; "" when all does."""
        versioned = self.mode in ("merge", "history")
        if self.deduplicate and self.mode != "append":
            return "deduplicate belongs to write mode append"
        if self.keyed and not self.keys:
            said = "deduplicate" if self.deduplicate else f"write mode {self.mode}"
            return f"{said} needs keys: the columns that identify a row"
        if self.keyed and len(set(self.keys)) < len(self.keys):
            return "keys names a column twice"
        if self.order_by is not None and not self.keyed:
            return "order_by belongs to merge, history, and append with deduplicate"
        if self.order_by in self.keys and self.order_by is not None:
            return "order_by orders rows with the same keys, so it cannot be one of them"
        if self.delete is not None and not versioned:
            return "delete belongs to write modes merge and history"
        if self.delete is not None and self.delete.column in (*self.keys, self.order_by):
            return "the column that marks deletes is not stored, so it cannot be a key or order_by"
        if self.recorded and self.mode != "history":
            return "recorded belongs to write mode history"
        return ""

    @property
    def keyed(self) -> bool:
        """Whether rows of the batch meet those of the table by their keys."""
        return self.mode in ("merge", "history") or self.deduplicate


class Schema(Section):
    """What columns there are."""

    on_change: Literal["strict", "evolve", "ignore"] = "strict"
    """A column that appears, or is missing, in the input: `strict` rejects the batch; `evolve`
    adds it to the table (a missing one is null); `ignore` leaves it out (a missing one is null)."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Iceberg types by column name; a column not listed has the type inferred. Nested types:
    `list<string>`, `struct<a: int, b: string>`, `map<string, long>`."""
    required: list[str] = Field(default_factory=list)
    """Columns that may never be null."""

    @field_validator("columns")
    @classmethod
    def _iceberg_types(cls, value: dict[str, str]) -> dict[str, str]:
        # pyiceberg is only needed where types are declared.
        from wap.type_texts import TypeTextError, parse_type  # noqa: PLC0415 - see above

        for name, text in value.items():
            try:
                parse_type(text)
            except TypeTextError as exc:
                msg = f"{name}: {exc}"
                raise ValueError(msg) from exc
        return value


class Hold(Section):
    """How long a run is held for a person's decision."""

    max_hours: float = Field(default=72, gt=0, le=24 * 366)
    """Hours after which a run that nobody approved is rejected."""


class Quarantine(Section):
    """How much of a batch may be set aside in the quarantine table; with more it is rejected."""

    max_percent: float = Field(default=5, gt=0, le=100)
    """Percent of the batch's rows."""
    max_rows: int | None = Field(default=None, gt=0)
    """Rows; without it only the percentage counts."""


class Freshness(Section):
    """How old the published table may get."""

    max_age_hours: float = Field(gt=0)
    """Age in hours from which `wap status` says that the table is late."""


class Pipeline(Section):
    """One table's pipeline."""

    unwritten: ClassVar[frozenset[str]] = frozenset({"name"})

    name: SkipJsonSchema[str]
    """The file's name without its ending; not written in the file."""
    table: str
    """`namespace.table`."""
    description: str = ""
    """What the table holds, for people."""
    source: Annotated[FilesSource | JdbcSource | KafkaSource, Field(discriminator="kind")]
    """Where the rows come from."""
    write: Write
    """How a batch changes the table."""
    columns: Schema = Field(default_factory=Schema, alias="schema")
    """What columns there are, and what happens when the input's change."""
    partitioning: list[str] = Field(default_factory=list)
    """Iceberg transforms: `day(ts)`, `bucket(16, id)`, or a bare column."""
    contracts: list[str] = Field(min_length=1)
    """Contract files, relative to the project; at least one, for nothing is published unchecked."""
    on_foreign: Literal["say", "refuse"] = "say"
    """What a run does when others wrote to main past the gate: `say` it in a warning and go on, or
    `refuse` to publish over it. What a run of ours left there unsealed is always refused."""
    on_failure: Literal["reject", "hold", "quarantine"] = "reject"
    """What becomes of a run whose audit fails: `reject` drops its branch; `hold` keeps it until
    somebody decides by `wap approve` or `wap reject`; `quarantine` moves the rows that break a
    check to `<table>__quarantine`, audits the rest, and publishes both."""
    hold: Hold | None = None
    """How long a run is held."""
    quarantine: Quarantine | None = None
    """How many rows may go to the quarantine table."""
    owners: list[str] = Field(default_factory=list)
    """Who answers for the data."""
    contact: str | None = None
    """Where to reach them: an address, a channel."""
    tags: dict[str, list[str]] = Field(default_factory=dict)
    """Tags by column; `pii` masks the column's values in every report."""
    freshness: Freshness | None = None
    """How old the published table may get."""
    engine: Literal["arrow", "spark"] = "arrow"
    """What writes and audits the data files: `arrow` with DuckDB on this machine, or `spark`."""

    @field_validator("table")
    @classmethod
    def _table_name(cls, value: str) -> str:
        try:
            TableName.parse(value)
        except CatalogConfigError as exc:
            msg = f"{exc.what}; {exc.hint}"
            raise ValueError(msg) from exc
        if problem := name_problem(value):
            raise ValueError(problem)
        return value

    @field_validator("partitioning")
    @classmethod
    def _transforms(cls, value: list[str]) -> list[str]:
        for text in value:
            split_transform(text)
        return value

    @field_validator("contracts")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if twice := sorted({c for c in value if value.count(c) > 1}):
            msg = f"named twice: {', '.join(twice)}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _source_fits(self) -> Pipeline:
        if problem := source_problem(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _failure_is_used(self) -> Pipeline:
        for section in ("hold", "quarantine"):
            if getattr(self, section) is not None and self.on_failure != section:
                msg = f"{section} belongs to on_failure: {section}"
                raise ValueError(msg)
        return self

    @property
    def hold_seconds(self) -> float | None:
        """So long a run whose audit failed waits for a person; None: it is rejected at once."""
        if self.on_failure != "hold":
            return None
        return (self.hold or Hold()).max_hours * 3600

    @property
    def quarantine_limits(self) -> Quarantine | None:
        """How much may be set aside; None: nothing is."""
        if self.on_failure != "quarantine":
            return None
        return self.quarantine or Quarantine()

    @property
    def table_name(self) -> TableName:
        """:attr:`table`, parsed."""
        return TableName.parse(self.table)

    @property
    def digest(self) -> str:
        """sha256 hex over the definition; contracts are counted in where they are read."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def masked(self) -> frozenset[str]:
        """Columns whose values are never shown."""
        return frozenset(c for c, tags in self.tags.items() if "pii" in map(str.lower, tags))


def name_problem(table: str) -> str | None:
    """Why a table may not be called so; None: it may."""
    if table.endswith(QUARANTINE):
        return f"a table's name does not end in {QUARANTINE}: so are the tables of rows set aside"
    if len(table.encode()) > MAX_TABLE:
        return f"the table's name is longer than {MAX_TABLE} bytes"
    if table.endswith(PARTS):
        # Once it were published, no contract could tell it from a part of the other table's audit.
        return (
            f"a table's name does not end in {' or '.join(PARTS)}: so contracts call a run's rows"
        )
    return None


def source_problem(pipeline: Pipeline) -> str | None:
    """Why a pipeline's source does not go with the rest of it; None: it does."""
    source, write = pipeline.source, pipeline.write
    if isinstance(source, JdbcSource):
        return _jdbc_problem(source, pipeline)
    if not isinstance(source, KafkaSource):
        return None
    if not pipeline.columns.columns:
        return "a Kafka source needs its columns declared: schema: {columns: {…}}"
    if pipeline.columns.on_change == "evolve":
        return "schema.on_change: evolve needs a source that says its columns; declare them instead"
    if write.interval is not None:
        return "write.interval does not go with a Kafka source, which is read by its offsets"
    return None


def _jdbc_problem(source: JdbcSource, pipeline: Pipeline) -> str | None:
    write = pipeline.write
    if pipeline.engine != "spark":
        return "a JDBC source is read by Spark; write engine: spark"
    if write.keyed:
        return "what only Spark can read cannot be written by key yet; deliver it as files"
    if write.mode == "append" and source.cursor is None:
        return "write mode append needs source.cursor, else every run would append all rows again"
    if write.mode == "append" and write.interval is not None:
        return "write.interval needs write mode replace for a JDBC source; append goes by cursor"
    if write.mode == "replace" and source.cursor is not None:
        return "source.cursor reads new rows only, so it does not go with write mode replace"
    return None


def split_transform(text: str) -> tuple[str, str]:
    """Split ``bucket(16, id)`` into column and Iceberg transform: ``("id", "bucket[16]")``.

    Raises:
        ValueError: not a transform Iceberg has.
    """
    match = _TRANSFORM.fullmatch(text.strip())
    if match is None:
        if "(" in text or not text.strip():
            msg = f"{text!r} is not a partition transform; write day(column) or bucket(16, column)"
            raise ValueError(msg)
        return text.strip(), "identity"
    name, arg, column = match["name"], match["arg"], match["column"].strip()
    if (name in ("bucket", "truncate")) != (arg is not None):
        msg = f"{text!r}: bucket and truncate take a number first, the others take none"
        raise ValueError(msg)
    return column, f"{name}[{arg}]" if arg else name


def parse_pipeline(text: str, name: str, shown: str) -> tuple[Pipeline, Document]:
    """Read a pipeline from its YAML text; ``shown`` is the file's name in messages.

    Raises:
        ConfigError: not YAML, an unknown key, a bad value: with file, line and a hint.
    """
    document = read_yaml(text, shown)
    if "name" in document.data:
        raise ConfigError(
            "unknown key 'name'",
            where=document.where(("name",)),
            hint="a pipeline is named by its file",
        )
    if "columns" in document.data:  # the attribute's name; the key is ``schema``
        raise ConfigError(
            "unknown key 'columns'",
            where=document.where(("columns",)),
            hint="write schema: {columns: {…}}",
        )
    for key in ("transform", "transforms", "transformations"):
        if key in document.data:
            raise ConfigError(
                f"unknown key {key!r}: a pipeline transforms no rows, it stages them as they came",
                where=document.where((key,)),
                hint="shape them before they are read; schema: gives types and leaves columns out",
            )
    try:
        pipeline = Pipeline.model_validate({**document.data, "name": name})
    except ValidationError as exc:
        raise config_error(exc, Pipeline, document.where) from exc
    return pipeline, document


def load_pipeline(path: Path, name: str, *, shown: str | None = None) -> Pipeline:
    """Read a pipeline file.

    Args:
        path: the file.
        name: the pipeline's name.
        shown: the file's name in messages; by default its folder and name.

    Raises:
        ConfigError: see :func:`parse_pipeline`; or the file cannot be read.
    """
    shown = shown or f"{path.parent.name}/{path.name}"
    return parse_pipeline(read_text(path, shown), name, shown)[0]


def pipeline_schema() -> dict[str, Any]:
    """The JSON Schema of a pipeline file, for editors; committed as docs/pipeline.schema.json."""
    schema = Pipeline.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Pipeline",
    }


if __name__ == "__main__":
    # python -m wap.pipeline > docs/pipeline.schema.json
    print(json.dumps(pipeline_schema(), indent=2))  # noqa: T201 - its output is the file
