"""What a scratch project has of the real one: pipeline, contracts, and how rows are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.refs import TableName
from wap.declared import Declared
from wap.pipeline import Pipeline
from wap.project import Project
from wap.settings import Section

#: The contract that no batch passes.
_NEVER = "contracts/wap-drill-never.yml"


def declare(root: Path, said: Declared, *, never: bool = False, hold: bool = False) -> None:
    """Write the pipeline's files, as declared, or with a contract that no batch passes."""
    document = _document_of(said.pipeline)
    contracts = {c.path: c.text for c in said.contracts}
    if never:
        contracts[_NEVER] = rows_contract(said.table, {"must_be_less_than": 0})
        document |= {"contracts": [*document["contracts"], _NEVER]}
        document.pop("hold", None)
        document["on_failure"] = "hold" if hold else "reject"
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


def write_settings(project: Project, root: Path, beside: Path, heartbeat_seconds: float) -> None:
    """Of the real settings those that say how rows are written and audited, and no other.

    Args:
        root: of the scratch project, with tables of its own.
        beside: of another one that writes to the same tables.
    """
    computing = {"engine": project.engine, "spark": project.spark, "audit": project.audit}
    own = [f"[project]\nname = {_toml(project.name)}\n"]
    own += [f"[temporal]\nheartbeat_seconds = {heartbeat_seconds}\n"]
    own += [_section(name, section) for name, section in computing.items()]
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
