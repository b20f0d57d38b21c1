"""The one module that touches private names of pyiceberg: each is listed, wrapped and tested.

- ``MetastoreCatalog._update_and_stage_table``: checks requirements, applies updates; no I/O.
- ``MetastoreCatalog._write_metadata``: writes the metadata file.

``tests/unit/catalog/test_iceberg.py`` says what we rely on, so an upgrade fails there.
"""

from __future__ import annotations

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.update import TableRequirement, TableUpdate


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
    return catalog._update_and_stage_table(table, table.name(), requirements, updates)  # noqa: SLF001 - see above


def write_metadata(catalog: MetastoreCatalog, staged: StagedTable) -> str:
    """Write the staged table's metadata file; returns its location."""
    catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)  # noqa: SLF001 - see above
    return staged.metadata_location
