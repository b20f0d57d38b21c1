"""The quarantine table: its name, its columns, and the contract that it is audited by. Pure."""

from __future__ import annotations

import json
from itertools import count

from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from catalog.refs import TableName
from wap.errors import ConfigError
from wap.pipeline import QUARANTINE, Write
from wap.runs import PinnedPlan
from wap.type_texts import parse_type, type_text
from wap.versions import ContractText

ROW = "wap_row"
CHECKS = "wap_checks"
REASON = "wap_reason"
RUN = "wap_run"
AT = "wap_quarantined_at"
REPLAYED_RUN = "wap_replayed_run"
REPLAYED_AT = "wap_replayed_at"

_OWN_TYPES = {
    ROW: "string",
    CHECKS: "list<string>",
    REASON: "string",
    RUN: "string",
    AT: "timestamptz",
    REPLAYED_RUN: "string",
    REPLAYED_AT: "timestamptz",
}
#: Columns of every quarantine table, before those of the table itself.
OWN = tuple(_OWN_TYPES)

#: Key of a change's note that names the divisions of the batch it holds (``wap.…`` in a summary).
NOTE = "wap.quarantine"

#: Kind of the source of a replay.
REPLAY = "replay"

#: Kind of the source of a way back that leaves no row, in the facts of its evidence.
WAY_BACK = "rollback"
#: The same of a quarantine table that was made by itself; and the note by which its seal says so.
MADE = "quarantine"
#: Key of the note by which the seal of a way back names the runs that were taken back.
EMPTIED = "emptied"

_PATH = "wap/quarantine.yml"


def is_replay(pinned: PinnedPlan) -> bool:
    """Whether the round stages rows that wait in quarantine."""
    return pinned.plan.kind == REPLAY


def quarantine_of(table: TableName) -> TableName:
    """The quarantine table of a table."""
    return TableName(table.namespace, f"{table.name}{QUARANTINE}")


def is_quarantine(table: TableName) -> bool:
    """Whether a table is another's quarantine table."""
    return table.name.endswith(QUARANTINE)


def quarantine_schema(table: Schema, published: Schema | None) -> Schema:
    """Our own columns and the table's, each of which may be null: what is not valid lies here.

    Args:
        table: the table's schema, as a run stages it.
        published: of the quarantine table; its columns come first, none is lost.

    Raises:
        ConfigError: a column of the table has the name of one of ours.
    """
    theirs = {f.name: f.field_type for f in table.fields}
    taken = {name.casefold() for name in theirs} & set(OWN)
    if taken:
        raise ConfigError(
            f"a column is named as one of the quarantine table's own: {min(taken)}",
            where="on_failure: quarantine",
            hint=f"leave it out of the table, or name it otherwise; ours are {', '.join(OWN)}",
        )
    known = {f.name: f.field_type for f in published.fields} if published is not None else {}
    types = {**{n: type_text(k) for n, k in {**known, **theirs}.items()}, **_OWN_TYPES}
    order = [*known, *(n for n in (*OWN, *theirs) if n not in known)]
    # The catalog gives ids of its own; here none may stand twice.
    ids = count(1)
    kinds = [(name, parse_type(types[name], ids)) for name in order]
    return Schema(*(NestedField(next(ids), name, kind, required=False) for name, kind in kinds))


def contract_of(table: TableName) -> ContractText:
    """What every quarantine table is held against, by the same gate as any other table."""
    dataset = json.dumps("/".join(("wap", ".".join(table.namespace), table.name)))
    text = f"""\
dataset: {dataset}
columns:
  - name: {ROW}
    checks:
      - missing: {{name: Every row that was set aside has an id}}
      - duplicate: {{name: An id names one row}}
  - name: {REASON}
    checks:
      - missing: {{name: It is told why a row was set aside}}
  - name: {RUN}
    checks:
      - missing: {{name: It is told which run set a row aside}}
  - name: {AT}
    checks:
      - missing: {{name: It is told when a row was set aside}}
"""
    return ContractText(path=_PATH, text=text)


def beside(pinned: PinnedPlan, published: Schema | None) -> PinnedPlan:
    """The run's plan for the quarantine table, as if that had a pipeline of its own.

    Args:
        pinned: the run's, for the table itself.
        published: the quarantine table's schema on main; None: it is new.
    """
    table = quarantine_of(pinned.pipeline.table_name)
    schema = quarantine_schema(Schema.model_validate_json(pinned.wanted_schema), published)
    pipeline = pinned.pipeline.model_copy(
        update={
            "table": str(table),
            "write": Write(mode="append", keys=[ROW]),
            "partitioning": [],
            "contracts": [_PATH],
            "on_failure": "reject",
            "quarantine": None,
        }
    )
    return pinned.model_copy(
        update={
            "pipeline": pipeline,
            # What is set aside is little, and the worker that divides it looks at it.
            "engine": "arrow",
            "contracts": (contract_of(table),),
            "wanted_schema": schema.model_dump_json(),
            "columns": tuple(f.name for f in schema.fields),
        }
    )
