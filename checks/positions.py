"""YAML read into plain values, with the line at which each of them stands. Pure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from checks.errors import ContractError

#: A place in the document: mapping keys and list positions, from the top.
Place = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed file.

    Attributes:
        path: for messages.
        data: dicts, lists and scalars only.
    """

    path: str
    data: Any
    _tree: Any

    def at(self, place: Place) -> str:
        """``file:line`` of a place, or of its nearest parent that has a line."""
        line, node = 0, self._tree
        for step in place:
            here = _line(node, step)
            if here is None:
                break
            line, node = here, node[step]
        return f"{self.path}:{line + 1}"


def read(text: str, path: str) -> Document:
    """Parse one YAML document.

    Raises:
        ContractError: not YAML, a key twice, or not exactly one document.
    """
    yaml = YAML(typ="rt", pure=True)
    try:
        tree = yaml.load(io.StringIO(text))
    except MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        problem = " ".join(str(exc.problem or exc.context or exc).split())
        raise ContractError(
            f"this is not valid YAML: {problem}", where=f"{path}:{line}", hint=_hint(problem)
        ) from exc
    except YAMLError as exc:
        problem = str(exc).splitlines()[0]
        raise ContractError(f"this is not valid YAML: {problem}", where=path) from exc
    return Document(path=path, data=_plain(tree), _tree=tree)


def _hint(problem: str) -> str:
    if "duplicate key" in problem:
        return "a key may stand only once in a mapping; the second would hide the first"
    return "look for a missing colon, quote or indent at this line or the one above"


def _line(node: Any, step: str | int) -> int | None:
    try:
        if isinstance(node, CommentedMap) and step in node:
            return int(node.lc.key(step)[0])
        if isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
            return int(node.lc.item(step)[0])
    except (KeyError, TypeError):
        # ruamel keeps no position for a key merged in with «<<»: its parent's line must do.
        return None
    return None


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {(k if isinstance(k, str) else str(k)): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        # ruamel's own number and string classes know how they were written; we do not care.
        if isinstance(node, kind):
            return kind(node)
    return node
