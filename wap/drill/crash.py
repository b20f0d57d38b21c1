"""Crashing on purpose: a worker of a scratch project dies at a boundary of a step."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wap.errors import ConfigError
from wap.group_steps import GroupSteps
from wap.steps import Steps

When = Literal["before", "after"]

#: The environment variable that asks for a crash: ``stage:after@`` and the scratch project's token.
VARIABLE = "WAP_DRILL"
#: In a project's state: it is a scratch project, made to be crashed.
MARK = "scratch.json"


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the worker dies: before a step's effect, or after it and before the server hears.

    Only the first attempt of a step crashes, so the next worker gets past it.
    """

    step: str
    when: When

    def __call__(self, step: str, when: When, attempt: int) -> None:
        """Die here and now, as by ``kill -9``, when this is the place."""
        if attempt == 1 and (step, when) == (self.step, self.when):
            os.kill(os.getpid(), signal.SIGKILL)


def parse_boundary(text: str) -> Crash:
    """Read ``stage:after``.

    Raises:
        ConfigError: no such step or moment.
    """
    step, _, when = text.partition(":")
    known = Steps.__abstractmethods__ | GroupSteps.__abstractmethods__
    if step not in known or when not in ("before", "after"):
        steps = ", ".join(sorted(known))
        raise ConfigError(
            f"{text!r} names no boundary of a step",
            hint=f"write STEP:before or STEP:after; steps: {steps}",
        )
    return Crash(step, "before" if when == "before" else "after")


def crash_at(root: Path, boundary: str) -> dict[str, str]:
    """Variables that make one worker crash; they make the project in ``root`` a scratch one.

    Raises:
        ConfigError: no such boundary.
    """
    parse_boundary(boundary)
    token = _token_of(root)
    if token is None:
        token = secrets.token_hex(16)
        mark = root / ".wap" / MARK
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"root": str(root.resolve()), "token": token}))
    return {VARIABLE: f"{boundary}@{token}"}


def crash_from(env: Mapping[str, str], root: Path) -> Callable[[str, When, int], None]:
    """The crash the environment asks for; does nothing when it asks for none.

    Two things must be there and belong together: the variable of this process, and the mark in
    the project's own state that names its folder. So a worker of any other project never crashes,
    whatever its environment says and wherever a scratch project was copied to.

    Raises:
        ConfigError: no such boundary; or the project is no scratch project.
    """
    text = env.get(VARIABLE)
    if not text:
        return _go_on
    boundary, _, token = text.partition("@")
    crash = parse_boundary(boundary)
    known = _token_of(root)
    if known is None or not secrets.compare_digest(known.encode(), token.encode()):
        raise ConfigError(
            f"{VARIABLE} asks for a crash, and this is no scratch project of a drill",
            where=str(root),
            hint=f"unset {VARIABLE}; `wap drill` makes scratch projects by itself",
        )
    return crash


def _token_of(root: Path) -> str | None:
    """The token of the scratch project in a folder; None: it is no scratch project."""
    try:
        mark = json.loads((root / ".wap" / MARK).read_text())
        is_ours = mark["root"] == str(root.resolve())
        return str(mark["token"]) if is_ours else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _go_on(step: str, when: When, attempt: int) -> None:
    """No crash was asked for."""
