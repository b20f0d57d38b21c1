"""The requirements and updates of Iceberg's commit protocol that we use, by short names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertCurrentSchemaId,
    AssertLastAssignedFieldId,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSchemasUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

# pydantic knows the fields by their spelling in the protocol, so that is how they are given here.


def same_table(metadata: TableMetadata) -> TableRequirement:
    """It is still the table we loaded, not another one of the same name."""
    return AssertTableUUID.model_validate({"uuid": metadata.table_uuid})


def ref_is(ref: str, snapshot_id: int | None) -> TableRequirement:
    """The ref points to the snapshot; None: there is no such ref."""
    return AssertRefSnapshotId.model_validate({"ref": ref, "snapshot-id": snapshot_id})


def refs_are(metadata: TableMetadata) -> tuple[TableRequirement, ...]:
    """No ref has moved: the removal of a snapshot is safe only then."""
    return tuple(ref_is(ref, found.snapshot_id) for ref, found in metadata.refs.items())


def schema_is(metadata: TableMetadata) -> TableRequirement:
    """The current schema is still the one we loaded."""
    return AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id})


def field_ids_are(metadata: TableMetadata) -> TableRequirement:
    """No field id was given out since we loaded."""
    return AssertLastAssignedFieldId.model_validate(
        {"last-assigned-field-id": metadata.last_column_id}
    )


def add_schema(schema: Schema) -> TableUpdate:
    """Keep a schema with the table; main's columns stay what they are."""
    return AddSchemaUpdate.model_validate({"schema": schema})


def set_schema(schema_id: int) -> TableUpdate:
    """Make a kept schema the table's current one."""
    return SetCurrentSchemaUpdate.model_validate({"schema-id": schema_id})


def remove_schemas(schema_ids: Iterable[int]) -> TableUpdate:
    """Forget schemas that nothing uses."""
    return RemoveSchemasUpdate.model_validate({"schema-ids": list(schema_ids)})


def set_properties(properties: Mapping[str, str]) -> TableUpdate:
    """Set properties of the table; others stay."""
    return SetPropertiesUpdate.model_validate({"updates": dict(properties)})


def remove_properties(keys: Iterable[str]) -> TableUpdate:
    """Forget properties of the table."""
    return RemovePropertiesUpdate.model_validate({"removals": list(keys)})


def add_snapshot(snapshot: IcebergSnapshot) -> TableUpdate:
    """Add a snapshot; no ref points to it yet."""
    return AddSnapshotUpdate(snapshot=snapshot)


def set_branch(ref: str, snapshot: IcebergSnapshot) -> TableUpdate:
    """Point a branch to a snapshot."""
    return SetSnapshotRefUpdate.model_validate(
        {"ref-name": ref, "type": "branch", "snapshot-id": snapshot.snapshot_id}
    )


def remove_ref(ref: str) -> TableUpdate:
    """Remove a branch or tag; its snapshots stay."""
    return RemoveSnapshotRefUpdate.model_validate({"ref-name": ref})


def remove_snapshots(snapshots: Iterable[IcebergSnapshot]) -> TableUpdate:
    """Forget snapshots; their files stay."""
    return RemoveSnapshotsUpdate.model_validate(
        {"snapshot-ids": [s.snapshot_id for s in snapshots]}
    )
