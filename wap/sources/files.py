"""The source ``files``: csv, tsv, json, ndjson and Parquet, local or behind an fsspec URL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from wap.errors import SourceChangedError
from wap.source_sections import FilesSource as Spec
from wap.sources.base import Cursor, Extract, Interval, Plan, Source
from wap.sources.extract import InputsExtract, open_rejects
from wap.sources.interval import bounds_of
from wap.sources.listing import InputFile, list_inputs
from wap.sources.loaded import Loaded, keys_of
from wap.sources.parquet_reader import ParquetReader
from wap.sources.parquet_sql import parquet_query
from wap.sources.parts import parts_of, reader_of


class FilesSource(Source):
    """Files, each loaded once.

    A file is known by path, size and modification time (or etag). An append loads what the
    published state does not list; a replace of all rows loads everything when anything differs.
    """

    kind = "files"

    def __init__(
        self,
        spec: Spec,
        root: Path,
        paths: Sequence[str] = (),
        *,
        rejects: Path | None = None,
    ) -> None:
        """A source from a pipeline's section.

        Args:
            spec: the section.
            root: the project's folder: relative paths start here and stay inside.
            paths: given by the user in place of the section's; absolute ones may lie anywhere.
            rejects: where all rows that are set aside are kept, as JSON lines.
        """
        self.spec = spec
        self.root = root
        self.paths = tuple(paths)
        self.rejects = rejects

    def plan(
        self, since: Cursor | None, *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        """See the port.

        Raises:
            SourceChangedError: a file that was loaded has changed since, and would be appended
                a second time.
        """
        found = self._list()
        loaded = Loaded.of(since)
        if interval is not None:
            plan = self._plan(found, everything=False, interval=interval)
            is_loaded = loaded.has_interval(interval, plan.digest)
            return plan.model_copy(update={"empty": is_loaded})
        if everything:
            if loaded.is_exactly(found):
                return self._plan([], everything=True)
            return self._plan(found, everything=True)
        if changed := loaded.changed(found):
            raise SourceChangedError(
                f"{'a file' if len(changed) == 1 else f'{len(changed)} files'} that was loaded "
                "has changed since; appending it again would load rows twice",
                where=", ".join(f.path for f in changed[:5]),
                hint="deliver new rows under a new name; or use write mode replace",
            )
        return self._plan(loaded.new(found), everything=False)

    def _plan(
        self, files: list[InputFile], *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        work: dict[str, Any] = {
            "files": [{"path": f.path, "size": f.size, "version": f.version} for f in files],
            "everything": everything,
        }
        facts = {
            "kind": self.kind,
            "work": work,
            "interval": interval.model_dump() if interval else None,
        }
        size = sum(max(f.size, 0) for f in files)
        return Plan(
            kind=self.kind,
            work=work,
            digest=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
            empty=not files,
            summary=_summary(len(files), size),
            bytes=size,
            interval=interval,
        )

    def schema(self, plan: Plan) -> pa.Schema:
        """See the port."""
        return reader_of(self.spec).schema(self._planned(plan))

    @contextmanager
    def open(
        self, plan: Plan, schema: pa.Schema, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Extract]:
        """See the port."""
        files, reader = self._planned(plan), reader_of(self.spec)
        bounds = bounds_of(plan.interval, schema) if plan.interval else None
        with ExitStack() as stack:
            query = None
            if isinstance(reader, ParquetReader):
                query = parquet_query(files, schema, bounds)
                if query:
                    stack.callback(query.stream.connection.close)
            yield InputsExtract(
                reader=reader,
                files=files,
                schema=schema,
                bounds=bounds,
                set_aside=self.spec.malformed == "set_aside",
                rejects=open_rejects(self.rejects, stack),
                cancelled=cancelled,
                query=query,
                cut=lambda: parts_of(self.spec, files, schema, plan.interval),
            )

    def advance(self, since: Cursor | None, plan: Plan) -> Cursor:
        """See the port."""
        return Loaded.of(since).advanced(plan).cursor()

    def done(self, since: Cursor | None, plan: Plan) -> bool:
        """See the port."""
        return Loaded.of(since).has_any(plan)

    def outdated(self, since: Cursor | None, now: Cursor | None, plan: Plan) -> bool:
        """See the port: a file in another version, or, of all there is, any other state of it."""
        given = bool(self.paths)
        return Loaded.of(now).is_newer(Loaded.of(since), plan, given=given)

    def _list(self) -> list[InputFile]:
        return list_inputs(self.root, self.paths or self.spec.paths, from_user=bool(self.paths))

    def _planned(self, plan: Plan) -> list[InputFile]:
        """The plan's files as they are now, which must be as they were planned.

        Raises:
            SourceChangedError: one is gone or another.
        """
        found = {f.path: f for f in self._list()}
        files = []
        for path, size, version in keys_of(plan):
            file = found.get(path)
            if file is None or file.key != (path, size, version):
                raise SourceChangedError(
                    "the file is not as it was when the run was planned",
                    where=path,
                    hint="run again; the next run plans what is there then",
                )
            files.append(file)
        return files


def _summary(count: int, size: int) -> str:
    if not count:
        return "nothing new"
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            break
        amount, unit = amount / 1000, larger
    digits = 0 if unit == "B" else 1
    return f"{count} file{'' if count == 1 else 's'}, {amount:.{digits}f} {unit}"
