"""Where rows come from: the port ``Source`` and one file per kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wap.errors import ConfigError
from wap.pipeline import Schema
from wap.source_sections import FilesSource as FilesSpec
from wap.source_sections import JdbcSource as JdbcSpec
from wap.source_sections import KafkaSource as KafkaSpec
from wap.sources.base import Source

if TYPE_CHECKING:
    from wap.spark.session import Spark


def open_source(
    spec: FilesSpec | JdbcSpec | KafkaSpec,
    root: Path,
    inputs: Sequence[str] = (),
    *,
    rejects: Path | None = None,
    columns: Schema | None = None,
    spark: Spark | None = None,
) -> Source:
    """The source of a pipeline.

    Args:
        spec: the pipeline's ``source`` section.
        root: the project's folder; relative paths start here and stay inside.
        inputs: given by the user for this run, in place of the section's own path.
        rejects: where every malformed row that is set aside is kept, as JSON lines.
        columns: the pipeline's ``schema`` section.
        spark: what reads databases.

    Raises:
        ConfigError: inputs are given to what is no source of files.
    """
    # Each kind is only loaded where it is read.
    if isinstance(spec, FilesSpec):
        from wap.sources.files import FilesSource  # noqa: PLC0415 - see above

        return FilesSource(spec, root, inputs, rejects=rejects)
    if inputs:
        raise ConfigError(
            f"a source of kind {spec.kind} takes no inputs for a run",
            where=", ".join(inputs[:5]),
            hint="leave them out; files are loaded by a pipeline with source: {kind: files}",
        )
    if isinstance(spec, KafkaSpec):
        from wap.sources.kafka import KafkaSource  # noqa: PLC0415 - see above

        return KafkaSource(spec, columns or Schema(), rejects=rejects)
    from wap.sources.jdbc import JdbcSource  # noqa: PLC0415 - see above

    return JdbcSource(spec, spark)
