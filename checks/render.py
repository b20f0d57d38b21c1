"""One report, five faces: JSON, HTML, Markdown and JUnit in a folder, text in a terminal."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from checks.errors import ReportError
from checks.face_html import html_of
from checks.face_junit import junit_of
from checks.face_markdown import markdown_of
from checks.face_text import text_of
from checks.report import Report
from checks.story import Aside, MemberStory, Seen, Story, Waived

__all__ = [
    "Aside", "MemberStory", "Seen", "Story", "Waived", "put_file", "read_report", "render_text",
    "write_report",
]  # fmt: skip

FORMAT = 1


def write_report(folder: Path, report: Report | None, story: Story) -> Path:
    """Write ``report.json``, ``report.html``, ``report.md`` and ``junit.xml``, each in one move.

    Args:
        folder: made when it is not there; files of an earlier attempt are replaced.
        report: the audit's outcomes; None when the run never came to an audit.
        story: the run.

    Returns:
        The path of ``report.html``.

    Raises:
        ReportError: the folder cannot be written.
    """
    story = story.masked_by(report)
    faces = {
        "report.json": _json(report, story).encode("utf-8", "backslashreplace"),
        "report.md": markdown_of(report, story).encode("utf-8", "backslashreplace"),
        "junit.xml": junit_of(report, story),
        "report.html": html_of(report, story).encode("utf-8", "backslashreplace"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in faces.items():
            put_file(folder / name, content)
    except OSError as exc:
        raise ReportError(
            f"the report cannot be written: {exc.strerror}",
            where=str(folder),
            hint="look at the disk's space and the folder's permissions",
        ) from exc
    return folder / "report.html"


def read_report(folder: Path) -> tuple[Report | None, Story]:
    """Read ``report.json`` of a folder back.

    Raises:
        ReportError: it is not there, is no such file, or does not give its own digest.
    """
    file = folder / "report.json"
    try:
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        story = Story.model_validate_json(json.dumps(data["run"]))
        audit = data["audit"]
    except OSError as exc:
        raise ReportError(f"no report: {exc.strerror}", where=str(file)) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ReportError(f"not a report: {exc}", where=str(file)) from exc
    return (Report.from_json(json.dumps(audit)) if audit else None), story


def render_text(report: Report | Path | None, story: Story | None = None) -> str:
    """The report as text for a terminal.

    Args:
        report: the outcomes, or the folder that :func:`write_report` wrote.
        story: the run; read from the folder when one is given.

    Raises:
        ReportError: the folder holds no report.
    """
    if isinstance(report, Path):
        report, story = read_report(report)
    return text_of(report, story.masked_by(report) if story else None)


def _json(report: Report | None, story: Story) -> str:
    audit = json.loads(report.to_json()) if report else None
    document = {"format": FORMAT, "run": story.model_dump(mode="json"), "audit": audit}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def put_file(path: Path, content: bytes) -> None:
    """Put a whole file in place of another; a reader sees the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
