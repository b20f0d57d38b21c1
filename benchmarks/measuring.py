"""One command as a process of its own: wall time, CPU time and peak memory, children included."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_SECONDS = 0.05
#: A side that takes more than this is stopped: it would not be comparable, only harmful.
MEMORY_LIMIT_MB = 12_000


@dataclass(frozen=True)
class Result:
    """``peak_mb`` is the largest single process, sampled (the way the aim is stated)."""

    seconds: float
    cpu: float
    peak_mb: float
    code: int
    output: str

    @property
    def failed(self) -> bool:
        return self.code != 0

    @property
    def reason(self) -> str:
        return "killed above 12 GB" if self.peak_mb > MEMORY_LIMIT_MB else f"exit {self.code}"

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s, cpu {self.cpu:.2f} s, {self.peak_mb:,.0f} MB, exit {self.code}"
        )


def measure(
    command: Sequence[str | Path],
    beside: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a command to its end.

    Args:
        beside: processes that were there before and do a part of its work.
        env: its environment; by default ours.
    """
    os.sync()  # what the side before wrote is not this one's to pay for
    before = sum(map(_cpu_seconds, beside))
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(c) for c in command], stdout=out, stderr=subprocess.STDOUT, env=env
        )
        peak, stop = [0.0], threading.Event()
        watch = threading.Thread(target=_watch, args=(process, beside, peak, stop))
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watch.join()
        out.seek(0)
        output = out.read().decode(errors="replace")
    # ru_maxrss is exact where sampling could miss a spike.
    return Result(
        seconds,
        usage.ru_utime + usage.ru_stime + sum(map(_cpu_seconds, beside)) - before,
        max(peak[0], usage.ru_maxrss / 1024),
        process.returncode,
        output,
    )


def processes_of(folder: Path) -> list[int]:
    """The processes that were started for a folder: its name is on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if str(folder).encode() in line and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _watch(
    process: subprocess.Popen[bytes],
    beside: Sequence[int],
    peak: list[float],
    stop: threading.Event,
) -> None:
    while not stop.wait(_LOOK_SECONDS):
        peak[0] = max([peak[0], *map(_resident_mb, [*_family(process.pid), *beside])])
        if peak[0] > MEMORY_LIMIT_MB:
            process.kill()
            return


def _family(pid: int) -> list[int]:
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
        at += 1
    return found


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return 0.0
    return pages * _PAGE / 2**20
