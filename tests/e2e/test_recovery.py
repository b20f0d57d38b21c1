"""Recovery of every kind: full disks, locks and damaged files end clearly, and main is untouched.

What is tested elsewhere is named in docs/operations.md.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.errors import CatalogError
from tests.e2e.conftest import CONTRACT, PIPELINE, WAP_TOML, Shop
from tests.e2e.test_hostile import (
    assert_readable,
    ids,
    locked,
    mounted,
    newest_metadata,
    plain,
    refused,
)
from wap.activities import Activities
from wap.errors import WapError
from wap.model import RunRequest
from wap.project import load_project
from wap.steps import RunRef
from wap.worker import open_activities

pytestmark = pytest.mark.slow


class Sick(Shop):
    """A shop that is loaded, made sick, and healed; each test brings rows of its own."""

    def deliver(self) -> tuple[list[int], list[int]]:
        """A file of three new orders; the ids that main shows, and those it shows with them."""
        before = ids(self) or []
        first = len(before)
        self.orders(f"orders-{first}.csv", range(first, first + 3))
        return before, [*before, *range(first, first + 3)]

    def kept(self) -> list[str]:
        """Files of the warehouse, but for versions of metadata that a branch leaves in the log."""
        return [name for name in self.files() if not name.endswith(".metadata.json")]

    def untouched(self, before: list[int], files: list[str]) -> None:
        """Main shows what it showed, and nothing of the run is left."""
        assert ids(self) == before
        assert self.kept() == files
        assert not list((self.root / ".wap/runs").glob("*"))

    def healed(self, after: list[int], **env: str) -> None:
        """The same run, once more, is published once."""
        assert self.result("orders", **env)["ending"] == "published"
        assert ids(self) == after


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    shop = Sick(tmp_path_factory.mktemp("recovery") / "shop")
    shop.write("wap.toml", WAP_TOML)
    shop.write("pipelines/orders.yml", PIPELINE.format(write="{mode: append}", on_change="strict"))
    shop.write("contracts/orders.yml", CONTRACT)
    shop.orders("orders-0.csv", range(3))
    shop.result("orders")
    yield shop
    server = shop.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


# --- a full disk --------------------------------------------------------------------------------


def fill(path: Path) -> None:
    """Write until there is no room."""
    with (
        path.open("wb", buffering=0) as file,
        Path("/dev/zero").open("rb") as zeros,
        pytest.raises(OSError, match="No space left"),
    ):
        shutil.copyfileobj(zeros, file, 4096)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A folder on a disk of its own, with what is in it, and no room for anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}-aside")
    shutil.copytree(folder, aside)
    with mounted(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        filler = folder / "filler"
        fill(filler)
        yield
        filler.unlink()
        shutil.rmtree(aside)
        # What came to it meanwhile stays when the disk goes.
        shutil.copytree(folder, aside)
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    shutil.rmtree(aside)


@pytest.mark.parametrize("place", ["metadata", "metadata/wap-evidence"])
def test_a_disk_that_is_full_for_metadata_or_evidence(loaded: Sick, place: str) -> None:
    before, after = loaded.deliver()
    files = loaded.kept()
    with full(newest_metadata(loaded).parents[1] / place):
        result = refused(loaded, code=3, said="no room left to write")
        assert "Hint: free some room" in result["reason"]
    loaded.untouched(before, files)
    loaded.healed(after)


def test_a_disk_that_is_full_for_the_ledger(loaded: Sick) -> None:
    before, after = loaded.deliver()
    files = loaded.kept()
    ledger = loaded.root / ".wap" / "ledger"
    url = {"WAP_LEDGER__URL": f"sqlite:///{ledger}/ledger.db"}
    assert loaded.wap("status", **url).returncode == 0
    with full(ledger):
        done = loaded.run("orders", "--json", **url)
        assert_readable(done)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "free some space" in done.stdout + done.stderr
        loaded.untouched(before, files)
    loaded.healed(after, **url)


#: Bytes; Temporal's database and our own stay below it, the batch's data file does not.
LIMIT = 6_000_000


def test_a_limit_on_the_size_of_files(loaded: Sick) -> None:
    """What is smaller goes through; the data file is refused, and nothing is left of it."""
    before = ids(loaded) or []
    files, first = loaded.kept(), len(before)
    rows = range(first, first + 300_000)
    path = loaded.write(
        "data/orders-large.csv",
        "\n".join(
            [
                "id,customer,amount,placed",
                *(f"{i},{os.urandom(30).hex()},1.50,2026-01-01" for i in rows),
            ]
        )
        + "\n",
    )
    door = loaded.start("orders", "--json")
    resource.prlimit(door.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    out, err = door.communicate(timeout=240)
    assert door.returncode == 3, out + err
    result = json.loads(out)
    assert "a file may not grow so large here" in result["reason"]
    assert "ulimit -f" in result["reason"]
    loaded.untouched(before, files)
    assert loaded.result("orders")["ending"] == "published"
    assert len(ids(loaded) or []) == first + len(rows)
    assert loaded.wap("rollback", "shop.orders", "--yes").returncode == 0
    path.unlink()


# --- locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "setting"), [("catalog", "WAP_CATALOG__URI"), ("ledger", "WAP_LEDGER__URL")]
)
def test_a_database_that_is_locked_for_long_is_told_of_and_waited_for(
    loaded: Sick, database: str, setting: str
) -> None:
    """That it is given up in the end takes minutes here: tests/integration/test_locks.py."""
    _, after = loaded.deliver()
    patience = {setting: f"sqlite:///.wap/{database}.db?timeout=0.2"}
    with locked(loaded.root / ".wap" / f"{database}.db", 600):
        door = loaded.start("orders", "--json", **patience)
        assert door.stderr is not None
        told = next(line for line in door.stderr if "tried again" in line)
        assert "database is locked" in told
    out, err = door.communicate(timeout=120)
    assert json.loads(out)["ending"] == "published", err
    assert ids(loaded) == after


# --- damaged files ------------------------------------------------------------------------------


def local(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def manifest_list(shop: Shop) -> Path:
    snapshot = plain(shop).load_table("shop.orders").current_snapshot()
    assert snapshot is not None
    return local(snapshot.manifest_list)


def manifest(shop: Shop) -> Path:
    table = plain(shop).load_table("shop.orders")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return local(snapshot.manifests(table.io)[0].manifest_path)


def evidence(shop: Shop) -> Path:
    found = newest_metadata(shop).parent.glob("wap-evidence/*.json")
    return max(found, key=lambda path: path.stat().st_mtime)


def data(shop: Shop) -> Path:
    return min((shop.root / "warehouse").rglob("*.parquet"))


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00garbage\xff" * 100)


FINDS = (newest_metadata, manifest_list, manifest, evidence, data)


@contextmanager
def damaged(path: Path, spoil: Callable[[Path], None]) -> Iterator[None]:
    whole = path.read_bytes()
    spoil(path)
    yield
    path.write_bytes(whole)


def _until_audited(steps: Activities, run: RunRef) -> None:
    for step in (steps.resolve, steps.open_branch, steps.stage, steps.reconcile, steps.audit):
        step(run)


@pytest.mark.parametrize("spoil", [cut_off, garbage])
@pytest.mark.parametrize("find", FINDS)
def test_every_damaged_file_of_a_table_stops_the_steps_and_is_named(
    loaded: Sick, find: Callable[[Shop], Path], spoil: Callable[[Path], None]
) -> None:
    before, _ = loaded.deliver()
    files, path = loaded.kept(), find(loaded)
    project = load_project(loaded.root, {})
    run = RunRef(run_id="orders-1", request=RunRequest(project="p", pipeline="orders"))
    with damaged(path, spoil):
        with open_activities(project) as steps, pytest.raises((CatalogError, WapError)) as caught:
            _until_audited(steps, run)
        assert path.name in str(caught.value)
        assert caught.value.hint
    with open_activities(project) as steps:
        if steps.home.folder(run.run_id).has_plan(0):
            steps.drop_branch(run)
            steps.home.folder(run.run_id).remove()
    loaded.untouched(before, files)


@pytest.mark.parametrize(
    ("find", "spoil"),
    [(newest_metadata, Path.unlink), (manifest_list, cut_off), (evidence, garbage)],
)
def test_a_damaged_file_ends_the_run_and_the_restored_one_publishes(
    loaded: Sick, find: Callable[[Shop], Path], spoil: Callable[[Path], None]
) -> None:
    before, after = loaded.deliver()
    files, path = loaded.kept(), find(loaded)
    with damaged(path, spoil):
        done = loaded.run("orders", "--json")
        assert_readable(done)
        assert done.returncode == 3, done.stdout + done.stderr
        assert path.name in done.stdout + done.stderr
        assert "Hint:" in done.stdout + done.stderr
    loaded.untouched(before, files)
    loaded.healed(after)


def test_a_damaged_table_keeps_no_other_from_being_loaded(loaded: Sick) -> None:
    pipeline = (loaded.root / "pipelines/orders.yml").read_text()
    other = pipeline.replace("shop.orders", "shop.returns").replace("orders", "returns")
    loaded.write("pipelines/returns.yml", other)
    contract = (loaded.root / "contracts/orders.yml").read_text()
    loaded.write("contracts/returns.yml", contract.replace("shop/orders", "shop/returns"))
    loaded.orders("returns-1.csv", range(4))
    with damaged(_metadata_of(loaded, "orders"), garbage):
        assert loaded.result("returns")["ending"] == "published"
    assert ids(loaded, "shop.returns") == list(range(4))
    (loaded.root / "pipelines/returns.yml").unlink()


def _metadata_of(shop: Shop, table: str) -> Path:
    return local(plain(shop).load_table(f"shop.{table}").metadata_location)


# --- the project's own state --------------------------------------------------------------------


def test_a_damaged_ledger_is_named_and_made_again(loaded: Sick) -> None:
    before, after = loaded.deliver()
    files = loaded.kept()
    ledger = loaded.root / ".wap" / "ledger.db"
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (ledger.parent / name).unlink(missing_ok=True)
    garbage(ledger)
    done = loaded.run("orders", "--json")
    assert_readable(done)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "ledger.db" in done.stderr
    assert "wap rebuild-ledger" in done.stderr
    loaded.untouched(before, files)
    ledger.unlink()
    assert loaded.wap("rebuild-ledger").returncode == 0
    assert json.loads(loaded.wap("status", "--json").stdout)["runs"]
    loaded.healed(after)


def test_a_damaged_temporal_database_is_named_and_may_be_removed(loaded: Sick) -> None:
    before, after = loaded.deliver()
    files = loaded.kept()
    folder = loaded.root / ".wap" / "temporal"
    for left in folder.glob("temporal.db-*"):
        left.unlink()
    garbage(folder / "temporal.db")
    done = loaded.run("orders", "--json")
    assert_readable(done)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "server.log" in done.stderr
    loaded.untouched(before, files)
    shutil.rmtree(folder)
    loaded.healed(after)


@pytest.mark.parametrize("spoil", [garbage, shutil.rmtree])
def test_a_damaged_folder_of_a_run_is_named_and_the_run_is_undone(
    loaded: Sick, spoil: Callable[[Path], None]
) -> None:
    before, after = loaded.deliver()
    files = loaded.kept()
    killed = loaded.run("orders", "--json", WAP_DRILL="stage:after")
    assert killed.returncode == -signal.SIGKILL
    (folder,) = (loaded.root / ".wap/runs").iterdir()
    spoil(folder if spoil is shutil.rmtree else folder / "plan-0.json")
    done = loaded.run("orders", "--json")
    assert_readable(done)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "plan-0.json" in done.stdout
    assert "Hint:" in done.stdout
    loaded.untouched(before, files)
    loaded.healed(after)
