"""Crashing on purpose: kill the worker at a boundary of a step, to prove that a run survives it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from wap.errors import ConfigError
from wap.group_steps import GroupSteps
from wap.steps import Steps

When = Literal["before", "after"]

#: The environment variable that asks for a crash: ``stage:after``.
VARIABLE = "WAP_DRILL"


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


def crash_from(env: Mapping[str, str]) -> Callable[[str, When, int], None]:
    """The crash the environment asks for; does nothing when it asks for none.

    Raises:
        ConfigError: no such step or moment.
    """
    text = env.get(VARIABLE)
    if not text:
        return _go_on
    step, _, when = text.partition(":")
    known = Steps.__abstractmethods__ | GroupSteps.__abstractmethods__
    if step not in known or when not in ("before", "after"):
        steps = ", ".join(sorted(known))
        raise ConfigError(
            f"{VARIABLE}={text!r} names no boundary of a step",
            hint=f"write STEP:before or STEP:after; steps: {steps}",
        )
    return Crash(step, "before" if when == "before" else "after")


def _go_on(step: str, when: When, attempt: int) -> None:
    """No crash was asked for."""
