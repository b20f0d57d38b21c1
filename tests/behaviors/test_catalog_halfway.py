"""A writer killed in the middle of any file leaves nothing behind once its run is dropped."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from catalog import naming
from tests.behaviors.conftest import Lake, Run

#: Where metadata files are written by us, on a disk that shows what was begun.
pytestmark = [pytest.mark.exactly("sqlite", "postgres"), pytest.mark.by_default("sqlite")]


class Killed(BaseException):
    """Stands for the kill: nothing that the product does for errors is done for it."""


class _Torn:
    """A file whose writer dies when half of its first bytes are on disk."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def close(self) -> None:
        self._inner.close()

    def write(self, data: bytes) -> int:
        self._inner.write(data[: len(data) // 2])
        raise Killed


class Knife:
    """Kills at the n-th file that is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        create = PyArrowFile.create

        def torn(file: PyArrowFile, overwrite: bool = False) -> Any:
            stream = create(file, overwrite)
            if not file.location.endswith((".avro", ".metadata.json")):
                return stream
            self.left -= 1
            return _Torn(stream) if self.left == 0 else stream

        monkeypatch.setattr(PyArrowFile, "create", torn)


@pytest.fixture
def knife(monkeypatch: pytest.MonkeyPatch) -> Knife:
    return Knife(monkeypatch)


def litter(lake: Lake, run: Run) -> list[str]:
    """Files of the table that nothing refers to, however young."""
    later = datetime.now(UTC) + timedelta(days=1)
    found = lake.catalog.sweep(run.table, before=later, live=frozenset, dry_run=True)
    return [one.path for one in found]


def steps_of(run: Run) -> None:
    """All that a run does up to its publish; done again it goes on where it was."""
    staging = run.open()
    if not staging.staged:
        run.stage([7])
    run.finish()


#: More files than a run writes.
MOST = 30


def test_killed_in_the_middle_of_any_file_and_dropped_a_run_leaves_nothing(lake, knife):
    lake.publish([1])
    torn = 0
    for number in range(1, MOST):
        run = lake.run()
        knife.left = number
        try:
            steps_of(run)
        except Killed:
            torn += 1
        else:
            break
        knife.left = 0
        run.drop()
        assert litter(lake, run) == [], number
        assert lake.ids() == [1]
        # Dropped again, as by somebody who does not know.
        assert run.drop().files == 0
    assert torn > 6, "the knife has cut"
    assert lake.ids() == [1, 7]


def test_killed_in_the_middle_of_any_file_of_a_first_load_and_dropped_it_leaves_nothing(
    lake, knife
):
    torn = 0
    for number in range(1, MOST):
        run = lake.run()
        knife.left = number
        try:
            steps_of(run)
        except Killed:
            torn += 1
        else:
            break
        knife.left = 0
        run.drop()
        assert lake.where.names() == set(), number
        assert lake.catalog.tables() == []
    assert torn > 7, "the knife has cut"
    assert lake.ids() == [7]


def test_killed_in_the_middle_of_any_file_and_published_after_all_it_leaves_nothing(lake, knife):
    """The run's end drops what its dead attempts left; main keeps what was published."""
    shown = [1]
    lake.publish(shown)
    for number in range(1, MOST):
        run = lake.run()
        knife.left = number
        try:
            steps_of(run)
        except Killed:
            knife.left = 0
            steps_of(run)
            done = False
        else:
            done = True
        run.drop()
        shown = [*shown, 7]
        assert litter(lake, run) == [], number
        assert lake.ids() == shown
        if done:
            break
    assert len(shown) > 7, "the knife has cut"
    assert lake.catalog.verify(run.table) == []


def test_a_drop_that_is_killed_itself_is_completed(lake, knife):
    lake.publish([1])
    for number in range(1, MOST):
        run = lake.run()
        run.open()
        run.stage([7])
        knife.left = number
        try:
            run.drop()
        except Killed:
            knife.left = 0
            run.drop()
        else:
            break
        assert litter(lake, run) == [], number
    assert number > 2
    assert lake.ids() == [1]


def test_a_late_commit_of_the_run_is_never_left_without_its_metadata_file(lake, monkeypatch):
    """A zombie has written its metadata file; the run is dropped; then the zombie swaps it in."""
    lake.publish([1])
    zombie, run = lake.again(), lake.run("one")
    write = MetastoreCatalog._write_metadata
    between = []

    def written(metadata: Any, io: Any, location: str) -> None:
        write(metadata, io, location)
        if naming.is_metadata_of(location, "one") and not between:
            between.append(location)
            run.drop()

    monkeypatch.setattr(MetastoreCatalog, "_write_metadata", staticmethod(written))
    late = zombie.run("one")
    late.open()
    assert between, "the drop came between"
    # The zombie lost its race against the drop's own commit, and opened the branch anew.
    table = lake.plain.load_table(run.table.identifier)
    assert table.metadata_location not in between
    assert lake.where.exists(table.metadata_location)
    assert lake.ids() == [1]
    run.drop()
    assert litter(lake, run) == []


@pytest.mark.by_default("sqlite", "sqlite-s3")
def test_of_another_run_no_metadata_file_is_taken(lake):
    """Only the run's own marks are looked for: others may be about to swap theirs in."""
    lake.publish([1])
    run, other = lake.run(), lake.run()
    table = lake.plain.load_table(run.table.identifier)
    theirs = naming.metadata_file(table.metadata_location, other.branch.run_id)
    lake.where.write(theirs, lake.where.read(table.metadata_location))
    run.open()
    run.drop()
    assert lake.where.exists(theirs)
    other.drop()
    assert not lake.where.exists(theirs)


def test_killed_between_a_commit_and_its_clearing_up_a_run_leaves_nothing(lake, monkeypatch):
    """Behind each commit the metadata file goes that fell off the log; a kill keeps it there."""
    for number in range(6):
        lake.publish([number])
    run, deleted = lake.run(), []
    delete = PyArrowFileIO.delete

    def dying(io: PyArrowFileIO, location: Any) -> None:
        deleted.append(location)
        if len(deleted) == 1:
            raise Killed
        delete(io, location)

    monkeypatch.setattr(PyArrowFileIO, "delete", dying)
    with pytest.raises(Killed):
        steps_of(run)
    assert str(deleted[0]).endswith(".metadata.json")
    steps_of(run)
    # Of a table that was dropped once and lay in the same place.
    table = lake.plain.load_table(run.table.identifier)
    folder = table.metadata_location.rpartition("/")[0]
    other = f"{folder}/00001-{uuid.uuid4()}.metadata.json"
    text = lake.where.read(table.metadata_location)
    lake.where.write(other, text.replace(str(table.metadata.table_uuid), str(uuid.uuid4())))
    run.drop()
    assert lake.where.exists(other)
    lake.where.delete(other)
    assert not lake.where.exists(deleted[0])
    assert litter(lake, run) == []
    assert lake.ids() == [0, 1, 2, 3, 4, 5, 7]
