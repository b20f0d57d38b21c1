"""A project whose pipeline sets rows aside, and runs of it as Temporal would call their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import HeadMovedError
from catalog.refs import Snapshot, TableName
from wap.activities import Activities
from wap.model import Ending, RunRequest, RunResult
from wap.ports import open_ports
from wap.project import load_project
from wap.quarantine.emptying import Emptying
from wap.query import query
from wap.rolling_back import Target, roll_back
from wap.steps import RunRef
from wap.verifying import Records, TableProof, verify
from wap.worker import open_activities

ORDERS = TableName.parse("shop.orders")
ASIDE = TableName.parse("shop.orders__quarantine")

PIPELINE = """\
table: shop.orders
source: {{kind: files, path: "data/orders-*.csv", format: csv{source}}}
write: {{{write}}}
schema:
  columns: {{id: long, mail: string, amount: "decimal(12,2)", placed: date}}
contracts: [contracts/orders.yml, contracts/batch.yml]
tags: {{mail: [pii]}}
on_failure: quarantine
quarantine: {{{limits}}}
"""

CONTRACT = """\
dataset: wap/shop/orders
columns:
- name: id
  checks:
  - missing: {name: Every order has an id}
- name: amount
  checks:
  - invalid: {name: Nothing costs less than nothing, valid_min: 0}
checks:
- duplicate: {name: An order is there once, columns: [id]}
"""

BATCH = """\
dataset: wap/shop/orders__batch
columns:
- name: mail
  checks:
  - missing: {name: Somebody ordered it}
checks:
- failed_rows: {name: Placed in this century, expression: "placed < DATE '2000-01-01'"}
"""

Row = tuple[Any, ...]


@dataclass
class Shop:
    """The project.

    Attributes:
        env: settings of the project as the environment gives them.
        limits: of what is set aside.
        write: how batches change the table.
        more: lines of the pipeline.
    """

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    limits: str = "max_percent: 50"
    source: str = ""
    write: str = "mode: append, keys: [id]"
    more: str = ""
    contract: str = CONTRACT
    batch: str = BATCH

    def __post_init__(self) -> None:
        for name in ("pipelines", "contracts", "data"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "wap.toml").write_text('[project]\nname = "shop"\n')
        self.declare()

    def declare(self) -> None:
        """Write pipeline and contracts as they are to be now."""
        text = PIPELINE.format(limits=self.limits, source=self.source, write=self.write)
        (self.root / "pipelines/orders.yml").write_text(text + self.more)
        (self.root / "contracts/orders.yml").write_text(self.contract)
        (self.root / "contracts/batch.yml").write_text(self.batch)

    def rows(self, name: str, *rows: str, more: str = "") -> None:
        """A file of orders: id, mail, amount, placed."""
        text = "\n".join([f"id,mail,amount,placed{more}", *rows])
        (self.root / f"data/orders-{name}.csv").write_text(text + "\n")

    @contextmanager
    def steps(self) -> Iterator[Activities]:
        with open_activities(load_project(self.root, self.env)) as steps:
            yield steps

    def run(self, run_id: str, hook: Hook | None = None, **more: Any) -> RunResult:
        """A run from its plan to its report."""
        run = RunRef(run_id=run_id, request=RunRequest(project="p", pipeline="orders", **more))
        with self.steps() as steps:
            return drive(steps, run, hook)

    def see(self, sql: str) -> list[Row]:
        """What a reader sees."""
        with open_ports(load_project(self.root, self.env)) as ports:
            found = query(ports.catalog, sql, temp_directory=self.root / ".wap/tmp")
        return [tuple(row.values()) for row in found.to_pylist()]

    def ids(self) -> list[int]:
        return [r[0] for r in self.see("select id from shop.orders order by 1")]

    def aside(self, columns: str = "id, wap_checks, wap_run") -> list[Row]:
        return self.see(f"select {columns} from shop.orders__quarantine order by wap_row")

    def prove(self) -> list[TableProof]:
        project = load_project(self.root, self.env)
        with open_ports(project) as ports:
            return verify(ports.catalog, Records(ports.ledger, project.reports))

    def data_files(self) -> int:
        return len(list((self.root / "warehouse").rglob("*.parquet")))


def take_back(steps: Activities, targets: Sequence[Target]) -> list[Snapshot]:
    """Move main back, as the command does."""
    emptying = Emptying(
        catalog=steps.catalog,
        auditor=steps.auditor,
        home=steps.home,
        memory_limit=steps.memory_limit,
        temp_directory=steps.temp_directory,
    )
    return roll_back(steps.catalog, targets, emptying)


#: Called with a step's name before it and after it; may raise, as a worker dies.
Hook = Callable[[str, str], None]


def drive(steps: Activities, run: RunRef, hook: Hook | None = None) -> RunResult:
    """The saga's order of steps, with nothing of Temporal; a rejected run is undone."""
    tell = hook or (lambda _name, _at: None)

    def call(name: str, *arguments: Any) -> Any:
        tell(name, "before")
        value = getattr(steps, name)(run, *arguments)
        tell(name, "after")
        return value

    table = (resolved := call("resolve")).table
    if resolved.nothing_new:
        return _ended(steps, run, table, Ending.PUBLISHED, nothing_new=True)
    call("open_branch")
    call("stage")
    aside = None
    for _ in range(20):
        rows, audited = call("reconcile"), call("audit")
        refused = audited.reason
        if audited.separable and not audited.passed:
            divided = call("quarantine", audited)
            if divided.refused is None:
                aside = divided.quarantine
                continue
            refused = divided.refused
        if not audited.passed:
            call("drop_branch")
            return _ended(steps, run, table, Ending.REJECTED, rows=rows, reason=refused)
        call("seal", audited)
        try:
            move = call("publish", audited)
        except HeadMovedError:
            rebased = call("rebase")
            if rebased.restages:
                restaged = call("restage")
                assert (restaged.redo, restaged.refused) == (None, None)
                aside = restaged.quarantine
                continue
            assert rebased.redo is None, rebased.redo
            continue
        rows = rows.model_copy(update={"published": rows.staged})
        more = {"rows": rows, "snapshot": move, "quarantine": aside}
        return _ended(steps, run, table, Ending.PUBLISHED, **more)
    msg = f"{run.run_id} never came to an end"
    raise AssertionError(msg)


def _ended(steps: Activities, run: RunRef, table: str, ending: Ending, **more: Any) -> RunResult:
    result = RunResult(
        run_id=run.run_id, pipeline=run.request.pipeline, table=table, ending=ending, **more
    )
    return steps.close(run, result)
