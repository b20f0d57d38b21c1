"""The one module that touches private names of pyiceberg: each is listed, wrapped and tested.

- ``MetastoreCatalog._update_and_stage_table``: checks requirements, applies updates; no I/O.
- ``MetastoreCatalog._write_metadata``: writes the metadata file.
- ``Catalog._convert_schema_if_needed``: Iceberg's schema of an Arrow one.

``tests/unit/catalog/test_iceberg.py`` says what we rely on, so an upgrade fails there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.update import TableRequirement, TableUpdate

if TYPE_CHECKING:
    import pyarrow as pa


class _SharedMetadata(TableMetadataV2):
    """Metadata that is never copied deeply: every update makes new lists and keeps their members.

    pyiceberg copies all of it deeply on every commit, which was two thirds of a commit's time in
    a table of 400 snapshots; nobody here changes a member in place.
    """

    def model_copy(self, *, update: Any = None, deep: bool = False) -> Self:
        """Copy without the depth."""
        del deep
        return super().model_copy(update=update, deep=False)


def stage_metadata(
    catalog: MetastoreCatalog,
    table: Table,
    requirements: tuple[TableRequirement, ...],
    updates: tuple[TableUpdate, ...],
) -> StagedTable:
    """The table as it would be, under the location of a metadata file yet to be written.

    Raises:
        CommitFailedException: a requirement does not hold.
    """
    return catalog._update_and_stage_table(  # noqa: SLF001 - see above
        _shared(table), table.name(), requirements, updates
    )


def _shared(table: Table) -> Table:
    metadata = table.metadata
    if not isinstance(metadata, TableMetadataV2):
        return table
    shared = cast("_SharedMetadata", metadata.model_copy())
    shared.__class__ = _SharedMetadata
    return Table(table.name(), shared, table.metadata_location, table.io, table.catalog)


def write_metadata(catalog: MetastoreCatalog, staged: StagedTable) -> str:
    """Write the staged table's metadata file; returns its location."""
    catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)  # noqa: SLF001 - see above
    return staged.metadata_location


def as_schema(schema: Schema | pa.Schema) -> Schema:
    """The Iceberg schema of what a caller of ``create_table`` may give."""
    return MetastoreCatalog._convert_schema_if_needed(schema)  # noqa: SLF001 - see above
