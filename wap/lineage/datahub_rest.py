"""The lineage sink that tells a DataHub server, after the same was written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from wap.errors import LineageError, LineageUnavailableError
from wap.lineage.base import LineageSink
from wap.lineage.datahub_file import DataHubFileSink
from wap.model import ColumnFact, RunFacts

CONNECT_SECONDS = 2
READ_SECONDS = 10

#: Answers that another attempt does not change: the request itself, or the token, is wrong.
_FINAL = frozenset({400, 401, 403, 404, 405, 413, 422})


class DataHubRestSink(LineageSink):
    """Sends a run in one request; the file stays, so that nothing is lost with the server away."""

    def __init__(self, url: str, *, files: DataHubFileSink, token: str | None = None) -> None:
        self._url = url
        self._files = files
        self._token = token

    @override
    def record(self, facts: RunFacts, aside: Sequence[ColumnFact] = ()) -> str:
        proposals = self._files.proposals(facts, aside)
        file = self._files.write(facts, proposals)
        self._send(proposals, f"{file} holds the same; `datahub ingest` can send it later")
        return self._url

    def _send(self, proposals: list[Any], hint: str) -> None:
        # Imported here, as all of DataHub is (see datahub_file).
        from datahub.configuration.common import (  # noqa: PLC0415 - see above
            ConfigurationError,
            OperationalError,
        )
        from datahub.emitter.rest_emitter import DatahubRestEmitter  # noqa: PLC0415 - see above

        try:
            # Temporal tries again, so the emitter does not: its own patience is 28 seconds.
            emitter = DatahubRestEmitter(
                self._url,
                token=self._token,
                connect_timeout_sec=CONNECT_SECONDS,
                read_timeout_sec=READ_SECONDS,
                retry_max_times=0,
            )
            try:
                emitter.emit_mcps(proposals)
            finally:
                emitter.close()
        except OperationalError as exc:
            raise self._error(exc, hint) from exc
        except (OSError, ConfigurationError) as exc:  # requests' errors are OSErrors
            raise LineageUnavailableError(
                f"DataHub does not answer: {type(exc).__name__}", where=self._url, hint=hint
            ) from exc

    def _error(self, exc: BaseException, hint: str) -> LineageError:
        status = _status(exc)
        if status in _FINAL:
            return LineageError(
                f"DataHub refuses the run (HTTP {status})",
                where=self._url,
                hint=f"check url and token under [lineage]; {hint}",
            )
        answer = f"HTTP {status}" if status else "no answer"
        return LineageUnavailableError(
            f"DataHub does not take the run now ({answer})", where=self._url, hint=hint
        )


def _status(exc: BaseException | None) -> int | None:
    """The HTTP status at the bottom of the emitter's error; None when nothing was answered."""
    while exc is not None:
        status = getattr(getattr(exc, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        exc = exc.__cause__
    return None
