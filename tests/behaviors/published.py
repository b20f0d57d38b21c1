"""A project with two tables whose runs are real steps, built once and put back for each test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalog.refs import TableName
from checks.contract import parse_contract
from tests.servers.nessie import Nessie
from wap.activities import Activities
from wap.model import Ending, RunRequest, RunResult
from wap.past import Looking
from wap.ports import open_ports
from wap.project import load_project
from wap.proposed import Proposal, propose, table_of
from wap.reaudit import Reaudit, reaudit
from wap.steps import RunRef
from wap.verifying import Records, TableProof, verify
from wap.worker import auditor_of, open_activities

PIPELINE = """\
table: shop.{name}
source: {{kind: files, path: "data/{name}-*.csv", format: csv}}
write: {{mode: append, keys: [id]}}
schema:
  columns: {{id: long, mail: string, at: timestamptz}}
contracts: [contracts/{name}.yml]
tags: {{mail: [pii]}}
on_foreign: {foreign}
"""

CONTRACT = """\
dataset: wap/shop/orders
columns:
- name: id
  checks:
  - missing:
checks:
- duplicate: {columns: [id]}
- freshness: {column: at, threshold: {unit: hour, must_be_less_than: 24}}
- failed_rows:
    name: Every customer is known
    query: |
      select o.* from shop.orders o left join shop.customers c on c.id = o.id
      where c.id is null
"""

CUSTOMERS = """\
dataset: wap/shop/customers
columns:
- name: id
  checks:
  - missing:
checks:
- row_count:
- duplicate: {columns: [id]}
"""

ORDERS = TableName.parse("shop.orders")


@dataclass
class Shop:
    """A project with two tables, and runs of it as Temporal would call their steps."""

    root: Path

    def rows(self, name: str, *ids: int) -> None:
        now = datetime.now(UTC).isoformat()
        lines = ["id,mail,at", *(f"{i},m{i}@example.com,{now}" for i in ids)]
        (self.root / "data" / name).write_text("\n".join(lines) + "\n")

    def run(self, run_id: str, pipeline: str = "orders") -> RunResult:
        """A run from its plan to its report, published or rejected."""
        run = RunRef(run_id=run_id, request=RunRequest(project="shop", pipeline=pipeline))
        with open_activities(load_project(self.root, {})) as steps:
            return _run(steps, run)

    @contextmanager
    def looking(self) -> Iterator[tuple[Looking, Records]]:
        project = load_project(self.root, {})
        with open_ports(project) as ports:
            yield (
                Looking(ports.catalog, auditor_of(project), project.state / "tmp"),
                Records(ports.ledger, project.reports),
            )
            ports.catalog.close()

    def verify(self) -> TableProof:
        with self.looking() as (looking, records):
            (proof,) = verify(looking.catalog, records, [ORDERS])
            return proof

    def codes(self) -> list[str]:
        return [u.code for u in self.verify().unsealed]

    def reaudit(self, run_id: str) -> Reaudit:
        with self.looking() as (looking, records):
            return reaudit(looking, records.ledger, run_id)

    def propose(self, text: str, last: int = 30, *masked: str) -> Proposal:
        contracts = [parse_contract(text, "new.yml")]
        with self.looking() as (looking, _):
            return propose(
                looking, table_of(contracts), contracts,
                last=last, masked=frozenset(masked), told=lambda *_: None,
            )  # fmt: skip

    def sql(self, text: str, *values: object) -> None:
        with sqlite3.connect(self.root / ".wap" / "ledger.db") as ledger:
            assert ledger.execute(text, values).rowcount > 0

    def metadata(self) -> Path:
        """The metadata file that main points to."""
        with self.looking() as (looking, _):
            table = looking.catalog.iceberg.load_table(ORDERS.identifier)
            return Path(table.metadata_location.removeprefix("file://"))

    def forge(self, old: str, new: str) -> None:
        """Write another text into main's metadata file."""
        file = self.metadata()
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def warehouse(self) -> dict[str, bytes]:
        files = (self.root / "warehouse").rglob("*")
        return {str(f): f.read_bytes() for f in files if f.is_file()}


def _run(steps: Activities, run: RunRef) -> RunResult:
    steps.resolve(run)
    opened = steps.open_branch(run)
    steps.stage(run)
    rows = steps.reconcile(run)
    audited = steps.audit(run)
    result = RunResult(
        run_id=run.run_id,
        pipeline=run.request.pipeline,
        table=f"shop.{run.request.pipeline}",
        ending=Ending.REJECTED,
        rows=rows,
        checks=audited.checks,
        warnings=opened.warnings,
    )
    if audited.passed:
        steps.seal(run, audited)
        move = steps.publish(run, audited)
        result = result.model_copy(update={"ending": Ending.PUBLISHED, "snapshot": move})
    else:
        steps.drop_branch(run)
    return steps.close(run, result)


class Template:
    """A shop that is built once, and put back as it was before each test that wants it."""

    def __init__(self, root: Path, server: Nessie | None) -> None:
        self.shop = Shop(root / "shop")
        self._kept = root / "kept"
        self._server = server
        if server is not None:
            server.empty()
        _build(self.shop, server)
        self._tables = self._pointers()
        shutil.copytree(self.shop.root, self._kept)

    def again(self) -> Shop:
        """The shop as it was built."""
        shutil.rmtree(self.shop.root)
        shutil.copytree(self._kept, self.shop.root)
        if self._server is not None:
            self._server.empty()
            with self.shop.looking() as (looking, _):
                main = looking.catalog.iceberg
                main.create_namespace("shop")
                for name, location in self._tables.items():
                    main.register_table(name, location)
        return self.shop

    def _pointers(self) -> dict[tuple[str, ...], str]:
        with self.shop.looking() as (looking, _):
            main, names = looking.catalog.iceberg, looking.catalog.tables()
            return {n.identifier: main.load_table(n.identifier).metadata_location for n in names}


def _build(shop: Shop, server: Nessie | None) -> None:
    settings = '[project]\nname = "shop"\n[lineage]\nkind = "none"\n'
    if server is not None:
        warehouse = f"file://{shop.root}/warehouse"
        settings += f'[catalog]\nkind = "nessie"\nuri = "{server.uri}"\nwarehouse = "{warehouse}"\n'
    files = {
        "wap.toml": settings,
        "pipelines/orders.yml": PIPELINE.format(name="orders", foreign="say"),
        "pipelines/customers.yml": PIPELINE.format(name="customers", foreign="say"),
        "contracts/orders.yml": CONTRACT,
        "contracts/customers.yml": CUSTOMERS,
    }
    (shop.root / "data").mkdir(parents=True)
    for name, text in files.items():
        (shop.root / name).parent.mkdir(exist_ok=True)
        (shop.root / name).write_text(text)
    shop.rows("customers-1.csv", *range(100))
    assert shop.run("c1", "customers").ending is Ending.PUBLISHED
    for number, run_id in enumerate(("r1", "r2")):
        shop.rows(f"orders-{number}.csv", *range(10 * number, 10 * number + 10))
        assert shop.run(run_id).ending is Ending.PUBLISHED
