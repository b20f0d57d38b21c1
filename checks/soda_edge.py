"""The only code that touches Soda: switch it tame, run a contract, and hand back plain findings.

Soda's verdict is derived from Python log records and passes everything when the host filters
them, so nothing here trusts it: see :func:`deaf` and the gate. What we rely on beyond Soda's
documented API, each held by a test in ``tests/unit/checks/test_soda_edge.py``:

- ``ContractVerificationSession.execute`` and ``ContractYamlSource.from_str``;
- ``DuckDBDataSourceImpl.from_existing_cursor`` and its ``sql_dialect.quote_default``;
- that ``soda_core`` finds its plug-ins by ``importlib.metadata.entry_points`` as it is imported;
- ``soda_core.common.logs._ensure_root_capturer`` and ``_RootCapturer``, the ear on the root logger;
- of a result: ``status.name``, ``get_errors()``, ``check_results``, and of each of these
  ``outcome.name``, ``threshold_value``, ``diagnostic_metric_values`` and ``check.relative_path``;
- of a schema result the lists of differences, of a freshness result ``max_timestamp_utc``;
- ``SparkDataFrameDataSourceImpl.from_existing_session``, that it asks through
  ``data_source_connection.connection.cursor()``, and its ``build_columns_metadata_query_str``;
- the environment variables ``SODA_CORE_TELEMETRY_ENABLED`` and ``PYTHON_DOTENV_DISABLED``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

from checks.conditions import quoted
from checks.errors import AuditorUnavailableError
from checks.spark import SparkConnection, spark_quoted, translated

LOGGER = "soda"
_PLUGINS = "soda.plugins.data_source."
_IMPORTING = threading.Lock()
#: Soda parses with one YAML parser for the whole process (soda_core/common/yaml.py), which breaks
#: when two audits overlap: of 60 on 4 threads up to 10 failed with errors of many kinds.
_RUNNING = threading.Lock()
_NUMBER = (int, float, Decimal)


@dataclass(frozen=True, slots=True)
class Finding:
    """What Soda says of one check.

    Attributes:
        outcome: Soda's word: ``PASSED``, ``FAILED``, ``WARN``, or anything else.
        value: the number it compared with the threshold.
        counts: its counts by name, whole numbers only.
        notes: differences of a schema check, in words.
        newest: newest time stamp of a freshness check, in UTC.
    """

    path: str
    outcome: str
    value: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One contract's run: Soda's status, its findings, and its error texts."""

    status: str
    findings: tuple[Finding, ...] = ()
    errors: tuple[str, ...] = ()


def api() -> SimpleNamespace:
    """Import Soda (about 1.2 s, 86 MB), its telemetry off and no ``.env`` file read.

    Raises:
        AuditorUnavailableError: Soda is not installed as pinned.
    """
    # Audits of several tables start side by side; one of them imports, the others wait.
    with _IMPORTING:
        return _imported()


@functools.cache
def _imported() -> SimpleNamespace:
    # Before the first import: Soda would make itself the process's OpenTelemetry provider and
    # send the host's own spans to collect.soda.io.
    os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"
    before = os.environ.get("PYTHON_DOTENV_DISABLED")
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    try:
        # soda_core comes first: the other way round its plug-ins meet a half-made module.
        names = (
            "soda_core",
            "soda_core.contracts.contract_verification",
            "soda_core.common.yaml",
            "soda_core.common.logs",
            "soda_duckdb.common.data_sources.duckdb_data_source",
        )
        with _without_plugins():
            _, contracts, yaml, logs, duckdb = (importlib.import_module(name) for name in names)
        _make_telemetry()
    except ImportError as exc:
        raise AuditorUnavailableError(
            f"Soda cannot be imported: {exc}", hint="pip install -r the project's lock again"
        ) from exc
    finally:
        _restore("PYTHON_DOTENV_DISABLED", before)
    return SimpleNamespace(
        session=contracts.ContractVerificationSession,
        source=yaml.ContractYamlSource,
        data_source=duckdb.DuckDBDataSourceImpl,
        logs=logs,
    )


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Soda's adapters are not found: we import the one that we use.

    Else an audit on DuckDB would load every adapter that is installed: soda-sparkdf brings PySpark
    and Databricks, half of the time again and 25 MB.
    """
    found = importlib.metadata.entry_points

    def without(**wanted: Any) -> Any:
        every: Any = found(**wanted)
        if isinstance(every, dict):  # Python 3.11, asked for all
            return type(every)({k: v for k, v in every.items() if not k.startswith(_PLUGINS)})
        return type(every)(point for point in every if not point.group.startswith(_PLUGINS))

    importlib.metadata.entry_points = without
    try:
        yield
    finally:
        importlib.metadata.entry_points = found


def _make_telemetry() -> ModuleType:
    """Make Soda's telemetry singleton now, while the environment says: off."""
    return importlib.import_module("soda_core.telemetry.soda_telemetry")


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def deaf() -> str | None:
    """Why an error that Soda logs would not be heard now; None when it would.

    Follows one error record from Soda's logger to the ear that Soda hangs on the root logger,
    through every level, filter and switch on its way.
    """
    api().logs._ensure_root_capturer()  # noqa: SLF001 - what Soda itself calls before it listens
    return next(_silencers(), None)


