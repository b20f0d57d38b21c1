"""Every commit is for the table that was loaded, not for another one of its name."""

from __future__ import annotations

from uuid import UUID, uuid4

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import TableRequirement
from pyiceberg.types import LongType, NestedField

from catalog.commits import Proposal


def metadata(table_uuid: UUID) -> TableMetadata:
    schema = Schema(NestedField(1, "id", LongType()))
    return new_table_metadata(
        schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "loc", {}, table_uuid
    )


def test_every_proposal_requires_the_same_table():
    loaded = metadata(uuid4())
    table = Table(("ns", "t"), loaded, "loc/metadata", None, None)
    asked = Proposal(table, (), ()).all_requirements
    assert asked
    for requirement in asked:
        requirement.validate(loaded)
    refusing = [requirement for requirement in asked if _refuses(requirement, metadata(uuid4()))]
    assert refusing


def _refuses(requirement: TableRequirement, found: TableMetadata) -> bool:
    try:
        requirement.validate(found)
    except CommitFailedException:
        return True
    return False
