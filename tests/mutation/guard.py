"""What a guard is: a piece of source, how to break it, and the test that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """One guard of laws 2 and 3.

    Attributes:
        name: what would get through without it.
        file: where it stands.
        text: its source, exactly; it must occur once in the file.
        broken: the source that takes its place.
        test: pytest node id of the test that must fail then.
    """

    name: str
    file: str
    text: str
    broken: str
    test: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def guards_of(file: str, tests: str) -> Callable[[str, str, str, str], Guard]:
    """A maker of guards of one file; a test that names no file of its own is in ``tests``."""

    def guard(name: str, text: str, broken: str, test: str) -> Guard:
        node = test if test.startswith("tests/") else f"{tests}::{test}"
        return Guard(name, file, text, broken, node)

    return guard
