"""What a scratch project has of the real one: pipeline, contracts, and how rows are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from catalog.refs import TableName
from wap.declared import Declared
from wap.field_map import quoted
from wap.pipeline import Pipeline
from wap.project import Project
from wap.settings import Section

OnFailure = Literal["reject", "hold", "quarantine"]
#: A contract beside the pipeline's own, or in their place.
MORE = "contracts/wap-drill.yml"


def declare(
    root: Path,
    said: Declared,
    *,
    more: str | None = None,
    alone: bool = False,
    on_failure: OnFailure = "reject",
) -> None:
    """Write the pipeline's files as declared, or with a contract of the drill's.

    Args:
        more: the text of that contract.
        alone: it stands in place of the pipeline's own.
        on_failure: what a failed audit then leads to.
    """
    document = _document_of(said.pipeline)
    contracts = {c.path: c.text for c in said.contracts}
    if more is not None:
        contracts = {MORE: more} if alone else {**contracts, MORE: more}
        for section in ("hold", "quarantine"):
            document.pop(section, None)
        document |= {"contracts": [*contracts], "on_failure": on_failure}
        if on_failure == "quarantine":
            document["quarantine"] = {"max_percent": 100}
    for path, text in contracts.items():
        write(root / path, text)
    # JSON is YAML.
    write(root / f"pipelines/{said.pipeline.name}.yml", json.dumps(document))


def _document_of(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline as its file would say it."""
    return pipeline.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"name"})


def rows_contract(table: TableName, rows: Mapping[str, int]) -> str:
    """A contract with one check: the number of rows must keep to the threshold."""
    dataset = f"wap/{'.'.join(table.namespace)}/{table.name}"
    checks = [{"row_count": {"threshold": dict(rows)}}]
    return json.dumps({"dataset": dataset, "columns": [], "checks": checks})


def eighth_contract(table: TableName, columns: Sequence[str]) -> str:
    """A contract that about every eighth row breaks, told by its values alone."""
    dataset = f"wap/{'.'.join(table.namespace)}/{table.name}"
    expression = f"hash({', '.join(map(quoted, columns))}) % 8 = 0"
    checks = [{"failed_rows": {"name": "A drill", "expression": expression}}]
    return json.dumps({"dataset": dataset, "columns": [], "checks": checks})


def write_settings(
    project: Project, root: Path, beside: Path, heartbeat_seconds: float, group: str = ""
) -> None:
    """Of the real settings those that say how rows are written and audited, and no other.

    Args:
        root: of the scratch project, with tables of its own.
        beside: of another one that writes to the same tables.
        group: the group that is drilled, if any.
    """
    computing = {"engine": project.engine, "spark": project.spark, "audit": project.audit}
    own = [f"[project]\nname = {_toml(project.name)}\n"]
    own += [f"[temporal]\nheartbeat_seconds = {heartbeat_seconds}\n"]
    own += [_section(name, section) for name, section in computing.items()]
    if group:
        own.append(_section(f"groups.{group}", project.groups[group]))
    write(root / "wap.toml", "".join(own))
    tables = root.resolve()
    shared = (
        f"[catalog]\nuri = {_toml(f'sqlite:///{tables}/.wap/catalog.db')}\n"
        f"warehouse = {_toml((tables / 'warehouse').as_uri())}\n"
    )
    write(beside / "wap.toml", "".join([*own, shared]))


def _section(name: str, section: Section) -> str:
    values = section.model_dump(mode="json", exclude_defaults=True)
    tables = {k: v for k, v in values.items() if isinstance(v, dict)}
    lines = [f"{k} = {_toml(v)}\n" for k, v in values.items() if k not in tables and v is not None]
    for key, inner in tables.items():
        lines += [f"[{name}.{key}]\n", *(f"{_toml(k)} = {_toml(v)}\n" for k, v in inner.items())]
    return "".join([f"[{name}]\n", *lines])


def _toml(value: object) -> str:
    # TOML writes texts, numbers, booleans and lists of them as JSON does.
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, text: str) -> None:
    """Write a file, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
