"""Readers of a lake that share no code with the product: pyiceberg, pyarrow and HTTP alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.io import load_file_io
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable, Table
from pyiceberg.table.metadata import TableMetadata

from catalog import TableName
from catalog.memory import MemoryCatalog
from tests.behaviors.conftest import Lake, told
from tests.behaviors.places import Folder, Store

#: Where the product keeps tables that no reader shall see yet.
HIDDEN = ("wap_staging",)


@dataclass(frozen=True)
class Seen:
    """A table as a reader of main sees it.

    Attributes:
        head: main's snapshot.
        rows: the column ``id``, sorted, with whatever is there twice.
        columns: their names, in order.
        ancestry: main's snapshots, newest first.
        summary: of the head.
    """

    head: int
    rows: tuple[int, ...]
    columns: tuple[str, ...]
    ancestry: tuple[int, ...]
    summary: dict[str, str]


class Reader(ABC):
    """One lake, looked at from outside."""

    def __init__(self, where: Folder | Store, properties: Mapping[str, str]) -> None:
        """Open it.

        Args:
            where: the warehouse.
            properties: how to get at its files.
        """
        self.where, self.properties = where, {**properties}
        self._known: dict[Any, Seen] = {}

    @abstractmethod
    def tables(self) -> dict[str, Table]:
        """The tables that main lists, by their names."""

    def hidden(self) -> list[str]:
        """What is left of tables that are not published."""
        return []

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what is open."""

    def look(self) -> dict[str, Seen]:
        """Every table of main; a history that is not a tree is an error."""
        return {name: self._seen(table) for name, table in self.tables().items()}

    def location(self, name: str) -> str:
        """The metadata file that main of a table points to; "" where there is no such table."""
        found = self.tables().get(name)
        return found.metadata_location if found is not None else ""

    def _seen(self, table: Table) -> Seen:
        """Read the rows, again only when metadata or a data file is another one."""
        files = [self.path(t.file.file_path) for t in table.scan().plan_files()]
        key = (table.metadata_location, *((f, _written(f)) for f in sorted(files)))
        if key not in self._known:
            self._known[key] = _read(table)
        return self._known[key]

    def on_disk(self) -> set[str]:
        """Every file of the warehouse but checksums of Hadoop, which a REST server is built on."""
        names = (n for n in self.where.names() if not n.endswith(".crc"))
        return {self.path(self.where.location(n)) for n in names}

    def reachable(self) -> set[str]:
        """Every file that somebody who knows the tables of main can get at."""
        found: set[str] = set()
        for table in self.tables().values():
            for metadata, location in self._versions(table):
                found.add(self.path(location))
                found |= {self.path(e.metadata_file) for e in metadata.metadata_log}
                found |= self._of_snapshots(metadata)
        return found

    def _versions(self, table: Table) -> Iterator[tuple[TableMetadata, str]]:
        yield table.metadata, table.metadata_location

    def _of_snapshots(self, metadata: TableMetadata) -> set[str]:
        found: set[str] = set()
        for snapshot in metadata.snapshots:
            io = load_file_io(self.properties, snapshot.manifest_list)
            found.add(self.path(snapshot.manifest_list))
            for manifest in snapshot.manifests(io):
                found.add(self.path(manifest.manifest_path))
                entries = manifest.fetch_manifest_entry(io, discard_deleted=False)
                live = (e for e in entries if e.status != ManifestEntryStatus.DELETED)
                found |= {self.path(e.data_file.file_path) for e in live}
        return found

    @staticmethod
    def path(location: str) -> str:
        """A location by which two that are the same are equal."""
        if location.startswith("s3:"):
            return location
        return "/" + location.removeprefix("file:").lstrip("/")


class PlainReader(Reader):
    """Over a pyiceberg catalog of its own."""

    def __init__(
        self, where: Folder | Store, properties: Mapping[str, str], catalog: Catalog
    ) -> None:
        """See the base."""
        super().__init__(where, properties)
        self.catalog = catalog

    def tables(self) -> dict[str, Table]:
        """See the base."""
        names = [n for space in self._spaces() if space != HIDDEN
                 for n in self.catalog.list_tables(space)]  # fmt: skip
        return {".".join(n): self.catalog.load_table(n) for n in names}

    def hidden(self) -> list[str]:
        """See the base."""
        there = HIDDEN in self._spaces()
        return [".".join(n) for n in self.catalog.list_tables(HIDDEN)] if there else []

    def _spaces(self) -> list[tuple[str, ...]]:
        return list(self.catalog.list_namespaces())

    def close(self) -> None:
        """See the base."""
        self.catalog.close()


