"""The empty state of a quarantine table: staged, audited by its contract and sealed like any other.

A way back ends there when the runs that are taken back were the first to set rows aside: then no
earlier seal is below them. Every row goes, no other comes, and main moves to it in the one commit
that takes the table itself back.

And a quarantine table begins there where a catalog cannot make it in the commit that first needs
it: a person has it made, by a publish of its own.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pyiceberg.schema import Schema

from catalog.base import BranchCatalog, Change, Staging, TableShape
from catalog.errors import HeadMovedError, TableNotFoundError, UnsupportedError
from catalog.refs import MAIN, AuditedHead, Branch, Seal, Snapshot, TableName
from checks.base import Auditor
from checks.contract import parse_contract
from checks.gate import judge
from checks.report import Report
from wap import evidence
from wap.auditing import counts_of, facts_of, own_checks
from wap.errors import StoreUnavailableError
from wap.homes import RunHome
from wap.model import Ending, Rows, RunFacts, RunResult, SnapshotMove
from wap.quarantine.beside import CURSOR
from wap.quarantine.table import (
    EMPTIED,
    MADE,
    ROW,
    WAY_BACK,
    contract_of,
    quarantine_of,
    quarantine_schema,
)
from wap.relations import audit_relation
from wap.runs import Books
from wap.types import column_texts
from wap.undoing import undo_without_plan
from wap.writing import count_batch


@dataclass(frozen=True, slots=True)
class Emptied:
    """A quarantine table that is to hold no row any more.

    Attributes:
        expected: main's head, whose rows all go.
        undone: the seals that put them there, newest first.
    """

    table: TableName
    expected: int
    undone: tuple[Seal, ...]


@dataclass(frozen=True, kw_only=True)
class Emptying:
    """What stages, audits and seals empty states.

    Attributes:
        memory_limit: of the audit's DuckDB.
        temp_directory: where it may spill.
    """

    catalog: BranchCatalog
    auditor: Auditor
    home: RunHome
    memory_limit: str
    temp_directory: Path
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    @contextmanager
    def heads(self, emptied: Sequence[Emptied]) -> Iterator[list[AuditedHead]]:
        """Audited and sealed heads without a row, all on one branch; afterwards it is gone.

        The branch is told by what is emptied, so an attempt that died is gone on with; one that
        nobody goes on with is found by `wap maintain`, as that of any run. Main that has moved is
        told by the catalog alone: what fails to be cleared up then is left to that command, too.

        Raises:
            HeadMovedError: main of one of them is not where it was seen.
            UnsealedError, UnauditedError: somebody else wrote to one of them, or the audit said no.
        """
        told = json.dumps(sorted((str(one.table), one.expected) for one in emptied))
        branch = Branch.of_run(f"{WAY_BACK}-{hashlib.sha256(told.encode()).hexdigest()[:16]}")
        with self._on(branch):
            yield [self._head(branch, self._without_rows(one)) for one in emptied]

    def _without_rows(self, one: Emptied) -> _State:
        published = self.catalog.published(one.table)
        if published is None:
            raise TableNotFoundError("no such published table", where=str(one.table))
        runs = sorted({evidence.run_of(seal) for seal in one.undone})
        return _State(
            table=one.table,
            kind=WAY_BACK,
            pipeline=one.undone[0].notes.get("pipeline", ""),
            reason=f"taken back: {', '.join(runs)}",
            schema=published.schema,
            expected=one.expected,
            notes={EMPTIED: " ".join(runs)},
        )

    def make(self, table: TableName) -> Snapshot | None:
        """Publish the quarantine table of a table, without a row; None: it is there already.

        Raises:
            UnsupportedError: the catalog could not publish it in one commit with its table.
            HeadMovedError: somebody else has made it meanwhile.
            UnauditedError: the audit said no.
        """
        aside = quarantine_of(table)
        if not self.catalog.capabilities.atomic_groups:
            raise UnsupportedError(
                "this catalog cannot publish a table and its quarantine table in one commit",
                where=str(table),
                hint="no rows are set aside here; choose on_failure: reject or hold",
            )
        if self.catalog.published(aside) is not None:
            return None
        published = self.catalog.published(table)
        # Columns of a table that is not there yet come with the first rows that are set aside.
        schema = quarantine_schema(published.schema if published is not None else Schema(), None)
        # A name of its own: one that died before main showed its table is no other's to go on with.
        branch = Branch.of_run(f"{MADE}-{table}-{uuid.uuid4().hex[:12]}")
        state = _State(aside, MADE, "", "made, by itself", schema, None, {MADE: str(table)})
        with self._on(branch):
            (snapshot,) = self.catalog.publish([self._head(branch, state)])
        return snapshot

    @contextmanager
    def _on(self, branch: Branch) -> Iterator[None]:
        folder = self.home.folder(branch.run_id)
        try:
            yield
        except BaseException:
            undo_without_plan(self.catalog, branch.run_id, folder)
            folder.remove()
            raise
        # Main has moved: who is told otherwise would go back once more.
        with suppress(StoreUnavailableError):
            folder.remove()

    def _head(self, branch: Branch, state: _State) -> AuditedHead:
        staging = self._staged(branch, state)
        before = self.catalog.scan(state.table, state.expected).rows if state.expected else 0
        rows = Books(rows=Rows(), files=0, bytes=0, removed_rows=before)
        books = count_batch(self.catalog, staging, rows)
        report = self._audited(staging, state, books)
        head = AuditedHead(
            branch=branch,
            table=state.table,
            head=staging.head,
            expected=staging.expected,
            report=report,
            # Rows of somebody else's are not ours to take away.
            sealed_only=True,
        )
        self._seal(head, staging, state, report, books)
        return head

    def _staged(self, branch: Branch, state: _State) -> Staging:
        staging = self.catalog.open_branch(branch, state.table, TableShape(schema=state.schema))
        if staging.expected != state.expected:
            raise HeadMovedError(
                table=str(state.table), ref=MAIN, expected=state.expected, found=staging.expected
            )
        if staging.staged:
            return staging
        gone = self.catalog.scan(state.table, state.expected).files if state.expected else ()
        return self.catalog.stage(staging, Change(added=(), removed=gone))

    def _audited(self, staging: Staging, state: _State, books: Books) -> Report:
        text = contract_of(staging.table)
        contracts = (parse_contract(text.text, text.path),)
        started_at = datetime.now(UTC)
        with audit_relation(
            self.catalog,
            staging,
            keys=(ROW,),
            memory_limit=self.memory_limit,
            temp_directory=self.temp_directory,
            at=started_at,
        ) as relation:
            return judge(
                run_id=staging.branch.run_id,
                table=str(staging.table),
                snapshot_id=staging.head,
                expected=staging.expected,
                contracts=contracts,
                relation=relation,
                auditor=self.auditor,
                own=own_checks(column_texts(state.schema), column_texts(staging.schema), books),
                started_at=started_at,
            )

    def _seal(
        self, head: AuditedHead, staging: Staging, state: _State, report: Report, books: Books
    ) -> None:
        contract, run_id = contract_of(state.table), head.branch.run_id
        proof = evidence.Evidence(
            cursor=CURSOR,
            facts=self._facts(head, state, report, books),
            report=report.to_json(),
            basis=evidence.Basis(
                contracts=(contract,),
                columns=tuple(column_texts(staging.schema).items()),
                keys=(ROW,),
                books=books,
            ),
            manifests=evidence.manifests_of(self.catalog, staging),
        )
        note = self.home.folder(run_id).note_evidence
        digest = evidence.write(staging.io, staging.location, run_id, proof, note)
        seal = Seal(
            run_id=run_id,
            audited=head.head,
            contract_digest=report.contract_digest,
            report_digest=report.digest,
            source_digest=state.digest,
            notes={evidence.NOTE: digest, **state.notes},
        )
        self.catalog.seal(head, seal)

    def _facts(self, head: AuditedHead, state: _State, report: Report, books: Books) -> RunFacts:
        result = RunResult(
            run_id=head.branch.run_id,
            pipeline=state.pipeline,
            table=str(state.table),
            ending=Ending.PUBLISHED,
            reason=state.reason,
            rows=books.rows,
            snapshot=SnapshotMove(before=state.expected),
            checks=counts_of(report),
        )
        return RunFacts(
            result=result,
            pipeline_digest=report.contract_digest,
            source_kind=state.kind,
            source_location=str(state.table),
            write_mode="replace",
            checks=facts_of(report),
            report_digest=report.digest,
            contract_digest=report.contract_digest,
            started_at=self.begun,
        )


@dataclass(frozen=True, slots=True)
class _State:
    """What is to be empty, and why.

    Attributes:
        kind: of its source, in the facts of its evidence.
        pipeline, reason: what these facts tell more.
        expected: main's head, whose rows all go; None: the table is new.
        notes: of its seal.
    """

    table: TableName
    kind: str
    pipeline: str
    reason: str
    schema: Schema
    expected: int | None
    notes: Mapping[str, str]

    @property
    def digest(self) -> str:
        """sha256 hex over what it was made from: there is no other source."""
        told = json.dumps([self.kind, str(self.table), self.expected, *self.notes.values()])
        return hashlib.sha256(told.encode()).hexdigest()
