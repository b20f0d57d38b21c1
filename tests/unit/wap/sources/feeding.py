"""Inputs for tests of the source ``files``: a project folder, and what was read from it."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from wap.source_sections import FilesSource as Spec
from wap.sources import open_source
from wap.sources.base import Counts, Cursor, Interval, Plan, Source


def zipped(data: bytes, *names: str) -> bytes:
    """A zip of members with the same content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("data",):
            archive.writestr(name, data)
    return out.getvalue()


#: How to compress, by the name's ending.
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zip": zipped,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@dataclass(frozen=True)
class Read:
    """What came out of a source."""

    table: pa.Table
    counts: Counts
    plan: Plan

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.table.to_pylist()


@dataclass(frozen=True)
class Project:
    """A project folder with inputs."""

    root: Path

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def source(
        self,
        path: str | list[str],
        kind: str = "csv",
        *,
        inputs: Sequence[str] = (),
        rejects: Path | None = None,
        **more: Any,
    ) -> Source:
        spec = Spec.model_validate({"kind": "files", "path": path, "format": kind, **more})
        return open_source(spec, self.root, inputs, rejects=rejects)

    def read(
        self,
        path: str | list[str],
        kind: str = "csv",
        *,
        schema: pa.Schema | None = None,
        since: Cursor | None = None,
        interval: Interval | None = None,
        **more: Any,
    ) -> Read:
        """Plan, infer (unless a schema is given), read all, and close the books."""
        source = self.source(path, kind, **more)
        plan = source.plan(since, everything=False, interval=interval)
        inferred = source.schema(plan)
        wanted = schema or pa.schema(
            [
                pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type)
                for f in inferred
            ]
        )
        with source.open(plan, wanted) as extract:
            assert extract.schema == wanted
            batches = list(extract.batches())
            assert all(batch.schema == wanted for batch in batches)
            counts = extract.finish()
        return Read(pa.Table.from_batches(batches, wanted), counts, plan)


def json_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
