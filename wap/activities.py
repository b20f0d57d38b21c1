"""The steps of the saga, done: each method joins the ports and says what came of it."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity

from catalog.base import BranchCatalog, Staging
from catalog.errors import HeadMovedError, RebaseRefusedError
from catalog.refs import AuditedHead, Branch, TableName
from checks.base import Auditor
from checks.report import Report
from checks.row_level import separable
from wap import client, evidence
from wap.attempt import begun_at
from wap.auditing import (
    audit_head,
    contracts_of,
    counts_of,
    reason_of,
    waivable_checks,
)
from wap.closing import (
    close_run,
    facts_of_run,
    hold_run,
    publish_result,
    record_refusal,
    with_waivers,
)
from wap.declared import declared
from wap.engines.base import Engine
from wap.errors import BatchRefusedError, ConfigError, DecisionRefusedError, RunNotFoundError
from wap.groups import with_contracts
from wap.homes import LAST_STEPS, RunHome
from wap.ledger.base import Ledger
from wap.lineage.base import LineageSink
from wap.model import Rows, RunResult, SnapshotMove, StepFacts, Waiver
from wap.planning import advanced, make_plan, said_first, said_of_main, source_of, was_done
from wap.project import Project
from wap.quarantine import beside
from wap.quarantine.divided import divided
from wap.quarantine.divider import Divider
from wap.quarantine.replaying import stage_replay
from wap.quarantine.table import is_replay, quarantine_of
from wap.relations import audit_relation
from wap.restaging import books_told, can_follow, follow, meets_published
from wap.runs import Books, PinnedPlan, RunFolder
from wap.sealing import seal_head
from wap.sources.base import Source
from wap.spark.ports import SparkPorts
from wap.steps import (
    Audited,
    AuditedBeside,
    Divided,
    Opened,
    Rebased,
    Resolved,
    Restaged,
    RunRef,
    Sealed,
    Staged,
    Steps,
    Undone,
    United,
)
from wap.turns import Ticket
from wap.undoing import (
    clear_up,
    dissolve,
    published_move,
    take_over,
    undo_run,
    undo_without_plan,
)
from wap.unions import has_left, is_union, plans_of, taken_by, unite, unites
from wap.writing import count_batch, shape_of, write_batch

# A cancel is heard by asking, between two effects, never thrown into the middle of a commit.
_step = activity.defn(no_thread_cancel_exception=True)


@dataclass(frozen=True)
class Activities(Steps):
    """The ports of one project; holds no state of a run."""

    project: Project
    catalog: BranchCatalog
    engine: Engine
    auditor: Auditor
    ledger: Ledger
    lineage: LineageSink | None
    home: RunHome
    memory_limit: str = "400MB"
    spark: SparkPorts | None = None

    def all(self) -> list[Callable[..., Any]]:
        """The steps, as a worker takes them."""
        return [getattr(self, name) for name in Steps.__abstractmethods__]

    def record(self, run_id: str, facts: StepFacts) -> None:
        """Note an attempt's facts in the run's folder."""
        if facts.name not in LAST_STEPS:
            self._folder(run_id).add_step(facts)

    @_step
    def resolve(self, run: RunRef) -> Resolved:
        folder = self._folder(run.run_id)
        if not folder.has_plan(run.round):
            said = said_first(folder) or with_contracts(
                self.project, declared(self.project, run.request.pipeline), run.request.contracts
            )
            plan = make_plan(
                self.project, self.catalog, run.request, said,
                spark=self.spark.spark if self.spark else None,
            )  # fmt: skip
            folder.pin(run.round, plan)
        pinned = folder.plan(run.round)
        facts = facts_of_run(run, pinned, folder)
        self.ledger.pipeline(pinned.pipeline.name, facts.pipeline_digest, pinned.definition)
        self.ledger.start(
            run.run_id, pinned.pipeline.name, pinned.pipeline.table, facts.started_at,
            version=pinned.version,
        )  # fmt: skip
        refused = None
        if pinned.refused is not None:
            refused = record_refusal(run, pinned, folder, pinned.refused, pinned.differences)
        return Resolved(
            table=pinned.pipeline.table,
            pipeline_digest=facts.pipeline_digest,
            summary=pinned.plan.summary,
            bytes=pinned.plan.bytes,
            nothing_new=pinned.plan.empty,
            refused=refused,
            before=pinned.before,
            unites=unites(pinned),
        )

    @_step
    def open_branch(self, run: RunRef) -> Opened:
        pinned = self._pinned(run)
        # Before anything is written; what comes to main later is met by publish.
        warnings = said_of_main(self.catalog, pinned)
        staging = self.catalog.open_branch(_branch(run), _table(pinned), shape_of(pinned))
        return Opened(expected=staging.expected, head=staging.head, warnings=warnings)

    @_step
    def stage(self, run: RunRef) -> Staged:
        pinned, folder = self._pinned(run), self._folder(run.run_id)
        try:
            if is_replay(pinned):
                divider = self._divider(run, self._staging(run, pinned).expected or 0)
                staging, books = stage_replay(divider)
                return Staged(head=staging.head, rows=books.rows, files=0, bytes=0)
            staging, books = write_batch(
                pinned=pinned,
                source=self._source(run, pinned, rejects=folder.rejects),
                engine=self._engine(pinned),
                catalog=self.catalog,
                staging=self._staging(run, pinned),
                folder=folder,
                number=run.round,
            )
        except BatchRefusedError as exc:
            reason = record_refusal(run, pinned, folder, exc.what, exc.differences, exc.hint)
            return Staged(head=0, rows=Rows(), files=0, bytes=0, refused=reason)
        return Staged(head=staging.head, rows=books.rows, files=books.files, bytes=books.bytes)

    @_step
    def reconcile(self, run: RunRef) -> Rows:
        pinned, folder = self._pinned(run), self._folder(run.run_id)
        staging = self._staging(run, pinned)
        books = count_batch(self.catalog, staging, books_told(folder, run.round, staging))
        folder.save_books(run.round, books)
        return books.rows

    @_step
    def audit(self, run: RunRef) -> Audited:
        pinned, folder = self._pinned(run), self._folder(run.run_id)
        staging, books = self._staging(run, pinned), folder.books(run.round)
        report = self._audited(run, pinned, books, staging, _group(run))
        folder.save_report(report)
        aside = beside.staging_beside(self.catalog, staging)
        other = None
        if aside is not None:
            plan = beside.plan_beside(self.catalog, pinned)
            theirs = self._books_beside(run, pinned, aside)
            other = self._audited(run, plan, theirs, aside)
            folder.save_report(other, beside=True)
        whole = other is None or other.passed
        divides = beside.sets_aside(pinned, staging, replay=is_replay(pinned))
        return Audited(
            head=staging.head,
            expected=staging.expected,
            passed=report.passed and whole,
            report_digest=report.digest,
            checks=counts_of(report),
            reason="; ".join(filter(None, (reason_of(r) for r in (report, other) if r))),
            failed=waivable_checks(report) if whole else (),
            hold_seconds=pinned.pipeline.hold_seconds,
            separable=whole and divides and bool(separable(report, contracts_of(pinned))),
            beside=AuditedBeside(
                head=aside.head, expected=aside.expected, report_digest=other.digest
            )
            if aside is not None and other is not None
            else None,
        )

    @_step
    def quarantine(self, run: RunRef, audited: Audited) -> Divided:
        report = self._folder(run.run_id).report(audited.report_digest)
        return divided(self._divider(run, audited.head), report)

    @_step
    def hold(self, run: RunRef, result: RunResult) -> RunResult:
        waivers = evidence.in_force(self.catalog, _table(self._pinned(run)), begun_at())
        return hold_run(run, self.home, self.project, self.ledger, result, waivers)

    @_step
    def seal(self, run: RunRef, audited: Audited) -> Sealed:
        pinned, folder = self._pinned(run), self._folder(run.run_id)
        head, *others = self._heads(run, audited)
        staging, books = self._staging(run, pinned), folder.books(run.round)
        facts = facts_of_run(
            run, pinned, folder, publish_result(run, pinned, folder, audited, staging)
        )
        plans = plans_of(folder, pinned)
        sealed = seal_head(
            self.catalog, head, staging,
            pinned=pinned, folder=folder,
            report=folder.report(audited.report_digest),
            books=books,
            facts=facts,
            cursor=advanced(
                self._source(run, pinned), self.catalog, head.table, head.expected, *plans
            ),
            members=folder.members() if is_union(pinned) else (),
            notes=evidence.group_notes(run.group.name, run.group.tables) if run.group else {},
        )  # fmt: skip
        for other in others:
            theirs = self._books_beside(
                run, pinned, self.catalog.staging(other.branch, other.table)
            )
            group = run.group.name if run.group else None
            beside.seal_beside(self.catalog, folder, pinned, other, facts, theirs, group)
        return Sealed(snapshot_id=sealed.id)

    @_step
    def publish(self, run: RunRef, audited: Audited) -> SnapshotMove:
        heads = self._heads(run, audited)
        self._refuse_done(run)
        self._refuse_expired(run, audited)
        snapshot, *_ = self.catalog.publish(heads)
        return SnapshotMove(before=audited.expected, after=snapshot.id)

    @_step
    def rebase(self, run: RunRef) -> Rebased:
        pinned, table = self._pinned(run), _table(self._pinned(run))
        if is_replay(pinned):
            return Rebased(redo="a replay is about what waits in quarantine now")
        if self._was_done(run, pinned):
            return Rebased(redo="another run published the same input")
        left = has_left(self.catalog, table, taken_by(self._folder(run.run_id), pinned))
        if left is not None:
            return Rebased(redo=f"run {left} has left the union")
        if meets_published(pinned) and not self._stands(run, pinned):
            again = can_follow(pinned, self._staging(run, pinned)) and not self._overtaken(run)
            return Rebased(redo="the batch has met the rows of another main", restages=again)
        try:
            staging = self.catalog.rebase(_branch(run), table)
            if beside.is_divided(staging):
                self.catalog.rebase(_branch(run), quarantine_of(table))
        except RebaseRefusedError as exc:
            return Rebased(redo=exc.what)
        warnings = said_of_main(self.catalog, pinned)
        return Rebased(head=staging.head, expected=staging.expected, warnings=warnings)

    @_step
    def restage(self, run: RunRef) -> Restaged:
        pinned, folder = self._pinned(run), self._folder(run.run_id)
        try:
            return follow(
                pinned, folder, run.round, _branch(run),
                engine=self._engine(pinned), catalog=self.catalog,
                overtaken=lambda: self._overtaken(run),
            )  # fmt: skip
        except BatchRefusedError as exc:
            reason = record_refusal(run, pinned, folder, exc.what, exc.differences, exc.hint)
            return Restaged(refused=reason)

    @_step
    async def enlist(self, run: RunRef, table: str, ticket: Ticket) -> None:  # noqa: ARG002
        await client.enlist(activity.client(), activity.info().task_queue, table, ticket)

    @_step
    def unite(self, run: RunRef, members: tuple[RunRef, ...]) -> United:
        found = unite(self.catalog, self.home, run, members, self._source)
        return United(members=found)

    @_step
    def dissolve(self, run: RunRef) -> Undone:
        return dissolve(self.catalog, self._folder(run.run_id), run.run_id)

    @_step
    def drop_branch(self, run: RunRef) -> Undone:
        folder = self._folder(run.run_id)
        try:
            pinned = folder.plan(run.round)
        except RunNotFoundError:
            return undo_without_plan(self.catalog, run.owner, folder)
        undone = undo_run(self.catalog, run.owner, _table(pinned), pinned.before, folder)
        if undone.published is not None:
            take_over(self.catalog, run.owner, _table(pinned), folder)
        aside = beside.table_of(pinned, replay=is_replay(pinned))
        if aside is not None and undone.published is None:
            # Both are published in one commit, so this one is not either.
            undo_run(self.catalog, run.owner, aside)
        return undone

    @_step
    def record_lineage(self, run: RunRef, result: RunResult) -> str:
        folder = self._folder(run.run_id)
        if self.lineage is None or not folder.has_plan(run.round):
            return "none"
        pinned = self._pinned(run)
        facts = facts_of_run(run, pinned, folder, result)
        return self.lineage.record(facts, beside.columns_beside(self.catalog, pinned))

    @_step
    def close(self, run: RunRef, result: RunResult) -> RunResult:
        folder = self._folder(run.run_id)
        if (damage := folder.damage()) is not None:
            folder.remove()
            return result.warned(f"neither report nor ledger tell of the run: {damage}")
        waivers: tuple[Waiver, ...] = ()
        if folder.has_plan(run.round) and not result.nothing_new:
            pinned = self._pinned(run)
            result = result.warned(*clear_up(self.catalog, run.owner, pinned, folder, result))
            result, waivers = with_waivers(self.catalog, _table(pinned), result)
        return close_run(run, self.home, self.project, self.ledger, result, waivers)

    @property
    def temp_directory(self) -> Path:
        """Where engines may spill."""
        return self.project.state / "tmp"

    def _stands(self, run: RunRef, pinned: PinnedPlan) -> bool:
        """Whether main is where the branch began: it was another table of the group that moved."""
        published = self.catalog.published(_table(pinned))
        head = published.snapshot.id if published else None
        return self._staging(run, pinned).expected == head

    def _refuse_done(self, run: RunRef) -> None:
        """Refuse to publish what another run has: it may have done so before our branch was opened.

        Main is looked at before it is moved from where the branch began, so what is not there now
        is not there then.

        Raises:
            HeadMovedError: it has; the batch is planned anew.
        """
        pinned, table = self._pinned(run), _table(self._pinned(run))
        if any(seal.run_id == run.owner for _, seal in evidence.seals(self.catalog, table)):
            return
        if self._was_done(run, pinned):
            published = self.catalog.published(table)
            found = published.snapshot.id if published else None
            raise HeadMovedError(table=str(table), ref="main", expected=pinned.before, found=found)

    def _was_done(self, run: RunRef, pinned: PinnedPlan) -> bool:
        """Whether main holds any of the run's work, by another run or by a union with its batch."""
        table, plans = _table(pinned), plans_of(self._folder(run.run_id), pinned)
        taken = was_done(self._source(run, pinned), self.catalog, table, *plans)
        return taken or published_move(self.catalog, run.run_id, table) is not None

    def _overtaken(self, run: RunRef) -> str | None:
        """Why the rows that were read must not be put over what others have published, or None."""
        pinned = self._pinned(run)
        if self._was_done(run, pinned):
            return "another run published the same input"
        now = evidence.cursor(self.catalog, _table(pinned))
        if self._source(run, pinned).outdated(pinned.since, now, pinned.plan):
            return "what another run has published may be newer than what was read"
        return None

    def _refuse_expired(self, run: RunRef, audited: Audited) -> None:
        """A waiver that expired while no worker was there covers no publish any more."""
        waiver = audited.waiver
        if waiver is None or waiver.until > begun_at():
            return
        if published_move(self.catalog, run.owner, _table(self._pinned(run))) is None:
            raise DecisionRefusedError(
                f"the waiver expired at {waiver.until:%Y-%m-%d %H:%M %Z}, before the publish",
                where=f"run {run.run_id}",
                hint="run again, and give it longer",
            )

    def _folder(self, run_id: str) -> RunFolder:
        return self.home.folder(run_id)

    def _pinned(self, run: RunRef) -> PinnedPlan:
        return self._folder(run.run_id).plan(run.round)

    def _spark(self, pinned: PinnedPlan) -> SparkPorts:
        if self.spark is None:
            raise ConfigError("this worker has no Spark", where=pinned.pipeline.name)
        return self.spark

    def _engine(self, pinned: PinnedPlan) -> Engine:
        return self._spark(pinned).engine if pinned.engine == "spark" else self.engine

    def _source(self, run: RunRef, pinned: PinnedPlan, rejects: Path | None = None) -> Source:
        spark = self.spark.spark if self.spark else None
        return source_of(self.project, pinned.pipeline, run.request, rejects=rejects, spark=spark)

    def _staging(self, run: RunRef, pinned: PinnedPlan) -> Staging:
        staging = self.catalog.staging(_branch(run), _table(pinned))
        self._folder(run.run_id).refuse_over(run.round)
        return staging

    def _books_beside(self, run: RunRef, pinned: PinnedPlan, aside: Staging) -> Books:
        folder = self._folder(run.run_id)
        books, replay = folder.books(run.round), is_replay(pinned)
        return beside.books_beside(self.catalog, folder, aside, books, replay=replay)

    def _divider(self, run: RunRef, head: int) -> Divider:
        pinned = self._pinned(run)
        return Divider(
            run_id=run.run_id,
            owner=run.owner,
            group=_group(run),
            number=run.round,
            pinned=pinned,
            folder=self._folder(run.run_id),
            audited=head,
            catalog=self.catalog,
            engine=self.engine,
            source=self._source(run, pinned),
            temp_directory=self.temp_directory,
            memory_limit=self.memory_limit,
        )

    def _audited(
        self,
        run: RunRef,
        pinned: PinnedPlan,
        books: Books,
        staging: Staging,
        group: tuple[TableName, ...] = (),
    ) -> Report:
        return audit_head(
            run_id=run.run_id,
            pinned=pinned,
            books=books,
            catalog=self.catalog,
            staging=staging,
            auditor=self.auditor,
            memory_limit=self.memory_limit,
            temp_directory=self.temp_directory,
            relation_of=self._spark(pinned).relation
            if pinned.engine == "spark"
            else audit_relation,
            beside=group,
        )

    def _heads(self, run: RunRef, audited: Audited) -> list[AuditedHead]:
        """The run's table, and its quarantine table where rows were set aside."""
        head = self._head(run, audited)
        if audited.beside is None:
            return [head]
        return [head, beside.head_beside(head, audited.beside, self._folder(run.run_id))]

    def _head(self, run: RunRef, audited: Audited) -> AuditedHead:
        """The audited head with its evidence; the report is read and proved again each time."""
        return AuditedHead(
            branch=_branch(run),
            table=_table(self._pinned(run)),
            head=audited.head,
            expected=audited.expected,
            report=self._folder(run.run_id).report(audited.report_digest),
            sealed_only=self._pinned(run).pipeline.on_foreign == "refuse",
            members=taken_by(self._folder(run.run_id), self._pinned(run)),
            waiver=audited.waiver,
        )


def _branch(run: RunRef) -> Branch:
    return Branch.of_run(run.owner)


def _group(run: RunRef) -> tuple[TableName, ...]:
    return tuple(map(TableName.parse, run.group.tables)) if run.group else ()


def _table(pinned: PinnedPlan) -> TableName:
    return TableName.parse(pinned.pipeline.table)
