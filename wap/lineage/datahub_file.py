"""The lineage sink that needs no server: one file a run, in the format `datahub ingest` reads."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from wap.errors import LineageUnavailableError
from wap.lineage.base import LineageSink
from wap.model import ColumnFact, RunFacts

#: What a file name must not hold, wherever the folder is copied to.
_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]')
#: In bytes, as file systems count.
_LONGEST = 255


class DataHubFileSink(LineageSink):
    """Writes ``<table>__<run id>.json`` into one flat folder (DataHub's file source is flat)."""

    def __init__(
        self,
        folder: Path,
        *,
        env: str = "PROD",
        platform_instance: str | None = None,
        source_platform: str = "file",
    ) -> None:
        self._folder = folder
        self._env = env
        self._platform_instance = platform_instance
        self._source_platform = source_platform

    @override
    def record(self, facts: RunFacts, aside: Sequence[ColumnFact] = ()) -> str:
        return str(self.write(facts, self.proposals(facts, aside)))

    def proposals(self, facts: RunFacts, aside: Sequence[ColumnFact] = ()) -> list[Any]:
        """The run as DataHub's change proposals; see :meth:`record`."""
        # Imported here, after DataHub was told not to report home: it takes a second.
        os.environ["DATAHUB_TELEMETRY_ENABLED"] = "false"
        from wap.lineage.datahub_metadata import metadata  # noqa: PLC0415 - see above
        from wap.lineage.datahub_names import Names  # noqa: PLC0415 - see above

        names = Names(self._env, self._platform_instance, self._source_platform)
        return metadata(names, facts, aside)

    def write(self, facts: RunFacts, proposals: list[Any]) -> Path:
        """Put the file in place, whole; one that is there already is replaced.

        Raises:
            LineageUnavailableError: the disk says no.
        """
        from datahub.ingestion.sink.file import (  # noqa: PLC0415 - see proposals
            write_metadata_file,
        )

        file = self._folder / _file_name(facts.result.table, facts.run_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".writing-", dir=self._folder) as folder:
                half = Path(folder) / "run.json"
                write_metadata_file(half, proposals)
                half.replace(file)
        except OSError as exc:
            raise LineageUnavailableError(
                f"the lineage file cannot be written: {exc}",
                where=str(file),
                hint="look at the disk's room and the folder's permissions",
            ) from exc
        return file


def _file_name(table: str, run_id: str) -> str:
    """Of a table whose name is too long its beginning: the run's id is the file's own."""
    end = _UNSAFE.sub("_", f"__{run_id}.json")
    room = _LONGEST - len(end.encode())
    return _UNSAFE.sub("_", table).encode()[:room].decode(errors="ignore") + end
