"""Groups: pipelines whose tables are published together, proved before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog.refs import TableName
from checks.contract import Contract, parse_contract
from wap.complaints import suggestion
from wap.declared import Declared, dataset_of, declared, is_about
from wap.errors import ConfigError, GroupRefusedError
from wap.model import RunRequest
from wap.project import SETTINGS_FILE, Project
from wap.versions import ContractText

if TYPE_CHECKING:
    # Importing it costs a second of pyiceberg, and a door only asks for a group.
    from catalog.base import BranchCatalog


def declared_group(project: Project, name: str) -> tuple[Declared, ...]:
    """The pipelines of a group with their contracts, in the order in which they are declared.

    Raises:
        ConfigError, ContractError: there is no such group, it names a pipeline twice or one that
            is not there, or two that load one table; a pipeline cannot be in a group; or a contract
            of the group is not valid, or about no table of it.
        LedgerError: a pipeline may be in the ledger's database, which cannot be used.
    """
    if name not in project.groups:
        known = project.groups
        declare = f'declare it: [groups.{name}] and below it pipelines = ["…", "…"]'
        hint = suggestion(name, known) if known else declare
        raise ConfigError(f"there is no group {name!r}", where=SETTINGS_FILE, hint=hint)
    pipelines = project.groups[name].pipelines
    if twice := [p for p in pipelines if pipelines.count(p) > 1]:
        raise _wrong(name, f"the pipeline {twice[0]!r} is named twice", "name each once")
    known_pipelines = project.pipelines()
    if unknown := [p for p in pipelines if p not in known_pipelines]:
        hint = suggestion(unknown[0], known_pipelines)
        raise _wrong(name, f"there is no pipeline {unknown[0]!r}", hint)
    found = tuple(declared(project, pipeline) for pipeline in pipelines)
    _check_tables(name, found)
    for one in found:
        _check_member(name, one)
    for path in project.groups[name].contracts:
        _check_contract(name, found, parse_contract(project.contract_text(path), path))
    return found


def _check_tables(name: str, members: Sequence[Declared]) -> None:
    loaded: dict[TableName, str] = {}
    for one in members:
        other = loaded.setdefault(one.table, one.pipeline.name)
        if other != one.pipeline.name:
            raise _wrong(
                name,
                f"{other} and {one.pipeline.name} both load {one.table}",
                "a table moves once in a publish: leave one of them out",
            )


def _check_member(name: str, member: Declared) -> None:
    """No table of a group is held: it would keep the others from their readers for days.

    What is set aside from one was seen by the audits of the others, so all are audited again.
    """
    if member.pipeline.on_failure == "hold":
        raise _wrong(
            name,
            f"the pipeline {member.pipeline.name!r} has on_failure: {member.pipeline.on_failure}",
            "a group is published or rejected as one: write on_failure: reject or quarantine, or "
            "run the pipeline by itself",
        )


def _check_contract(name: str, members: Sequence[Declared], contract: Contract) -> None:
    if not any(is_about(contract, one.table) for one in members):
        tables = ", ".join(str(one.table) for one in members)
        raise _wrong(
            name,
            f"the contract {contract.path} is for dataset {dataset_of(contract)}, which no "
            "pipeline of the group loads",
            f"write a dataset of one of {tables}",
        )


def with_contracts(project: Project, said: Declared, paths: Sequence[str]) -> Declared:
    """A member as it is held to its group's contracts, too: those that are about its table.

    Raises:
        ConfigError, ContractError: a contract is not there, or not valid.
    """
    own = {contract.path for contract in said.contracts}
    texts = [ContractText(path=p, text=project.contract_text(p)) for p in paths if p not in own]
    more = [c for c in texts if is_about(parse_contract(c.text, c.path), said.table)]
    return replace(said, contracts=(*said.contracts, *more))


def _wrong(name: str, what: str, hint: str) -> ConfigError:
    return ConfigError(what, where=f"{SETTINGS_FILE}, [groups.{name}]", hint=hint)


def request_of(project: Project, name: str) -> RunRequest:
    """What a door asks for to publish a group.

    Raises:
        ConfigError, ContractError, LedgerError: see :func:`declared_group`.
    """
    members = declared_group(project, name)
    return RunRequest(
        project=project.id,
        pipeline=name,
        members=tuple(one.pipeline.name for one in members),
        contracts=project.groups[name].contracts,
        heartbeat_seconds=project.temporal.heartbeat_seconds,
        abreast=project.groups[name].abreast,
    )


def check_able(catalog: BranchCatalog, name: str, tables: Sequence[TableName]) -> None:
    """Refuse what the catalog cannot publish in one step, before anything is written.

    Args:
        catalog: where the tables are.
        name: the group's.
        tables: what would be published.

    Raises:
        GroupRefusedError: see above.
    """
    able, where = catalog.capabilities, f"group {name}, catalog {catalog.name}"
    if len(tables) < 2:  # noqa: PLR2004 - one table needs no group
        return
    if not able.atomic_groups:
        raise GroupRefusedError(
            "this catalog cannot publish several tables in one step",
            where=where,
            hint="docs/server.md says which can; run the pipelines by themselves here",
        )
    new = [str(table) for table in tables if catalog.published(table) is None]
    if new and not able.new_in_groups:
        raise GroupRefusedError(
            f"this catalog cannot publish a new table in one step with others: {', '.join(new)}",
            where=where,
            hint="run their pipelines by themselves first; from then on they go with the group",
        )
