"""What our snapshots, files and hidden tables are called: every name that code relies on."""

from __future__ import annotations

import hashlib
import re

from catalog.refs import Branch, TableName

#: Namespace of the tables that are staged and not published yet; never listed to a reader.
STAGING_NAMESPACE = "wap_staging"

#: Keys in a snapshot's summary (``wap.run`` and ``wap.role`` are read by ``catalog.refs`` too).
RUN = "wap.run"
ROLE = "wap.role"
BASE = "wap.base"  #: main's head under the run's first own snapshot
BASE_SCHEMA = "wap.base-schema"  #: id of the table's current schema at that time
CHANGE = "wap.change"  #: digest over the files a stage adds and takes away
KEPT = "wap.kept-files"  #: how many of the added files carry rows over
REMOVED = "wap.removed-files"  #: how many files of the base the stage takes away
DATA = "wap.data-location"  #: where the run's data files lie
BASE_METADATA = (
    "wap.base-metadata"  #: main's metadata file then; only where branches have their own
)
#: sequence number and time (ms) of the run's first snapshot in the table, where a rebase forgot it
SINCE = "wap.since"

#: Properties of a hidden table that say whose it is.
TABLE_PROPERTY = "wap.table"
BRANCH_PROPERTY = "wap.branch"


#: Folder of the empty first snapshot's manifest list; no run can have this id.
BOOTSTRAP_FOLDER = "~bootstrap"


def hidden_identifier(branch: Branch, table: TableName) -> tuple[str, str]:
    """The catalog's name for a new table while it is staged: one per branch and table."""
    return STAGING_NAMESPACE, f"t{_digest(branch, table)[:24]}"


def new_location(warehouse: str, branch: Branch, table: TableName) -> str:
    """Root of a new table's files: no other run's, and known without asking the catalog."""
    parts = [re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in table.identifier]
    name = f"{parts.pop()}-{_digest(branch, table)[:8]}"
    return "/".join([warehouse.rstrip("/"), ".".join(parts), name])


def run_folder(run_id: str) -> str:
    """Where a run's manifests and manifest lists lie, below the table's metadata path."""
    return f"wap/{run_id}"


def _digest(branch: Branch, table: TableName) -> str:
    return hashlib.sha256(f"{branch}\n{table}".encode()).hexdigest()
