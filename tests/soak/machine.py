"""Random interleavings of all that can happen to tables, with main looked at after every step."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from pyiceberg.exceptions import CommitFailedException

from catalog import CatalogError, HeadMovedError, TableName
from catalog.retention import Keep
from tests.behaviors.conftest import Lake
from tests.soak.model import Model
from tests.soak.playing import BROKEN, Fault, Killed, Leg, Play, Slot, Stage
from tests.soak.readers import PlainReader, Reader, unreachable

TABLES = tuple(TableName.parse(n) for n in ("nyc.flights", "nyc.planes", "ops.weather"))
#: Nothing is too young to be swept.
LATER = datetime.now(UTC) + timedelta(days=365)

tables = st.sampled_from(TABLES)
numbers = st.integers(0, len(TABLES) - 1)
faults = st.one_of(
    st.none(),
    st.builds(
        Fault,
        st.sampled_from(("before", "after", "lost", "refused", "meanwhile")),
        st.sampled_from((0, 0, 0, 1)),
    ),
)
verdicts = st.sampled_from((True, True, True, True, False))


@dataclass
class Tally:
    """What was played, over all sequences."""

    sequences: int = 0
    steps: Counter[str] = field(default_factory=Counter)


class Interleavings(RuleBasedStateMachine):
    """One lake from its beginning to its end.

    Main may move by a publish of an audited head, by somebody else's append and by a rollback,
    and by nothing else; whatever happens, an independent reader sees what the model says.
    """

    slots = Bundle("slots")

    def __init__(self, lake: Lake, reader: Reader, tally: Tally) -> None:
        super().__init__()
        self.lake, self.reader, self.tally = lake, reader, tally
        self.first = lake
        self.model = Model()
        self.stage = Stage(self.model)
        self.plays: list[Play] = []
        self.checked: dict[str, int] = {}
        self.trouble: BaseException | None = None
        self.strays: set[str] = set()  # written by attempts that came late, and were refused
        self.fresh = False  # something was done since the last restart
        tally.sequences += 1

    # --- runs -----------------------------------------------------------------------------------

    @initialize(target=slots, published=st.lists(tables, max_size=2, unique=True), first=tables)
    def lay_ground(self, published: list[TableName], first: TableName) -> Slot:
        """Some tables are there already, and there is a run."""
        for table in published:
            self._rival(table)
        return self._slot([first])

    @rule(target=slots, chosen=st.lists(tables, min_size=1, max_size=2, unique=True))
    def one_more_at_once(self, chosen: list[TableName]) -> Slot:
        """Room for one more run, of one table or two."""
        able = self.lake.catalog.capabilities.atomic_groups
        return self._slot(chosen if able else chosen[:1])

    @rule(
        slot=slots,
        steps=st.integers(1, 10),
        fault=faults,
        at=st.integers(0, 9),
        passes=verdicts,
        kind=st.sampled_from(("plain", "plain", "grows", "replaces")),
    )
    def advance(
        self, slot: Slot, steps: int, fault: Fault | None, at: int, passes: bool, kind: str
    ) -> None:
        """The run's next steps, as its saga would take them; one of them may go wrong."""
        if not slot.play.at_work:
            grows, replaces = kind == "grows", kind == "replaces"
            slot.play = self._begin("run", slot.tables, grows=grows, replaces=replaces)
        for number in range(steps):
            self._next(slot.play, fault if number == at % steps else None, passes=passes)

    @rule(slot=slots, fault=faults, at=st.integers(0, 9))
    def finish(self, slot: Slot, fault: Fault | None, at: int) -> None:
        """All its steps, and those it takes to get over a fault."""
        self.advance(slot, 12, fault, at, True, "plain")

    @rule(slot=slots, steps=st.integers(2, 5), fault=faults, at=st.integers(0, 7))
    def overtaken(self, slot: Slot, steps: int, fault: Fault | None, at: int) -> None:
        """Somebody else publishes while a run that replaces main is at it; then it goes on."""
        if not slot.play.at_work:
            slot.play = self._begin("run", slot.tables, replaces=True)
        for _ in range(steps):
            self._next(slot.play, None, passes=True)
        self._rival(slot.tables[0])
        for number in range(8):
            self._next(slot.play, fault if number == at else None, passes=True)

    def _next(self, play: Play, fault: Fault | None, *, passes: bool) -> None:
        if not all(leg.known for leg in play.legs):
            self._count("refresh")
            self.stage.refresh(self.lake, play)
        elif play.refused:
            self._drop(play, fault)
        elif play.at_work:
            self._advance(play, fault, passes=passes)

    def _advance(self, play: Play, fault: Fault | None, *, passes: bool) -> None:
        for leg in play.legs:
            if leg.staging is None:
                return self._open(play, leg, fault)
            if leg.behind:
                return self._rebase(play, leg, fault)
            if not leg.staging.staged:
                return self._stage(play, leg, fault)
        for leg in play.legs:
            if leg.audited is None:
                self._count("audit")
                return self.stage.audit(self.lake, play, leg, passes=passes)
            if not leg.sealed:
                return self._seal(play, leg, fault)
        return self._publish(play, fault)

    @rule(
        slot=slots, fault=faults, leg=st.integers(0, 1), step=st.sampled_from(("stage", "rebase"))
    )
    def out_of_order(self, slot: Slot, fault: Fault | None, leg: int, step: str) -> None:
        """A step that is not the run's next one: staged again, or rebased without need."""
        chosen = slot.play.legs[leg % len(slot.play.legs)]
        if chosen.staging is not None and step == "stage":
            self._stage(slot.play, chosen, fault)
        elif chosen.staging is not None:
            self._rebase(slot.play, chosen, fault)

    @rule(slot=slots, fault=faults)
    def publish_early(self, slot: Slot, fault: Fault | None) -> None:
        """A publish of what is audited, sealed or not, in time or not."""
        if all(leg.audited is not None for leg in slot.play.legs):
            self._publish(slot.play, fault)

    @rule(slot=slots, fault=faults)
    def drop(self, slot: Slot, fault: Fault | None) -> None:
        """The run is rolled back."""
        if slot.play.at_work:
            self._drop(slot.play, fault)

    @rule(back=st.integers(0, 3), which=st.integers(0, 15))
    def late(self, back: int, which: int) -> None:
        """An attempt that everybody took for dead makes a call with what it knew then."""
        started = [p for p in self.plays if p.past]
        if not started:
            return
        play = started[-1 - back % len(started)]
        name, call = play.past[which % len(play.past)]
        self._count(f"late {name}")
        before = self.reader.on_disk()
        try:
            call()
        except CatalogError:
            self.strays |= self.reader.on_disk() - before
        play.lose_track()

    def _slot(self, chosen: list[TableName]) -> Slot:
        return Slot(chosen, self._begin("run", chosen))

    def _begin(self, kind: str, chosen: list[TableName], **more: bool) -> Play:
        play = Play(f"{kind}-{self.stage.number()}", [Leg(t) for t in chosen], **more)
        self.plays.append(play)
        return play

    # --- others ---------------------------------------------------------------------------------

    @precondition(lambda self: self.model.main and self.lake.plain is not None)
    @rule(table=numbers, rows=st.integers(1, 2))
    def append_from_outside(self, table: int, rows: int) -> None:
        """Somebody writes to main past the gate."""
        self._count("append from outside")
        self._append(self._published(table), rows)

    @precondition(lambda self: self.model.main)
    @rule(number=numbers, back=st.integers(0, 3))
    def rollback(self, number: int, back: int) -> None:
        """An operator goes back to an earlier seal."""
        table = self._published(number)
        seals = [s for s in self.lake.catalog.log(table) if s.is_sealed]
        if not seals:
            return
        self._count("rollback")
        to = seals[min(back, len(seals) - 1)]
        self.lake.catalog.rollback(table, to.id, self.model.main[table])
        self.model.rolled_back(table, to.id, int(to.summary["wap.audited"]))

    @precondition(lambda self: self.model.main)
    @rule(number=numbers, keep=st.integers(1, 3), known=st.booleans())
    def expire(self, number: int, keep: int, known: bool) -> None:
        """History is forgotten; whether Temporal tells who is at work or not."""
        self._count("expire")
        table = self._published(number)
        live = self._at_work() if known else frozenset()
        gone = {s.id for s in self.lake.catalog.expire(table, Keep(keep, LATER, LATER, live))}
        assert self.model.main[table] not in gone

    @precondition(lambda self: self.model.main)
    @rule(number=numbers)
    def sweep(self, number: int) -> None:
        """Files that nobody needs are deleted, but those of runs at work."""
        self._count("sweep")
        table = self._published(number)
        self._sweep(table)
        busy = self._at_work()
        root = f"/{self._root(table)}/"
        left = {f for f in unreachable(self.reader) if root in f}
        left = {f for f in left if not busy & set(f.split("/"))}
        assert not left, f"litter behind a sweep: {sorted(left)}"

    @precondition(lambda self: self.fresh)
    @rule()
    def restart(self) -> None:
        """Everything goes on in another process."""
        self._count("restart")
        self.fresh = False
        self.lake = self.lake.again()

    # --- steps ----------------------------------------------------------------------------------

    def _open(self, play: Play, leg: Leg, fault: Fault | None) -> None:
        must, play.tried = not play.over and not play.tried, True
        call = self.stage.opened(self.lake, play, leg, lambda: self._ground(leg.table))
        self._step("open", play, call, fault, must=must)

    def _stage(self, play: Play, leg: Leg, fault: Fault | None) -> None:
        staging = leg.staging
        must = leg.known and staging is not None and not staging.staged and not play.replaces
        self._step("stage", play, self.stage.staged(self.lake, play, leg, 2), fault, must=must)

    def _seal(self, play: Play, leg: Leg, fault: Fault | None) -> None:
        call = self.stage.sealed(self.lake, play, leg)
        self._step("seal", play, call, fault, must=leg.known)

    def _rebase(self, play: Play, leg: Leg, fault: Fault | None) -> None:
        staging = leg.staging
        same = staging is not None and staging.schema.column_names == list(
            self.model.state(leg.table).columns
        )
        again = play.replaces and self._follows(leg)
        must = leg.known and same and (again or not play.replaces)
        name, make = ("restage", self.stage.restaged) if again else ("rebase", self.stage.rebased)
        call = make(self.lake, play, leg, lambda: self._ground(leg.table))
        if not self._step(name, play, call, fault, must=must) and not must:
            play.refused = True  # to be written anew: by another run

    def _follows(self, leg: Leg) -> bool:
        """Whether a batch that replaces what main shows can do so on another main."""
        staged = leg.staging is not None and leg.staging.staged
        return staged and leg.staging.expected is not None and leg.table in self.model.main

    def _publish(self, play: Play, fault: Fault | None) -> None:
        heads = [leg.audited for leg in play.legs if leg.audited is not None]
        call, must = self.stage.published(self.lake, play), self._must_publish(play)
        self._step("publish", play, call, fault, must=must)
        moved = [h for h in heads if self._head(h.table) != self.model.main.get(h.table)]
        if not moved:
            return
        # Killed behind the commit: all tables of the run, or none.
        assert len(moved) == len(heads), f"{play}: published in part"
        seen = self.reader.look()
        for head in heads:
            summary = seen[str(head.table)].summary
            assert (summary["wap.role"], int(summary["wap.audited"])) == ("seal", head.head)
            self.model.published(head, seen[str(head.table)].head)
        play.over = True

    def _must_publish(self, play: Play) -> bool:
        """Whether nothing stands in its way."""
        able = self.lake.catalog.capabilities
        new = any(leg.table not in self.model.main for leg in play.legs)
        return (
            all(self._ready(play, leg) for leg in play.legs)
            and (len(play.legs) == 1 or able.new_in_groups or not new)
        )  # fmt: skip

    def _ready(self, play: Play, leg: Leg) -> bool:
        audited, staging = leg.audited, leg.staging
        if audited is None or staging is None or not (leg.known and leg.sealed and staging.staged):
            return False
        still = self.lake.kind != "nessie" or leg.ground == self._ground(leg.table)
        return audited.expected == self.model.main.get(leg.table) and still and not play.over

    def _drop(self, play: Play, fault: Fault | None) -> None:
        done = self._step("drop", play, self.stage.dropped(self.lake, play), fault, must=True)
        if done:
            mine = {f for f in self._litter() if play.run_id in f.split("/")}
            assert not mine, f"{play} left files behind: {sorted(mine)}"

    def _step(
        self, name: str, play: Play, call: Callable[[], None], fault: Fault | None, *, must: bool
    ) -> bool:
        """Make a call of a run; whether it came to its end."""
        self._count(name)
        self.fresh = True
        play.past.append((name, call))
        if fault is not None:
            table = play.legs[0].table
            fault.arm(self.lake, lambda: self._somebody(table))
        try:
            call()
        except Killed:
            self._count("killed")
            play.lose_track()
            self._disarm()
            self.lake = self.lake.again()
            return False
        except CatalogError as exc:
            alone = fault is None or fault.harmless
            if isinstance(exc, BROKEN) or (must and alone):
                raise
            self._count(f"refused: {type(exc).__name__}")
            play.lose_track()
            for leg in play.legs:
                leg.behind = leg.behind or isinstance(exc, HeadMovedError)
            return False
        finally:
            self._disarm()
            if self.trouble is not None:
                raise self.trouble
        return True

    def _disarm(self) -> None:
        if self.lake.faults is not None:
            self.lake.faults.before, self.lake.faults.after = [], []

    def _somebody(self, table: TableName) -> None:
        """Somebody else at a table, between a look of ours and the commit that rests on it."""
        self._count("meanwhile")
        try:
            self._meddle(table)
        except BaseException as exc:
            self.trouble = exc  # the step below might take it for an answer of the catalog
            raise

    def _meddle(self, table: TableName) -> None:
        if self.stage.number() % 2 and table in self.model.main and self.lake.plain is not None:
            return self._append(table, 1)
        return self._rival(table)

    def _rival(self, table: TableName) -> None:
        """A whole run, by a process of its own."""
        lake = self.lake.again()
        play = self._begin("rival", [table])
        leg = play.legs[0]
        self.stage.opened(lake, play, leg, lambda: "")()
        self.stage.staged(lake, play, leg, 1)()
        self.stage.audit(lake, play, leg, passes=True)
        self.stage.sealed(lake, play, leg)()
        self.stage.published(lake, play)()

    def _append(self, table: TableName, count: int) -> None:
        """With pyiceberg, as it comes."""
        plain = self.reader.catalog if isinstance(self.reader, PlainReader) else self.lake.plain
        assert plain is not None
        ids = [self.stage.number() for _ in range(count)]
        found = plain.load_table(table.identifier)
        arrow = found.schema().as_arrow()
        columns = {f.name: pa.nulls(count, f.type) for f in arrow} | {
            "id": pa.array(ids, pa.int64())
        }
        with suppress(CommitFailedException):
            found.append(pa.table(columns, schema=arrow))
            head = plain.load_table(table.identifier).current_snapshot()
            assert head is not None
            self.model.appended(table, head.snapshot_id, ids)

    def _published(self, number: int) -> TableName:
        published = sorted(self.model.main)
        return published[number % len(published)]

    def _sweep(self, table: TableName) -> None:
        self.lake.catalog.sweep(table, before=LATER, live=self._at_work)

    def _at_work(self) -> frozenset[str]:
        return frozenset(p.run_id for p in self.plays if p.at_work)

    def _ground(self, table: TableName) -> str:
        return self.reader.location(str(table))

    def _head(self, table: TableName) -> int | None:
        seen = self.reader.look().get(str(table))
        return seen.head if seen is not None else None

    def _root(self, table: TableName) -> str:
        found = self.lake.catalog.published(table)
        assert found is not None
        return self.reader.path(found.location).strip("/")

    def _litter(self) -> set[str]:
        """Files that nobody can get at, but for one kind: see «limits» in docs/proof.md."""
        roots = tuple(f"/{self._root(t)}/" for t in self.model.main)
        return {
            f for f in unreachable(self.reader)
            if f not in self.strays or f.startswith(roots) or self.lake.kind == "memory"
        }  # fmt: skip

    def _count(self, step: str) -> None:
        self.tally.steps[step] += 1

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def main_is_what_the_model_says(self) -> None:
        """No row is lost or doubled, no column or table shows before it is published."""
        seen = self.reader.look()
        assert set(seen) == {str(t) for t in self.model.main}, "main lists other tables"
        for table, head in self.model.main.items():
            found, state = seen[str(table)], self.model.state(table)
            assert found.head == head, f"{table}: main moved by itself"
            assert found.rows == tuple(sorted(state.rows)), f"{table}: rows lost or doubled"
            assert found.columns == state.columns, f"{table}: other columns"
            if self.checked.get(str(table)) != head:
                self._check_proof(table, found.ancestry)
                self.checked[str(table)] = head

    def _check_proof(self, table: TableName, ancestry: tuple[int, ...]) -> None:
        log = [s.id for s in self.lake.catalog.log(table)]
        assert len(set(ancestry)) == len(ancestry), f"{table}: main's history goes round"
        assert log == list(ancestry), f"{table}: our log is not main's ancestry"
        foreign = [i for i in log if (table, i) in self.model.foreign]
        gaps = self.lake.catalog.gaps(table)
        assert [g.snapshot.id for g in gaps] == foreign, [
            (s.id, s.parent_id, s.run_id, s.role, [g.reason for g in gaps if g.snapshot == s])
            for s in self.lake.catalog.log(table)
        ]

    @invariant()
    def branches_are_those_of_runs_at_work(self) -> None:
        """What attempts know they have is there."""
        if any(not leg.known for play in self.plays for leg in play.legs):
            return
        ours = {(p.branch, leg.table) for p in self.plays for leg in p.legs if leg.staging}
        assert {(s.branch, s.table) for s in self.lake.catalog.branches()} == ours

    def teardown(self) -> None:
        """Every run is dropped and the tables are swept: nothing may stay but main's own."""
        try:
            if sys.exception() is None:
                self._end()
        finally:
            self.reader.close()
            self.first.close()
            shutil.rmtree(self.first.root)

    def _end(self) -> None:
        for play in self.plays:
            self.stage.dropped(self.lake, play)()
        assert self.lake.catalog.branches() == []
        self.main_is_what_the_model_says()
        for table in self.model.main:
            self._sweep(table)
        self.main_is_what_the_model_says()
        assert self.reader.hidden() == []
        litter = self._litter()
        assert not litter, f"litter: {sorted(litter)}"
