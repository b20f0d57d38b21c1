"""A contract: Soda's YAML, proved to be what it says before anything runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract file.

    Attributes:
        path: where it lies in the project, for messages and the report.
        text: as written.
        relation: the view it checks (last part of ``dataset``).
        declared: names of its checks, ``<path>:<relative path in the contract>``.
        data: the parsed YAML.
    """

    path: str
    text: str
    relation: str
    declared: frozenset[str]
    data: dict[str, Any]
