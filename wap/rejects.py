"""The rows that a run's source sets aside, as JSON lines: an attempt's until it hands them over."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from wap.documents import StoredDocuments


class Rejects:
    """One attempt's file of them, and the run's.

    Two attempts may be at it at once, one of them late. So each has a file of its own, and only
    the one that the run goes on with puts it in the place of the run's.
    """

    def __init__(self, folder: Path, run_id: str, shared: StoredDocuments | None) -> None:
        """Name the files; none is made.

        Args:
            folder: the run's on this machine.
            run_id: the run.
            shared: where they go that all workers reach; None: they stay in the folder.
        """
        self._folder, self._run_id, self._shared = folder, run_id, shared
        self._kept = folder / "rejects.jsonl"
        self._own = folder / f".rejects.{os.getpid()}.{secrets.token_hex(4)}"

    def begin(self) -> Path:
        """Where this attempt writes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._own

    @property
    def begun(self) -> bool:
        """Whether this attempt has written any."""
        return self._own.exists()

    def hand_over(self) -> None:
        """Make this attempt's rows those of the run.

        Raises:
            StoreUnavailableError: the place that all workers reach does not answer.
        """
        if self._shared is None:
            self._own.replace(self._kept)
            return
        if self._own.stat().st_size:
            self._shared.write_file(f"{self._run_id}.jsonl", self._own)
        shutil.rmtree(self._folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove what this attempt wrote, and the folder if nothing else is in it."""
        self._own.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def keep(self, target: Path) -> bool:
        """Move the run's to where they stay; False when there are none.

        They hold what the source held, personal data included, so only the owner may read them.
        """
        if not self._kept.exists() or self._kept.stat().st_size == 0:
            return False
        self._kept.chmod(0o600)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._kept.replace(target)
        return True
