"""Data files outside their table's own place: where they lie is noted in the table's properties.

A run that stages a new table and finds that another was first hands its files over as they are.
They stay where its own table would have been, and no snapshot tells of that once the run is
forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyiceberg.io import FileIO

from catalog import moves, naming, storage
from catalog.commits import Decision, Done, Proposal, settle
from catalog.home import Home
from catalog.refs import TableName
from catalog.storage import StoredFile


def noted_in(properties: Mapping[str, str]) -> list[str]:
    """The locations of runs' files outside the table's own, as its properties say."""
    return sorted({v for k, v in properties.items() if k.startswith(naming.ELSEWHERE)})


def files_in(io: FileIO, places: Iterable[str]) -> dict[str, list[StoredFile]]:
    """The files of each noted place; without those where a table of the run's own still is.

    Whatever drops that table decides on its files, or another attempt at the run does.
    """
    found = {place: storage.list_files(io, _root(place)) for place in places}
    return {
        place: [f for f in files if f.path.startswith(storage.path_of(io, place) + "/")]
        for place, files in found.items()
        if not any(f.path.endswith(".metadata.json") for f in files)
    }


def delete_at(io: FileIO, place: str, doomed: Sequence[StoredFile]) -> None:
    """Delete files of a noted place, and the folders that this leaves empty."""
    storage.delete_files(io, place, doomed)
    storage.delete_folders_left_empty(io, _root(place).rpartition("/")[0], doomed)


def forget(home: Home, name: TableName, places: Iterable[str]) -> None:
    """Strike places that hold nothing any more from the table's notes."""
    empty = frozenset(places)

    def decide() -> Decision[None]:
        table = home.needed(name)
        noted = table.metadata.properties.items()
        keys = [k for k, v in noted if k.startswith(naming.ELSEWHERE) and v in empty]
        if not keys:
            return Done(None)
        return [Proposal(table, (), (moves.remove_properties(keys),))]

    if empty:
        settle(home.committer, decide)


def run_of(place: str) -> str:
    """Whose a noted place is."""
    return place.rpartition("/")[2]


def _root(place: str) -> str:
    """The place of the table that the run would have made."""
    return place.removesuffix(f"/data/{run_of(place)}")
