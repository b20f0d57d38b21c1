"""What a project declares for one run, read and proved before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from catalog.refs import TableName
from checks.contract import Contract, parse_contract
from checks.errors import ContractError
from wap.errors import ConfigError
from wap.model import RunRequest
from wap.pipeline import Pipeline
from wap.project import Project

#: First part of every contract's ``dataset``.
SOURCE = "wap"


class ContractText(BaseModel):
    """A contract as it is written when the run begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A pipeline and its contracts."""

    pipeline: Pipeline
    contracts: tuple[ContractText, ...]

    @property
    def table(self) -> TableName:
        """The pipeline's table."""
        return TableName.parse(self.pipeline.table)


def declared(project: Project, name: str) -> Declared:
    """Read and check a pipeline with its contracts.

    Raises:
        ConfigError, ContractError: with file, line and hint; nothing was started.
    """
    pipeline = project.pipeline(name)
    texts = tuple(ContractText(path=p, text=project.contract_text(p)) for p in pipeline.contracts)
    made = Declared(pipeline, texts)
    for contract in texts:
        _check_dataset(parse_contract(contract.text, contract.path), made.table)
    return made


def _check_dataset(contract: Contract, table: TableName) -> None:
    """Refuse a contract that is about another table: its checks could never be evaluated.

    Raises:
        ContractError: with the names that would do.
    """
    wanted = f"{SOURCE}/{'.'.join(table.namespace)}/{table.name}"
    found = f"{contract.source}/{contract.schema}/{contract.relation}"
    if found not in {wanted, f"{wanted}__batch", f"{wanted}__published"}:
        raise ContractError(
            f"the contract is for dataset {found}, but the pipeline loads {table}",
            where=contract.path,
            hint=f"write dataset: {wanted} (or {wanted}__batch for the rows that a run adds)",
        )


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
            where=f"pipelines/{pipeline.name}.yml",
            hint="add write: {interval: <column>}, or run without --start and --end",
        )
    if start >= end:
        raise ConfigError(f"the data interval [{start}, {end}) is empty", hint="start < end")
    return pipeline.write.interval
