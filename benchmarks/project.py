"""A project with one pipeline, lineitem, and a contract of fifteen checks; and the same in SQL."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

TYPES = {
    "l_orderkey": "long",
    "l_partkey": "long",
    "l_suppkey": "long",
    "l_linenumber": "int",
    "l_quantity": "decimal(15, 2)",
    "l_extendedprice": "decimal(15, 2)",
    "l_discount": "decimal(15, 2)",
    "l_tax": "decimal(15, 2)",
    "l_returnflag": "string",
    "l_linestatus": "string",
    "l_shipdate": "date",
    "l_commitdate": "date",
    "l_receiptdate": "date",
    "l_shipinstruct": "string",
    "l_shipmode": "string",
    "l_comment": "string",
}
_DUCKDB = {"long": "BIGINT", "int": "INTEGER", "string": "VARCHAR", "date": "DATE"}
DUCKDB_TYPES = {name: _DUCKDB.get(kind, kind.upper()) for name, kind in TYPES.items()}

_PIPELINE = """\
table: tpch.lineitem
source: {{kind: files, path: "{path}", format: {form}}}
write: {{mode: append}}
schema:
  columns: {{{columns}}}
contracts: [contracts/lineitem.yml]
"""

#: Fifteen checks, one of them uniqueness over the key.
_CONTRACT = """\
dataset: wap/tpch/lineitem
columns:
  - name: l_orderkey
    checks: [missing: ]
  - name: l_partkey
    checks: [missing: ]
  - name: l_suppkey
    checks: [missing: ]
  - name: l_linenumber
    checks: [missing: , invalid: {valid_min: 1, valid_max: 7}]
  - name: l_quantity
    checks: [missing: , invalid: {valid_min: 1, valid_max: 50}]
  - name: l_extendedprice
    checks: [missing: , invalid: {valid_min: 0}]
  - name: l_discount
    checks: [invalid: {valid_min: 0, valid_max: 0.1}]
  - name: l_tax
    checks: [invalid: {valid_min: 0, valid_max: 0.08}]
  - name: l_returnflag
    checks: [invalid: {valid_values: [A, N, R]}]
  - name: l_shipdate
    checks: [missing: ]
checks:
  - row_count: {threshold: {must_be_greater_than: 0}}
  - duplicate: {columns: [l_orderkey, l_linenumber]}
"""

AUDIT_SQL = (
    """
    SELECT count(*) = 0 OR count(*) FILTER (
        l_orderkey IS NULL OR l_partkey IS NULL OR l_suppkey IS NULL OR l_linenumber IS NULL
        OR l_quantity IS NULL OR l_extendedprice IS NULL OR l_shipdate IS NULL
        OR l_linenumber NOT BETWEEN 1 AND 7 OR l_quantity NOT BETWEEN 1 AND 50
        OR l_extendedprice < 0 OR l_discount NOT BETWEEN 0 AND 0.1 OR l_tax NOT BETWEEN 0 AND 0.08
        OR l_returnflag NOT IN ('A', 'N', 'R')
    ) > 0 FROM lineitem
    """,
    """
    SELECT count(*) FROM (
        SELECT 1 FROM lineitem GROUP BY l_orderkey, l_linenumber HAVING count(*) > 1
    )
    """,
)


def arrow_schema() -> pa.Schema:
    """The columns as Arrow types."""
    kinds = {"long": pa.int64(), "int": pa.int32(), "string": pa.string(), "date": pa.date32()}
    return pa.schema([(n, kinds.get(k, pa.decimal128(15, 2))) for n, k in TYPES.items()])


def make_project(folder: Path, source: Path, form: str) -> None:
    """A project folder that loads a file (by a link of its own, so that it lies inside)."""
    (folder / "in").mkdir()
    # A hard link: a symbolic one would lead out of the project, and is refused.
    (folder / f"in/lineitem.{form}").hardlink_to(source)
    write_project(folder, form)


def write_project(folder: Path, form: str) -> None:
    """The project's own files; whatever lies in its folder ``in`` is loaded."""
    for name in ("pipelines", "contracts"):
        (folder / name).mkdir()
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in TYPES.items())
    pipeline = _PIPELINE.format(path=f"in/*.{form}", form=form, columns=columns)
    (folder / "wap.toml").write_text('[project]\nname = "bench"\n')
    (folder / "pipelines" / "lineitem.yml").write_text(pipeline)
    (folder / "contracts" / "lineitem.yml").write_text(_CONTRACT)
