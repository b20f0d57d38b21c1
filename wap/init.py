"""``wap init``: a working project from one data file, without copying or overwriting anything."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import CatalogConfigError
from catalog.refs import TableName
from checks.contract import check_columns, parse_contract
from checks.errors import ContractError
from wap.errors import ConfigError
from wap.pipeline import parse_pipeline, pipeline_schema
from wap.profiling import Profile, profile
from wap.project import SETTINGS_FILE, load_project
from wap.proposal import contract_text, not_guarded, pipeline_text
from wap.relations import connect
from wap.sniffing import Sniffed, format_of, sniff

_SETTINGS = """\
# Settings of this project; every key has a default (docs/pipelines.md lists them).
"""
_IGNORED = """\
.wap/
warehouse/
reports/
lineage/
"""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What was made.

    Attributes:
        pipeline: name of the new pipeline.
        table: the table it loads.
        written: files that were written.
        kept: files that were there already and were left alone.
        rows: rows of the file that were looked at.
        key: columns proposed as the key; () when none were found.
        not_guarded: what the proposed contract does not notice, one sentence each.
        first_run: the command that loads the file; with ``--source`` when it lies outside.
    """

    pipeline: str
    table: str
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    rows: int
    key: tuple[str, ...]
    not_guarded: tuple[str, ...]
    first_run: str


def init_project(folder: Path, data_file: Path, table: str | None = None) -> Initialised:
    """Make a project of ``folder`` with a pipeline for the file, or add one to a project.

    Args:
        folder: made when it is not there.
        data_file: csv, tsv, json, ndjson or parquet, also with .gz, .zip or .zst; it is read
            where it lies.
        table: ``namespace.table``; by default ``raw.`` and the file's name.

    Raises:
        ConfigError: the pipeline is there already, or a name cannot be used; nothing was written.
        SourceError: the file cannot be read; nothing was written.
    """
    wanted = _table_name(table or f"raw.{_as_name(data_file)}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted.name).strip("_-") or "table"
    fresh = (Path("pipelines") / f"{name}.yml", Path("contracts") / f"{name}.yml")
    for path in fresh:
        if (folder / path).exists():
            raise ConfigError(
                f"{path} is there already, and is not overwritten",
                hint="name another table by --table, or change the file by hand",
            )
    with tempfile.TemporaryDirectory(prefix="wap-init-") as scratch:
        sniffed, seen = _look(data_file, Path(scratch))
    texts = _texts(folder, data_file, wanted, name, sniffed, seen)
    _prove(texts, name)
    written, kept = _write(folder, texts)
    made = load_project(folder, {})
    if made.reads_files:  # else it waits for `wap pipelines put`
        made.pipeline(name)
    return Initialised(
        pipeline=name,
        table=str(wanted),
        written=written,
        kept=kept,
        rows=seen.rows,
        key=seen.key,
        not_guarded=tuple(not_guarded(seen)),
        first_run=_first_run(folder, data_file, name),
    )


def _prove(texts: Mapping[Path, str], name: str) -> None:
    """Read back what is about to be written; a column's name can be beyond what a contract says."""
    pipeline = f"pipelines/{name}.yml"
    contract = f"contracts/{name}.yml"
    columns = parse_pipeline(texts[Path(pipeline)], name, pipeline)[0].columns.columns
    try:
        check_columns(parse_contract(texts[Path(contract)], contract), columns)
    except ContractError as exc:
        raise ConfigError(
            f"no contract can be proposed for these columns: {exc.what}",
            hint="rename the column in the file, or write pipeline and contract by hand",
        ) from exc


def _look(data_file: Path, scratch: Path) -> tuple[Sniffed, Profile]:
    with connect(temp_directory=scratch) as con:
        sniffed = sniff(data_file, con, scratch)
        return sniffed, profile(sniffed)


def _texts(
    folder: Path, data_file: Path, table: TableName, name: str, sniffed: Sniffed, seen: Profile
) -> Mapping[Path, str]:
    """Texts of all files of the project, by path inside it."""
    path = _location(folder, data_file)
    dataset = f"wap/{'.'.join(table.namespace)}/{table.name}"
    compression = format_of(data_file)[1]
    return {
        Path(SETTINGS_FILE): _SETTINGS,
        Path(".gitignore"): _IGNORED,
        Path("pipelines/pipeline.schema.json"): json.dumps(pipeline_schema(), indent=2) + "\n",
        Path("pipelines") / f"{name}.yml": pipeline_text(
            str(table), name, path, compression, sniffed, seen
        ),
        Path("contracts") / f"{name}.yml": contract_text(dataset, seen),
    }


def _write(folder: Path, texts: Mapping[Path, str]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    written, kept = [], []
    try:
        for path, text in texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("x", encoding="utf-8") as file:
                    file.write(text)
                written.append(target)
            except FileExistsError:
                kept.append(target)
    except OSError as exc:
        raise ConfigError(f"cannot be written: {exc.strerror}", where=str(folder)) from exc
    return tuple(written), tuple(kept)


def _location(folder: Path, data_file: Path) -> str:
    """The file as the pipeline names it.

    A pipeline reads inside its project only, so a file elsewhere is named as what it would be
    after it was put there; until then a run is given it by ``--source``.
    """
    absolute = data_file.resolve()
    root = folder.resolve()
    if absolute.is_relative_to(root):
        return absolute.relative_to(root).as_posix()
    return f"data/{data_file.name}"


def _first_run(folder: Path, data_file: Path, name: str) -> str:
    command = f"wap run {name} --project {shlex.quote(str(folder))}"
    if data_file.resolve().is_relative_to(folder.resolve()):
        return command
    return f"{command} --source {shlex.quote(str(data_file.resolve()))}"


def _table_name(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except CatalogConfigError as exc:
        raise ConfigError(exc.what, hint=exc.hint) from exc


def _as_name(data_file: Path) -> str:
    """The file's name, without endings, as an SQL-friendly table name."""
    stem = data_file.name.lstrip(".").split(".")[0]
    name = re.sub(r"\W+", "_", stem.lower()).strip("_") or "table"
    return name if not name[0].isdigit() else f"t_{name}"
