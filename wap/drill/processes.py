"""Commands of ours as processes of their own, and the servers that killed ones leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wap import runtime
from wap.errors import WapError

#: Environment of a worker that must not reach a scratch project: it may name the real tables.
_KEPT_OUT = ("WAP_", "TEMPORAL_", "OTEL_")
#: No door of a drill may take longer.
DOOR_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Door:
    """What one command of a scratch project came to.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        result: the JSON it printed; {} when it printed none.
        said: its last line on stderr.
    """

    code: int
    seconds: float
    result: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""

    @property
    def why(self) -> str:
        """The reason it gives, else the last that it said."""
        return str(self.result.get("reason") or self.said)

    @property
    def was_killed(self) -> bool:
        """Whether it died as by ``kill -9``."""
        return self.code == -signal.SIGKILL


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a scratch project's doors: sources find their credentials in it."""
    return {k: v for k, v in env.items() if not k.startswith(_KEPT_OUT)}


def call(arguments: Sequence[str], env: Mapping[str, str], module: str = "wap") -> Door:
    """Call a command of ours as a process of its own, and wait for it.

    An interrupt of the drill does not reach it: the drill kills it and clears up.

    Args:
        arguments: of the command.
        env: its environment.
        module: what is run.

    Raises:
        WapError: it does not end.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=dict(env), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=DOOR_SECONDS)
        except BaseException as exc:
            process.kill()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise WapError(
                    f"a run of the drill does not end within {DOOR_SECONDS:.0f} s",
                    where=" ".join(arguments[:2]),
                    hint="drill with a smaller batch: --source FILE, or --start and --end",
                ) from exc
            raise
    seconds = time.monotonic() - began
    lines = err.strip().splitlines()
    return Door(process.returncode, seconds, _document(out), lines[-1] if lines else "")


def _document(out: str) -> Mapping[str, Any]:
    """The document on stdout; a door that was killed has none."""
    found = json.loads(out) if out.strip() else {}
    return found if isinstance(found, dict) else {"runs": found}


def stop_server(root: Path) -> None:
    """Kill the project's own server, if it runs, and wait until it is gone."""
    folder = root / ".wap" / "temporal"
    while (server := runtime.running(folder)) is not None and server.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
        time.sleep(0.02)
