"""Tables as a branch of Nessie points to them: a pyiceberg catalog of one branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog import MetastoreCatalog, PropertiesUpdateSummary
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from pyiceberg.view import View

from catalog import iceberg, naming
from catalog.known import KnownMetadata
from catalog.manifests import reading
from catalog.nessie_api import Api, Content, Key, Meta, Put, Ref, RefGoneError
from catalog.refs import MAIN, Branch

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "ICEBERG_TABLE"
NAMESPACE = "NAMESPACE"
RUNS = "wap/"
#: Nessie remembers earlier metadata files, and other branches point to them: nobody may delete
#: any because of its age in one branch.
PROPERTIES = {"gc.enabled": "false", "write.metadata.delete-after-commit.enabled": "false"}


class Pointed(Table):
    """A table and the pointer it was loaded by.

    Attributes:
        at: the branch, and its hash when the pointer was read.
        content_id: Nessie's identity of the key there; None: there is no such key.
    """

    at: Ref
    content_id: str | None

    def __init__(self, at: Ref, content_id: str | None, *table: Any) -> None:
        super().__init__(*table)
        self.at = at
        self.content_id = content_id


class PointerCatalog(MetastoreCatalog):
    """The tables of one branch; metadata files are written here, Nessie keeps who points where."""

    def __init__(
        self,
        name: str,
        api: Api,
        properties: Mapping[str, str],
        ref: str = MAIN,
        known: KnownMetadata | None = None,
    ) -> None:
        """Look at a branch.

        Args:
            name: the catalog's.
            api: the server; its token stays there and in no property.
            properties: ``warehouse`` and any of FileIO's.
            ref: the branch.
            known: metadata parsed before, shared by all branches.
        """
        super().__init__(name, **properties)
        self.api = api
        self.ref = ref
        self._known = known or KnownMetadata()

    def on(self, ref: str) -> PointerCatalog:
        """The tables of another branch."""
        return PointerCatalog(self.name, self.api, self.properties, ref, self._known)

    def close(self) -> None:
        """Close the connections to the server."""
        self.api.close()

    # --- pointers -------------------------------------------------------------------------------

    def load_table(self, identifier: str | Identifier) -> Pointed:
        """The table that the branch points to.

        Raises:
            NoSuchTableError: no such table, or no such branch.
        """
        key = self.identifier_to_tuple(identifier)
        _, (found,) = self.load_tables_at([key])
        if found is None:
            raise NoSuchTableError(f"Table does not exist on {self.ref}: {'.'.join(key)}")
        return found

    def load_tables_at(self, keys: Sequence[Key]) -> tuple[Ref, list[Pointed | None]]:
        """The tables of several keys, all as one hash of the branch has them; and that hash."""
        at, contents = self.api.contents(self.ref, keys)
        return at, [self._pointed(at, key, contents.get(key)) for key in keys]

    def _pointed(self, at: Ref, key: Key, content: Content | None) -> Pointed | None:
        if content is None or content.get("type") != TABLE:
            return None
        location = str(content["metadataLocation"])
        known = self._known.get(location)
        if known is None:
            io = load_file_io(self.properties, location)
            with reading(location):
                metadata = FromInputFile.table_metadata(io.new_input(location))
            known = metadata, load_file_io({**self.properties, **metadata.properties}, location)
            self._known.put(location, *known)
        return Pointed(at, str(content["id"]), key, known[0], location, known[1], self)

    def at(self, table: Pointed, location: str) -> Table:
        """The table as another metadata file of it tells."""
        metadata = FromInputFile.table_metadata(table.io.new_input(location))
        return Table(table.name(), metadata, location, table.io, self)

    def stage(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        """Write the metadata file of the table as it would be; nothing points to it yet.

        Raises:
            CommitFailedException: a requirement does not hold.
        """
        staged = iceberg.stage_metadata(self, table, requirements, updates)
        staged.metadata_location = self._location(staged.metadata, staged.metadata_location)
        iceberg.write_metadata(self, staged)
        self._known.put(staged.metadata_location, staged.metadata, staged.io)
        return staged

    def _location(self, metadata: TableMetadata, location: str) -> str:
        """A run's metadata files lie in the run's folder, where its drop finds them all."""
        if not self.ref.startswith(RUNS):
            return location
        folder = naming.run_folder(Branch(self.ref).run_id)
        provider = load_location_provider(metadata.location, metadata.properties)
        return provider.new_metadata_location(f"{folder}/{location.rsplit('/', 1)[-1]}")

    def _commit(self, at: Ref, puts: Sequence[Put], what: str) -> Ref:
        return self.api.commit(at, puts, Meta(what))

    # --- what pyiceberg asks of a catalog: tables -----------------------------------------------

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Create a table without a snapshot."""
        key = self.identifier_to_tuple(identifier)
        at, found = self.api.contents(self.ref, [key, key[:-1]])
        if key in found:
            raise TableAlreadyExistsError(f"Table {'.'.join(key)} already exists on {self.ref}")
        if key[:-1] not in found:
            raise NoSuchNamespaceError(f"Namespace does not exist: {'.'.join(key[:-1])}")
        new = self.new_table(key, schema, location, partition_spec, properties, sort_order)
        content = content_of(new.metadata, new.metadata_location, None)
        self._commit(at, [Put(key, content)], f"create {'.'.join(key)}")
        return self.load_table(key)

    def new_table(
        self,
        key: Key,
        schema: Schema | pa.Schema,
        location: str | None,
        partition_spec: PartitionSpec,
        properties: Properties,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
    ) -> StagedTable:
        """Write the first metadata file of a new table; its pointer is not committed yet."""
        wanted = {**PROPERTIES, **properties}
        location = location or f"{self.properties.get('warehouse', '')}/{'/'.join(key)}"
        metadata = new_table_metadata(
            iceberg.as_schema(schema),
            partition_spec,
            sort_order,
            location.rstrip("/"),
            dict(wanted),
        )
        provider = load_location_provider(metadata.location, wanted)
        where = self._location(metadata, provider.new_table_metadata_file_location())
        io = load_file_io({**self.properties, **wanted}, where)
        staged = StagedTable(key, metadata, where, io, self)
        iceberg.write_metadata(self, staged)
        return staged

    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """Commit to the branch."""
        now = self.load_table(table.name())
        staged = self.stage(now, requirements, updates)
        put = put_of(now, staged.metadata, staged.metadata_location)
        self._commit(now.at, [put], f"commit to {'.'.join(now.name())}")
        return CommitTableResponse.model_validate(
            {"metadata": staged.metadata, "metadata-location": staged.metadata_location}
        )

    def register_table(
        self, identifier: str | Identifier, metadata_location: str, overwrite: bool = False
    ) -> Table:
        """Point to a metadata file that is there already."""
        key = self.identifier_to_tuple(identifier)
        at, found = self.api.contents(self.ref, [key])
        if key in found and not overwrite:
            raise TableAlreadyExistsError(f"Table {'.'.join(key)} already exists on {self.ref}")
        io = load_file_io(self.properties, metadata_location)
        metadata = FromInputFile.table_metadata(io.new_input(metadata_location))
        id_ = found[key]["id"] if key in found else None
        put = Put(key, content_of(metadata, metadata_location, id_))
        self._commit(at, [put], f"register {'.'.join(key)}")
        return self.load_table(key)

    def drop_table(self, identifier: str | Identifier) -> None:
        """Remove the pointer; no file is deleted."""
        table = self.load_table(identifier)
        self._commit(table.at, [Put(table.name(), None)], f"drop {'.'.join(table.name())}")

    def rename_table(
        self, from_identifier: str | Identifier, to_identifier: str | Identifier
    ) -> Table:
        """Give a table another name."""
        table, to = self.load_table(from_identifier), self.identifier_to_tuple(to_identifier)
        _, found = self.api.contents(self.ref, [to])
        if to in found:
            raise TableAlreadyExistsError(f"Table {'.'.join(to)} already exists on {self.ref}")
        content = content_of(table.metadata, table.metadata_location, table.content_id)
        puts = [Put(table.name(), None), Put(to, content)]
        self._commit(table.at, puts, f"rename {'.'.join(table.name())} to {'.'.join(to)}")
        return self.load_table(to)

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        """The tables right below a namespace."""
        parent = self.identifier_to_tuple(namespace)
        return [k for k in self.api.entries(self.ref, TABLE) if k[:-1] == parent]

    # --- namespaces -----------------------------------------------------------------------------

    def create_namespace(
        self, namespace: str | Identifier, properties: Properties = EMPTY_DICT
    ) -> None:
        """Create a namespace."""
        key = self.identifier_to_tuple(namespace)
        at, found = self.api.contents(self.ref, [key])
        if key in found:
            raise NamespaceAlreadyExistsError(f"Namespace already exists: {'.'.join(key)}")
        content = {"type": NAMESPACE, "elements": list(key), "properties": dict(properties)}
        self._commit(at, [Put(key, content)], f"create namespace {'.'.join(key)}")

    def drop_namespace(self, namespace: str | Identifier) -> None:
        """Remove an empty namespace."""
        key = self.identifier_to_tuple(namespace)
        at, found = self.api.contents(self.ref, [key])
        if key not in found:
            raise NoSuchNamespaceError(f"Namespace does not exist: {'.'.join(key)}")
        if self.list_tables(key) or self.list_namespaces(key):
            raise NamespaceNotEmptyError(f"Namespace is not empty: {'.'.join(key)}")
        self._commit(at, [Put(key, None)], f"drop namespace {'.'.join(key)}")

    def list_namespaces(self, namespace: str | Identifier = ()) -> list[Identifier]:
        """The namespaces right below another, by default those at the top."""
        parent = self.identifier_to_tuple(namespace) if namespace else ()
        return [k for k in self.api.entries(self.ref, NAMESPACE) if k[:-1] == parent]

    def load_namespace_properties(self, namespace: str | Identifier) -> Properties:
        """The properties of a namespace."""
        key = self.identifier_to_tuple(namespace)
        _, found = self.api.contents(self.ref, [key])
        if key not in found:
            raise NoSuchNamespaceError(f"Namespace does not exist: {'.'.join(key)}")
        return dict(found[key].get("properties") or {})

    def update_namespace_properties(
        self,
        namespace: str | Identifier,
        removals: set[str] | None = None,
        updates: Properties = EMPTY_DICT,
    ) -> PropertiesUpdateSummary:
        """Refused: nothing here reads properties of namespaces."""
        raise NotImplementedError("properties of a namespace cannot be changed here")

    # --- views: Nessie has them, we have not ----------------------------------------------------

    def list_views(self, namespace: str | Identifier) -> list[Identifier]:  # noqa: ARG002
        """None."""
        return []

    def view_exists(self, identifier: str | Identifier) -> bool:  # noqa: ARG002
        """No."""
        return False

    def load_view(self, identifier: str | Identifier) -> View:
        """Refused."""
        raise NotImplementedError("views are not supported")

    def register_view(self, identifier: str | Identifier, metadata_location: str) -> View:
        """Refused."""
        raise NotImplementedError("views are not supported")

    def drop_view(self, identifier: str | Identifier) -> None:
        """Refused."""
        raise NotImplementedError("views are not supported")


def content_of(metadata: TableMetadata, location: str, content_id: str | None) -> Content:
    """Nessie's pointer to a metadata file; a key that is there already keeps its identity."""
    snapshot = metadata.current_snapshot_id
    pointer = {
        "type": TABLE,
        "metadataLocation": location,
        "snapshotId": snapshot if snapshot is not None else -1,
        "schemaId": metadata.current_schema_id,
        "specId": metadata.default_spec_id,
        "sortOrderId": metadata.default_sort_order_id,
    }
    return {**pointer, "id": content_id} if content_id is not None else pointer


def put_of(table: Pointed, metadata: TableMetadata, location: str) -> Put:
    """Point a table's key to another metadata file."""
    return Put(table.name(), content_of(metadata, location, table.content_id))


def missing_namespaces(api: Api, ref: str, keys: Sequence[Key]) -> list[Put]:
    """Puts for the namespaces that a branch lacks for the keys, outer ones first."""
    wanted = sorted({key[:end] for key in keys for end in range(1, len(key))}, key=len)
    try:
        _, found = api.contents(ref, wanted)
    except RefGoneError:
        found = {}
    return [
        Put(key, {"type": NAMESPACE, "elements": list(key)}) for key in wanted if key not in found
    ]
