"""What main of every table must show, and to which heads it may move. Pure; shares no product code
but the names of things."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from catalog.refs import AuditedHead, TableName


@dataclass(frozen=True)
class State:
    """What a snapshot shows: its rows, each once, and its columns in order."""

    rows: frozenset[int]
    columns: tuple[str, ...]


NOTHING = State(frozenset(), ())


@dataclass
class Model:
    """Main of all tables.

    Attributes:
        main: where main of each published table is.
        shown: what each of main's heads, past and present, shows.
        passed: the heads that an audit has passed, and what it saw there.
        seals: the seal by which main got to an audited head.
        foreign: heads that somebody else made.
    """

    main: dict[TableName, int] = field(default_factory=dict)
    shown: dict[tuple[TableName, int], State] = field(default_factory=dict)
    passed: dict[tuple[TableName, int], State] = field(default_factory=dict)
    seals: dict[tuple[TableName, int], int] = field(default_factory=dict)
    foreign: set[tuple[TableName, int]] = field(default_factory=set)

    def state(self, table: TableName) -> State:
        """What main shows; nothing where the table is not published."""
        return self.at(table, self.main.get(table))

    def at(self, table: TableName, head: int | None) -> State:
        """What main showed when it was at a head."""
        return NOTHING if head is None else self.shown[table, head]

    def published(self, audited: AuditedHead, seal: int) -> bool:
        """Main got to an audited head, by its seal; whether it is a move that is new to us.

        Raises:
            AssertionError: it must not have.
        """
        table, key = audited.table, (audited.table, audited.head)
        if key in self.seals:
            assert self.seals[key] == seal, f"{table}: one audit was published by two seals"
            return False
        assert key in self.passed, f"{table}: main moved to a head that no audit passed"
        found = self.main.get(table)
        assert audited.expected == found, (
            f"{table}: main was at {found}, not where the audit saw it"
        )
        self.seals[key] = seal
        self._move(table, seal, self.passed[key])
        return True

    def appended(self, table: TableName, head: int, rows: Iterable[int]) -> None:
        """Somebody else added rows to main."""
        now = self.state(table)
        self.foreign.add((table, head))
        self._move(table, head, State(now.rows | frozenset(rows), now.columns))

    def rolled_back(self, table: TableName, seal: int, audited: int) -> None:
        """Main went back to the seal of an audited head.

        It need not have been at that very one: a run that is audited again is sealed again.
        """
        self._move(table, seal, self.passed[table, audited])

    def _move(self, table: TableName, head: int, state: State) -> None:
        self.main[table] = head
        self.shown[table, head] = state
