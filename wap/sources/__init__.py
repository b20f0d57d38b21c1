"""Where rows come from: the port ``Source`` and one file per kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wap.pipeline import FilesSource as FilesSpec
from wap.sources.base import Source


def open_source(
    spec: FilesSpec, root: Path, inputs: Sequence[str] = (), *, rejects: Path | None = None
) -> Source:
    """The source of a pipeline.

    Args:
        spec: the pipeline's ``source`` section.
        root: the project's folder; relative paths start here and stay inside.
        inputs: given by the user for this run, in place of the section's own path.
        rejects: where every malformed row that is set aside is kept, as JSON lines.
    """
    # Arrow is only loaded where rows are read.
    from wap.sources.files import FilesSource  # noqa: PLC0415 - see above

    return FilesSource(spec, root, inputs, rejects=rejects)
