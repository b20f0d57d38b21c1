"""What a proposed contract would have blocked: it is run over what was published already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from catalog.errors import TableNotFoundError
from catalog.refs import TableName
from checks.contract import Contract
from checks.gate import judge
from checks.own import REQUIRED
from checks.report import CheckResult, ContractRef, Outcome, Report
from wap import evidence
from wap.errors import ConfigError, NotRepeatableError, RelationError
from wap.model import Value
from wap.past import Looking, PastRun, past_run, relation_of

#: Version of the shape below; it goes up when a key changes its meaning or goes away.
FORMAT = 1

_VIEWS = ("__batch", "__published")


class Trial(Value):
    """The contract on one published run.

    Attributes:
        verdict: ``passes``, ``blocks``, or ``unknown`` when it cannot be looked at any more.
        reason: why it is unknown, or what the engine complained about; "" elsewhere.
        checks: how many were evaluated.
        bad: those that failed, warned or could not be evaluated, with rows that show why.
    """

    run_id: str
    snapshot: int
    published_at: datetime
    verdict: str
    reason: str = ""
    checks: int = 0
    bad: tuple[CheckResult, ...] = ()


class Proposal(Value):
    """The contract on the last published runs of a table, newest first."""

    format: int = FORMAT
    table: str
    contracts: tuple[ContractRef, ...]
    trials: tuple[Trial, ...]
    seconds: float

    def count(self, verdict: str) -> int:
        """How many runs came to that verdict."""
        return sum(t.verdict == verdict for t in self.trials)


def table_of(contracts: Sequence[Contract]) -> TableName:
    """The table that the contracts are about.

    Raises:
        ConfigError: they are about several.
    """
    found = {_table(c) for c in contracts}
    if len(found) != 1:
        listed = ", ".join(sorted(map(str, found)))
        raise ConfigError(f"the contracts are about several tables: {listed}",
                          hint="try them one table after the other")  # fmt: skip
    return found.pop()


def _table(contract: Contract) -> TableName:
    name = contract.relation
    for view in _VIEWS:
        name = name.removesuffix(view)
    return TableName.parse(f"{contract.schema}.{name}")


def propose(
    looking: Looking,
    table: TableName,
    contracts: Sequence[Contract],
    *,
    last: int,
    masked: frozenset[str],
    told: Callable[[str, int, int], None],
) -> Proposal:
    """Run contracts over the last published runs of a table; nothing is written anywhere.

    Args:
        last: how many runs, newest first.
        masked: columns whose values must not be shown, as the table's pipeline says today.
        told: hears of each run: what became of it, how many, of how many.

    Raises:
        TableNotFoundError: the table is not published.
        CatalogUnavailableError, AuditorUnavailableError: try again.
    """
    started_at, catalog = datetime.now(UTC), looking.catalog
    known = catalog.tables()
    if table not in known:
        raise TableNotFoundError(
            "no such published table", where=str(table),
            hint=f"published: {', '.join(map(str, known)) or 'none yet'}",
        )  # fmt: skip
    seals = [snapshot for snapshot, _ in evidence.seals(catalog, table)][:last]
    trials = []
    for number, snapshot in enumerate(seals, 1):
        try:
            past = past_run(catalog, table, snapshot.id)
            trial = _trial(past, _report(looking, past, contracts, masked))
        except (NotRepeatableError, RelationError) as exc:
            trial = Trial(
                run_id=snapshot.run_id or "",
                snapshot=snapshot.id,
                published_at=snapshot.committed_at,
                verdict="unknown",
                reason=exc.what,
            )
        trials.append(trial)
        told(f"{trial.run_id} {trial.verdict}", number, len(seals))
    return Proposal(
        table=str(table),
        contracts=tuple(ContractRef(path=c.path, digest=c.digest) for c in contracts),
        trials=tuple(trials),
        seconds=(datetime.now(UTC) - started_at).total_seconds(),
    )


def _report(
    looking: Looking, past: PastRun, contracts: Sequence[Contract], masked: frozenset[str]
) -> Report:
    with relation_of(looking, past, contracts, masked) as relation:
        return judge(
            run_id=past.run_id,
            table=str(past.covered.table),
            snapshot_id=past.covered.head,
            expected=past.covered.expected,
            contracts=contracts,
            relation=relation,
            auditor=looking.auditor,
            # Schema and books are no contract's business: they are what they were.
            own=[r for r in past.report.results if r.name in REQUIRED],
            started_at=datetime.now(UTC),
        )


def _trial(past: PastRun, report: Report) -> Trial:
    return Trial(
        run_id=past.run_id,
        snapshot=past.seal.id,
        published_at=past.seal.committed_at,
        verdict="passes" if report.passed else "blocks",
        reason="; ".join(report.errors),
        checks=len(report.results) - len(REQUIRED),
        bad=tuple(r for r in report.results if r.outcome is not Outcome.PASSED),
    )
