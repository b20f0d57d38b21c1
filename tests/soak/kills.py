"""Kill -9 at random moments of whole runs, seen from outside: ``python -m tests.soak.kills``.

Batches are loaded into one table by ``run_workflow.py``, good ones and bad ones. Each run is
killed, with all processes of its group and at times the project's Temporal server too, at a moment
drawn over its whole duration, and started again until it ends. Behind every kill and every end a
reader that knows nothing of the product looks: a batch is on main once or not at all, and no file
is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog

from tests.behaviors.places import Folder
from tests.e2e.conftest import CONTRACT, PIPELINE, ROOT, WAP_TOML, Shop, environment
from tests.soak.readers import PlainReader, Seen, unreachable
from wap.ports import open_ports
from wap.project import load_project
from wap.verifying import Records, verify

TABLE = "shop.orders"
#: Of the batches that the contract refuses, of the kills that hit the server, of the runs that are
#: killed once more when they are taken up again.
BAD, SERVER, AGAIN = 0.2, 0.3, 0.6
#: So often a run is killed at most before it may come to its end.
IN_A_ROW = 5
END_SECONDS = 600


@dataclass
class Tale:
    """What has been done, kept in the folder so that a soak can go on where it was.

    Attributes:
        good: first id and number of rows of every batch that must be on main.
        seconds: how long a run takes that nobody kills.
    """

    seed: int
    kills: int = 0
    servers: int = 0
    batches: int = 0
    next_id: int = 0
    seconds: float = 0.0
    good: list[tuple[int, int]] = field(default_factory=list)
    endings: dict[str, int] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        """What main must show."""
        return tuple(i for first, rows in self.good for i in range(first, first + rows))


class Soak:
    """One project and its tale."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.shop, self._state = Shop(folder / "shop"), folder / "tale.json"
        if self._state.exists():
            self.tale = Tale(**json.loads(self._state.read_text()))
            return
        self.tale = Tale(seed)
        self.shop.write("wap.toml", WAP_TOML)
        pipeline = PIPELINE.format(write="{mode: append}", on_change="strict")
        self.shop.write("pipelines/orders.yml", pipeline)
        self.shop.write("contracts/orders.yml", CONTRACT)
        (folder / "shop" / ".wap").mkdir(parents=True)

    def batch(self) -> str:
        """Load one batch, through whatever kills; what became of it.

        Raises:
            AssertionError: a row is lost or doubled, or something is left behind.
        """
        tale = self.tale
        dice = random.Random(f"{tale.seed}/{tale.batches}")  # noqa: S311 - repeatable on purpose
        first, rows = tale.next_id, dice.randint(1, 2000)
        bad = tale.batches > 0 and dice.random() < BAD
        file = self.shop.root / "data" / f"orders-{tale.batches}.csv"
        if not file.exists():  # a soak that goes on finds it: a loaded file must not change
            columns = {"amount": "-1.00"} if bad else {}
            self.shop.orders(file.name, range(first, first + rows), **columns)
        after = tale.ids if bad else (*tale.ids, *range(first, first + rows))
        kills = [] if tale.batches == 0 else self._kill(dice, after)
        self._to_the_end(1 if bad else 0)
        if bad:
            file.unlink()
        else:
            tale.good.append((first, rows))
        self._check_end(after)
        tale.batches, tale.next_id = tale.batches + 1, first + rows
        ending = "rejected" if bad else "published"
        tale.endings[ending] = tale.endings.get(ending, 0) + 1
        self._state.write_text(json.dumps(vars(tale)))
        return f"batch {tale.batches}: {rows} rows {ending}; killed {', '.join(kills) or 'never'}"

    def _kill(self, dice: random.Random, after: tuple[int, ...]) -> list[str]:
        """Start the run and kill it, once or several times in a row; at which moments."""
        moments = []
        while True:
            moment = dice.uniform(0, self.tale.seconds)
            with_server = dice.random() < SERVER
            door = self._start()
            try:
                door.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(door.pid, signal.SIGKILL)
                door.wait()
                self.tale.kills += 1
                moments.append(f"at {moment:.2f} s{self._kill_server() if with_server else ''}")
            else:
                return moments
            self._check_midway(after)
            if len(moments) == IN_A_ROW or dice.random() > AGAIN:
                return moments

    def _kill_server(self) -> str:
        """A server may be starting: then it has written no id yet, and lives."""
        pid = self.shop.root / ".wap" / "temporal" / "server.pid"
        server = self.shop.server() if pid.exists() else None
        if server is None or server.pid is None:
            return ""
        os.kill(server.pid, signal.SIGKILL)
        self.tale.servers += 1
        return " with the server"

    def _start(self) -> subprocess.Popen[bytes]:
        log = (self.shop.root / "door.log").open("wb")
        with log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "run_workflow.py"), "orders", "--json",
                 "--project", str(self.shop.root)],
                stdout=log, stderr=log, env=environment({}, self.shop.root), start_new_session=True,
            )  # fmt: skip

    def _to_the_end(self, code: int) -> None:
        began = time.monotonic()
        found = self._start().wait(END_SECONDS)
        said = (self.shop.root / "door.log").read_text()
        assert found == code, f"exit code {found} in place of {code}: {said[-3000:]}"
        took = time.monotonic() - began
        # As the machine is now; a run that was only taken up is shorter.
        self.tale.seconds = max(took, 0.8 * self.tale.seconds)

    # --- looking --------------------------------------------------------------------------------

    def _reader(self) -> PlainReader:
        where = Folder(self.shop.root / "warehouse")
        uri = f"sqlite:///{self.shop.root}/.wap/catalog.db"
        catalog = SqlCatalog("shop", uri=uri, warehouse=where.url)
        return PlainReader(where, {"warehouse": where.url}, catalog)

    def _look(self) -> Seen | None:
        reader = self._reader()
        try:
            return reader.look().get(TABLE)
        finally:
            reader.close()

    def _check_midway(self, after: tuple[int, ...]) -> None:
        seen = self._look()
        rows = seen.rows if seen is not None else ()
        assert rows in (self.tale.ids, after), "main shows a part of a batch, or one twice"

    def _check_end(self, after: tuple[int, ...]) -> None:
        reader = self._reader()
        try:
            assert set(reader.tables()) == {TABLE}
            assert reader.hidden() == []
            assert reader.look()[TABLE].rows == after, "rows are lost or doubled"
            table = reader.tables()[TABLE]
            assert set(table.metadata.refs) == {"main"}, "a branch is left"
            told = [s.summary.additional_properties for s in table.metadata.snapshots if s.summary]
            seals = {f"{t['wap.run']}-{t['wap.evidence'][:16]}.json" for t in told
                     if t.get("wap.role") == "seal"}  # fmt: skip
            litter = {Path(f) for f in unreachable(reader)}
        finally:
            reader.close()
        litter = {f for f in litter if not (f.parent.name == "wap-evidence" and f.name in seals)}
        assert not litter, f"left behind: {sorted(litter)}"
        assert not list((self.shop.root / ".wap" / "runs").glob("*")), "a run's folder is left"
        self._check_proof()

    def _check_proof(self) -> None:
        """What ``wap verify`` says."""
        project = load_project(self.shop.root, {})
        with open_ports(project) as ports:
            proofs = verify(ports.catalog, Records(ports.ledger, project.reports), [])
            ports.catalog.close()
        assert not any(p.unsealed for p in proofs), proofs

    def close(self) -> None:
        """Stop what runs."""
        server = self.shop.server()
        if server is not None and server.pid is not None:
            os.kill(server.pid, signal.SIGKILL)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="stop behind so many")
    parser.add_argument("--seed", type=int, default=None, help="of a new soak; by default any")
    parser.add_argument("--folder", type=Path, help="keep the soak there, or go on with it")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)  # noqa: S311
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="wap-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    soak = Soak(folder.absolute(), seed)
    print(f"seed {soak.tale.seed}, in {folder}", flush=True)
    try:
        while soak.tale.kills < arguments.kills:
            print(f"{soak.tale.kills}/{arguments.kills} {soak.batch()}", flush=True)
    finally:
        soak.close()
    tale = soak.tale
    print(f"{tale.kills} kills, {tale.servers} of the server too, {tale.batches} batches: "
          f"{tale.endings}; {len(tale.ids)} rows on main, each once; nothing left")  # fmt: skip
    if arguments.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