class NessieReader(Reader):
    """Asks Nessie where main's tables lie, and reads their metadata files."""

    def __init__(self, where: Folder | Store, properties: Mapping[str, str]) -> None:
        """See the base."""
        super().__init__(where, {k: v for k, v in properties.items() if k != "uri"})
        self._http = httpx.Client(base_url=properties["uri"], timeout=30)

    def tables(self) -> dict[str, Table]:
        """See the base."""
        entries = self._get("/trees/main/entries", content="true")["entries"]
        places = {
            ".".join(e["name"]["elements"]): e["content"]["metadataLocation"]
            for e in entries if e["type"] == "ICEBERG_TABLE"
        }  # fmt: skip
        return {n: StaticTable.from_metadata(at, self.properties) for n, at in places.items()}

    def hidden(self) -> list[str]:
        """Branches that runs have left."""
        refs = self._get("/trees")["references"]
        return [r["name"] for r in refs if r["name"] != "main"]

    def _versions(self, table: Table) -> Iterator[tuple[TableMetadata, str]]:
        """Nessie remembers: whoever has the hash of a commit of main reads the table as it was."""
        log = self._get("/trees/main/history", fetch="ALL")["logEntries"]
        puts = [o for e in log for o in e.get("operations") or () if o["type"] == "PUT"]
        places = {o["content"].get("metadataLocation", "") for o in puts}
        root = table.location().rstrip("/") + "/"
        for place in sorted(p for p in places if p.startswith(root)):
            file = load_file_io(self.properties, place).new_input(place)
            yield FromInputFile.table_metadata(file), place

    def _get(self, path: str, **params: str) -> Any:
        return self._http.get(path, params=params).raise_for_status().json()

    def close(self) -> None:
        """See the base."""
        self._http.close()


class MemoryReader(Reader):
    """The memory catalog has no outside: only the data files are read independently."""

    def __init__(self, where: Folder | Store, catalog: MemoryCatalog) -> None:
        """See the base."""
        super().__init__(where, {})
        self._catalog = catalog

    def tables(self) -> dict[str, Table]:
        """There are none in pyiceberg's sense."""
        return {}

    def look(self) -> dict[str, Seen]:
        """See the base."""
        return {str(name): self._shown(name) for name in self._catalog.tables()}

    def location(self, name: str) -> str:
        """No metadata file, so it never is another one."""
        return name

    def _shown(self, name: TableName) -> Seen:
        published = self._catalog.published(name)
        assert published is not None, f"{name} is listed and not published"
        head = published.snapshot
        files = self._catalog.scan(name, head.id).files
        rows = [
            i for f in files for i in pq.read_table(f.file_path, columns=["id"])["id"].to_pylist()
        ]
        log = tuple(s.id for s in self._catalog.log(name))
        columns = tuple(published.schema.column_names)
        return Seen(head.id, tuple(sorted(rows)), columns, log, dict(head.summary))

    def reachable(self) -> set[str]:
        """See the base."""
        tables = self._catalog._visible.values()
        return {f.file_path for t in tables for n in t.nodes.values() for f in n.files}

    def hidden(self) -> list[str]:
        """See the base."""
        return [str(name) for _, name in self._catalog._new]


def reader_of(lake: Lake) -> Reader:
    """A reader of a lake of the behaviours suite."""
    properties = {"warehouse": lake.where.url, **told(lake.root)}
    if isinstance(lake.catalog, MemoryCatalog):
        return MemoryReader(lake.where, lake.catalog)
    if lake.kind == "nessie":
        return NessieReader(lake.where, properties)
    properties = {"uri": f"sqlite:///{lake.root / 'catalog.db'}", "name": "test", **properties}
    kind, name = "rest" if lake.kind == "rest" else "sql", properties.pop("name")
    return PlainReader(lake.where, properties, load_catalog(name, type=kind, **properties))


def _written(path: str) -> float:
    """When a file was written; whoever writes over one in a bucket gets away with it here."""
    return 0.0 if path.startswith("s3:") else Path(path).stat().st_mtime


def _read(table: Table) -> Seen:
    check_history(table.metadata)
    head = table.current_snapshot()
    assert head is not None, "main shows a table without a snapshot"
    rows = table.scan().to_arrow()
    by_id = {s.snapshot_id: s for s in table.metadata.snapshots}
    ancestry, at = [], head.snapshot_id
    while at in by_id:
        ancestry.append(at)
        at = by_id[at].parent_snapshot_id
    return Seen(
        head=head.snapshot_id,
        rows=tuple(sorted(rows["id"].to_pylist())),
        columns=tuple(rows.schema.names),
        ancestry=tuple(ancestry),
        summary=dict(head.summary.additional_properties) if head.summary else {},
    )


def check_history(metadata: TableMetadata) -> None:
    """Every snapshot's parents lead to an end, and each is younger than its parent.

    Raises:
        AssertionError: they do not.
    """
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    assert len(by_id) == len(metadata.snapshots), "two snapshots have one id"
    for ref in metadata.refs.values():
        assert ref.snapshot_id in by_id, "a ref points to nothing"
    for snapshot in metadata.snapshots:
        parent = by_id.get(snapshot.parent_snapshot_id)
        if parent is not None:
            # So no chain of parents can come back to where it began.
            assert parent.sequence_number < snapshot.sequence_number, "not younger than its parent"


def unreachable(reader: Reader) -> set[str]:
    """Files of the warehouse that nobody can get at."""
    return reader.on_disk() - reader.reachable()
