"""What our snapshots, files and hidden tables are called: every name that code relies on."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping

from catalog.refs import Branch, TableName

#: Of a namespace's and a table's folder, in characters: file systems take 255 bytes.
_FOLDER = 200

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

#: sha256 hex of the evidence file, in the summary of a seal
EVIDENCE = "wap.evidence"
#: Properties of a table, one for each run whose data files lie outside the table's own place.
ELSEWHERE = "wap.data-location."

#: Properties of a hidden table that say whose it is.
TABLE_PROPERTY = "wap.table"
BRANCH_PROPERTY = "wap.branch"
#: And that main had moved in it and was taken back, by the undo of which run.
TAKEN_BACK = "wap.taken-back"


#: Folder of the empty first snapshot's manifest list; no run can have this id.
BOOTSTRAP_FOLDER = "~bootstrap"


def hidden_identifier(branch: Branch, table: TableName) -> tuple[str, str]:
    """The catalog's name for a new table while it is staged: one per branch and table."""
    return STAGING_NAMESPACE, f"t{_digest(branch, table)[:24]}"


def new_location(warehouse: str, branch: Branch, table: TableName) -> str:
    """Root of a new table's files: no other run's, and known without asking the catalog."""
    *spaces, last = (re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in table.identifier)
    name = f"{last[:_FOLDER]}-{_digest(branch, table)[:8]}"
    return "/".join([warehouse.rstrip("/"), ".".join(spaces)[:_FOLDER], name])


def run_folder(run_id: str) -> str:
    """Where a run's manifests and manifest lists lie, below the table's metadata path."""
    return f"wap/{run_id}"


def evidence_folder(location: str) -> str:
    """Where the evidence of a table's seals lies."""
    return f"{location.rstrip('/')}/metadata/wap-evidence"


def evidence_file(location: str, run_id: str, digest: str) -> str:
    """Where a run's evidence lies in a table's location.

    The digest is part of the name, so a late attempt of a step can never change a file that a seal
    already names.
    """
    return f"{evidence_folder(location)}/{run_id}-{digest[:16]}.json"


def evidence_of(path: str) -> str | None:
    """Whose evidence a file is, by its path; None: it is none."""
    match = re.search(r"/metadata/wap-evidence/([^/]+)-[0-9a-f]{16}\.json$", path)
    return match[1] if match else None


def metadata_file(location: str, run_id: str) -> str:
    """The location of a metadata file, named so that its run finds it should its commit die.

    Readers and other writers tell its version by the number before the UUID and ask nothing of
    the UUID; its first digits are the run's here.
    """
    folder, _, name = location.rpartition("/")
    version = name.partition("-")[0]
    return f"{folder}/{version}-{_run_mark(run_id)}{str(uuid.uuid4())[13:]}.metadata.json"


def outside(files: Iterable[str], location: str, known: Mapping[str, str]) -> dict[str, str]:
    """What a table's properties have to say of data files that do not lie in its place.

    Args:
        files: locations of the files.
        location: the table's.
        known: its properties; what they say already is left out.
    """
    inside = f"{location.rstrip('/')}/"
    notes: dict[str, str] = {}
    for file in files:
        root, _, rest = file.rpartition("/data/")
        run_id = rest.partition("/")[0]
        if root and run_id != rest and not file.startswith(inside):
            notes[f"{ELSEWHERE}{run_id}"] = f"{root}/data/{run_id}"
    return {key: value for key, value in notes.items() if known.get(key) != value}


def version_of(path: str) -> int | None:
    """The version that a metadata file's name begins with; None: it is no such name."""
    match = re.fullmatch(r"(\d+)-[0-9a-f-]{36}\.metadata\.json", path.rpartition("/")[2])
    return int(match[1]) if match else None


def is_metadata_of(path: str, run_id: str) -> bool:
    """Whether a file bears the name of a metadata file that a commit of the run wrote."""
    _, _, rest = path.rpartition("/")[2].partition("-")
    return rest.startswith(_run_mark(run_id)) and rest.endswith(".metadata.json")


def _run_mark(run_id: str) -> str:
    digits = hashlib.sha256(f"metadata of {run_id}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}"


def _digest(branch: Branch, table: TableName) -> str:
    return hashlib.sha256(f"{branch}\n{table}".encode()).hexdigest()
