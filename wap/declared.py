"""What a project declares for one run, read and proved before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.refs import TableName
from checks.contract import Contract, parse_contract
from checks.errors import ContractError
from checks.rules import Rule
from wap.errors import ConfigError
from wap.located import Document, read_yaml
from wap.model import RunRequest
from wap.paths import is_url, without_password
from wap.pipeline import Pipeline, parse_pipeline
from wap.project import Project
from wap.versions import ContractText, Draft, Version, make_draft

#: First part of every contract's ``dataset``.
SOURCE = "wap"

#: Parts of keys under ``source`` whose values nobody should see.
_SECRET_WORDS = (
    "password", "passwd", "secret", "token", "api_key", "access_key", "credential", "authorization",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """A pipeline and its contracts.

    Attributes:
        version: of the pipeline in the ledger's database; None when it is declared in files.
    """

    pipeline: Pipeline
    contracts: tuple[ContractText, ...]
    version: int | None = None

    @property
    def table(self) -> TableName:
        """The pipeline's table."""
        return TableName.parse(self.pipeline.table)


@dataclass(frozen=True, slots=True)
class Proved:
    """A draft that may be stored; only :func:`prove` makes one.

    Attributes:
        rules: the checks of all its contracts.
    """

    draft: Draft
    pipeline: Pipeline
    rules: tuple[Rule, ...]


def declared(project: Project, name: str) -> Declared:
    """Read and check a pipeline with its contracts.

    Raises:
        ConfigError, ContractError: with file, line and hint; nothing was started.
        LedgerError: the pipeline may be in the ledger's database, which cannot be used.
    """
    version = project.stored(name)
    if version is not None:
        return of_version(version)
    pipeline = project.pipeline(name)
    texts = tuple(ContractText(path=p, text=project.contract_text(p)) for p in pipeline.contracts)
    made = Declared(pipeline, texts)
    for contract in texts:
        _check_dataset(parse_contract(contract.text, contract.path), made.table)
    return made


def of_version(version: Version) -> Declared:
    """What a version declares, proved once more: SQL can store what no door would take.

    Raises:
        ConfigError, ContractError: with version, line and key.
    """
    draft = make_draft(version.name, version.pipeline, version.contracts, version.shown)
    proved = prove(draft, version.shown)
    return Declared(proved.pipeline, draft.contracts, version.version)


def prove(draft: Draft, shown: str) -> Proved:
    """Hold a draft against all that a pipeline's files are held against.

    Args:
        shown: what it is called in messages.

    Raises:
        ConfigError, ContractError: with ``shown``, line and key.
    """
    try:
        pipeline, document = parse_pipeline(draft.pipeline, draft.name, shown)
        _refuse_secrets(document)
        _same_contracts(pipeline, draft, document)
        rules = tuple(rule for c in draft.contracts for rule in _rules(c, pipeline, shown))
    except RecursionError as exc:
        raise ConfigError("it is nested deeper than a person would write", where=shown) from exc
    return Proved(draft, pipeline, rules)


def _rules(contract: ContractText, pipeline: Pipeline, shown: str) -> tuple[Rule, ...]:
    read_yaml(contract.text, f"{shown}, {contract.path}")  # it bounds what the text may grow to
    try:
        parsed = parse_contract(contract.text, contract.path)
        _check_dataset(parsed, pipeline.table_name)
    except ContractError as exc:
        raise ContractError(exc.what, where=f"{shown}, {exc.where}", hint=exc.hint) from exc
    return parsed.rules


def _same_contracts(pipeline: Pipeline, draft: Draft, document: Document) -> None:
    """Refuse a contract that is named and not there, and one that is there and not named.

    Raises:
        ConfigError: with the paths.
    """
    given = {c.path for c in draft.contracts}
    named = set(pipeline.contracts)
    if missing := sorted(named - given):
        what = f"the text of the contract {missing[0]!r} is missing"
    elif extra := sorted(given - named):
        what = f"the pipeline does not name the contract {extra[0]!r}"
    else:
        return
    raise ConfigError(
        what,
        where=document.where(("contracts",)),
        hint="a version holds the pipeline and every contract that it names",
    )


def _refuse_secrets(document: Document) -> None:
    """Refuse what may be a secret: versions are shown to everyone who may look, and for good.

    Raises:
        ConfigError: with the key, and without the value.
    """
    for loc, value in _leaves(document.data, ()):
        if loc[0] != "source":
            continue
        key = str(next(part for part in reversed(loc) if isinstance(part, str)))
        words = key.lower().replace("-", "_")
        secret = any(word in words for word in _SECRET_WORDS) and not words.endswith("_env")
        url = isinstance(value, str) and is_url(value) and without_password(value) != value
        if secret or url:
            raise ConfigError(
                "this may hold a secret, and what is stored here is shown",
                where=document.where(loc),
                hint="let the environment hold the credentials, and leave password and query out",
            )


def _leaves(node: Any, loc: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every value that holds no other, with its path."""
    if isinstance(node, Mapping):
        return [leaf for key, value in node.items() for leaf in _leaves(value, (*loc, key))]
    if isinstance(node, list):
        return [leaf for i, value in enumerate(node) for leaf in _leaves(value, (*loc, i))]
    return [(loc, node)] if loc else []


def _check_dataset(contract: Contract, table: TableName) -> None:
    """Refuse a contract that is about another table: its checks could never be evaluated.

    Raises:
        ContractError: with the names that would do.
    """
    if not is_about(contract, table):
        wanted = _dataset(table)
        raise ContractError(
            f"the contract is for dataset {dataset_of(contract)}, but the pipeline loads {table}",
            where=contract.path,
            hint=f"write dataset: {wanted} (or {wanted}__batch for the rows that a run adds)",
        )


def dataset_of(contract: Contract) -> str:
    """What a contract says that it is about."""
    return f"{contract.source}/{contract.schema}/{contract.relation}"


def is_about(contract: Contract, table: TableName) -> bool:
    """Whether a contract checks a table, its batch or what is published of it."""
    wanted = _dataset(table)
    return dataset_of(contract) in {wanted, f"{wanted}__batch", f"{wanted}__published"}


def _dataset(table: TableName) -> str:
    return f"{SOURCE}/{'.'.join(table.namespace)}/{table.name}"


def check_interval(pipeline: Pipeline, request: RunRequest) -> str | None:
    """The column that the run's data interval bounds; None when it has none.

    Raises:
        ConfigError: bounds without a column to hold them against, or an empty interval.
    """
    if request.interval is None:
        return None
    start, end = request.interval
    if pipeline.write.interval is None:
        raise ConfigError(
            "a data interval was given, but the pipeline says no column for it",
            where=f"pipeline {pipeline.name}",
            hint="add write: {interval: <column>}, or run without --start and --end",
        )
    if start >= end:
        raise ConfigError(f"the data interval [{start}, {end}) is empty", hint="start < end")
    return pipeline.write.interval
