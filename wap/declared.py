"""What a project declares for one run, read and proved before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from catalog.refs import TableName
from checks.contract import parse_contract
from wap.errors import ConfigError
from wap.model import RunRequest
from wap.pipeline import Pipeline
from wap.project import Project


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
    for contract in texts:
        parse_contract(contract.text, contract.path)
    return Declared(pipeline, texts)


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
