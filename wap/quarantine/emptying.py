"""The empty state of a quarantine table: staged, audited by its contract and sealed like any other.

A way back ends there when the runs that are taken back were the first to set rows aside: then no
earlier seal is below them. Every row goes, no other comes, and main moves to it in the one commit
that takes the table itself back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from catalog.base import BranchCatalog, Change, Published, Staging, TableShape
from catalog.errors import HeadMovedError, TableNotFoundError
from catalog.refs import MAIN, AuditedHead, Branch, Seal, TableName
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
from wap.quarantine.table import EMPTIED, ROW, WAY_BACK, contract_of
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
        folder = self.home.folder(branch.run_id)
        try:
            yield [self._head(branch, one) for one in emptied]
        except BaseException:
            undo_without_plan(self.catalog, branch.run_id, folder)
            folder.remove()
            raise
        # Main has moved: who is told otherwise would go back once more.
        with suppress(StoreUnavailableError):
            folder.remove()

    def _head(self, branch: Branch, one: Emptied) -> AuditedHead:
        published = self.catalog.published(one.table)
        if published is None:
            raise TableNotFoundError("no such published table", where=str(one.table))
        staging = self._staged(branch, one, published)
        rows = Books(
            rows=Rows(), files=0, bytes=0,
            removed_rows=self.catalog.scan(one.table, one.expected).rows,
        )  # fmt: skip
        books = count_batch(self.catalog, staging, rows)
        report = self._audited(staging, published, books)
        head = AuditedHead(
            branch=branch,
            table=one.table,
            head=staging.head,
            expected=staging.expected,
            report=report,
            # Rows of somebody else's are not ours to take away.
            sealed_only=True,
        )
        self._seal(head, staging, one, report, books)
        return head

    def _staged(self, branch: Branch, one: Emptied, published: Published) -> Staging:
        staging = self.catalog.open_branch(branch, one.table, TableShape(schema=published.schema))
        if staging.expected != one.expected:
            raise HeadMovedError(
                table=str(one.table), ref=MAIN, expected=one.expected, found=staging.expected
            )
        if staging.staged:
            return staging
        files = self.catalog.scan(one.table, one.expected).files
        return self.catalog.stage(staging, Change(added=(), removed=files))

    def _audited(self, staging: Staging, published: Published, books: Books) -> Report:
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
                own=own_checks(column_texts(published.schema), column_texts(staging.schema), books),
                started_at=started_at,
            )

    def _seal(
        self, head: AuditedHead, staging: Staging, one: Emptied, report: Report, books: Books
    ) -> None:
        contract, run_id = contract_of(one.table), head.branch.run_id
        proof = evidence.Evidence(
            cursor=CURSOR,
            facts=self._facts(head, one, report, books),
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
            source_digest=_digest(one),
            notes={evidence.NOTE: digest, EMPTIED: " ".join(_runs(one))},
        )
        self.catalog.seal(head, seal)

    def _facts(self, head: AuditedHead, one: Emptied, report: Report, books: Books) -> RunFacts:
        result = RunResult(
            run_id=head.branch.run_id,
            pipeline=one.undone[0].notes.get("pipeline", ""),
            table=str(one.table),
            ending=Ending.PUBLISHED,
            reason=f"taken back: {', '.join(_runs(one))}",
            rows=books.rows,
            snapshot=SnapshotMove(before=one.expected),
            checks=counts_of(report),
        )
        return RunFacts(
            result=result,
            pipeline_digest=report.contract_digest,
            source_kind=WAY_BACK,
            source_location=str(one.table),
            write_mode="replace",
            checks=facts_of(report),
            report_digest=report.digest,
            contract_digest=report.contract_digest,
            started_at=self.begun,
        )


def _runs(one: Emptied) -> list[str]:
    return sorted({evidence.run_of(seal) for seal in one.undone})


def _digest(one: Emptied) -> str:
    told = json.dumps([WAY_BACK, str(one.table), one.expected, _runs(one)])
    return hashlib.sha256(told.encode()).hexdigest()