def _silencers() -> Iterator[str]:
    logger: logging.Logger = logging.getLogger(LOGGER)
    record = logger.makeRecord(LOGGER, logging.ERROR, __file__, 0, "is this heard?", (), None)
    if logging.root.manager.disable >= logging.ERROR:
        yield "logging.disable() silences errors in this process"
    if logger.disabled or not logger.isEnabledFor(logging.ERROR):
        yield f"the logger {LOGGER!r} is disabled or its level is above ERROR"
    if not logger.filter(record):
        yield f"a filter on the logger {LOGGER!r} drops errors"
    if not logger.propagate or logger.parent is not logging.root:
        yield f"the logger {LOGGER!r} does not propagate to the root logger"
    ear = api().logs._RootCapturer  # noqa: SLF001 - listed above
    ears = [handler for handler in logging.root.handlers if isinstance(handler, ear)]
    if not any(h.level <= logging.ERROR and h.filter(record) for h in ears):
        yield "Soda's own handler on the root logger does not hear errors"


def verify(
    connection: Any, source: str, data: Mapping[str, Any], at: datetime | None = None
) -> Verdict:
    """Run one contract (already proved, variables filled in) on a relation's connection.

    Args:
        at: what "now" is to a check of freshness. Soda's own is the clock, or whatever the
            environment says it is (``SODA_SCAN_DATA_TIMESTAMP``).
    """
    soda = api()
    try:
        if isinstance(connection, SparkConnection):
            tables, data = _spark(connection, source), translated(data)
        else:
            tables = soda.data_source.from_existing_cursor(connection, source)
            # Soda wraps names in quotes and leaves quotes inside them as they are.
            tables.sql_dialect.quote_default = lambda name: quoted(name) if name else None
        # JSON is YAML, and says the same to every parser.
        text = json.dumps(data, ensure_ascii=False, default=str)
        with _RUNNING:
            session = soda.session.execute(
                [soda.source.from_str(text)],
                data_source_impls=[tables],
                data_timestamp=at.isoformat() if at is not None else None,
            )
        results = session.contract_verification_results
    except Exception as exc:  # noqa: BLE001 - Soda raises many kinds; each one closes the gate
        return Verdict(status="RAISED", errors=(f"{type(exc).__name__}: {exc}",))
    if len(results) != 1:
        return Verdict(
            status="LOST", errors=(f"Soda gave {len(results)} results for one contract",)
        )
    result = results[0]
    return Verdict(
        status=str(result.status.name),
        findings=tuple(_finding(r) for r in result.check_results),
        errors=tuple(str(e) for e in result.get_errors()),
    )


def _spark(connection: SparkConnection, source: str) -> Any:
    """Soda's tables on a Spark session, asked through our own cursor.

    Soda's would freeze the clock of the whole process (freezegun) while Spark answers, heartbeats
    and time limits of all other threads with it, and count a result by running its query again.
    """
    with _IMPORTING, _without_plugins():
        module = importlib.import_module("soda_sparkdf.common.data_sources.sparkdf_data_source")
    tables = module.SparkDataFrameDataSourceImpl.from_existing_session(connection.session, source)
    tables.data_source_connection.connection = connection
    tables.sql_dialect.quote_default = lambda name: spark_quoted(name) if name else None
    tables.build_columns_metadata_query_str = _describe
    return tables


def _describe(dataset_prefixes: Sequence[str], dataset_name: str) -> str:
    """What Soda asks for a table's columns; its own leaves names as they are."""
    parts = (*dataset_prefixes, dataset_name)
    return f"DESCRIBE TABLE {'.'.join(map(spark_quoted, parts))}"


def _finding(result: Any) -> Finding:
    value = result.threshold_value
    counts = result.diagnostic_metric_values or {}
    return Finding(
        path=str(result.check.relative_path),
        outcome=str(result.outcome.name),
        value=float(value) if isinstance(value, _NUMBER) else None,
        counts={k: int(v) for k, v in counts.items() if isinstance(v, _NUMBER) and v == int(v)},
        notes=tuple(_differences(result)),
        newest=getattr(result, "max_timestamp_utc", None),
    )


def _differences(result: Any) -> list[str]:
    notes = [f"missing: {n}" for n in getattr(result, "expected_column_names_not_actual", ())]
    notes += [f"not listed: {n}" for n in getattr(result, "actual_column_names_not_expected", ())]
    for pair in getattr(result, "column_data_type_mismatches", ()):
        types = f"{pair.actual_data_type} instead of {pair.expected_data_type}"
        notes.append(f"{pair.column}: {types}")
    if getattr(result, "are_columns_out_of_order", False):
        notes.append("the columns stand in another order")
    return notes
