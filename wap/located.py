"""Texts that people write (YAML, TOML), read into plain data that remembers its lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from wap.errors import ConfigError

Loc = tuple[str | int, ...]

#: A configuration file is written by a person; what is larger is something else.
MAX_BYTES = 1 << 20
#: Values after aliases are expanded: a few nested aliases can stand for billions.
MAX_VALUES = 20_000
MAX_DEPTH = 40
#: Brackets that are open at once, those inside texts too; the parser takes the square of it.
MAX_OPEN = 100

#: Half a character, as an escape can write it: no file and no database can hold it.
_HALF = re.compile("[\ud800-\udfff]")
_BRACKET = re.compile(r"[\[\]{}]")
_TOML_TABLE = re.compile(r"\s*\[{1,2}(?P<name>[^\]]+)\]{1,2}\s*(#.*)?$")
_TOML_KEY = re.compile(r"\s*(?P<name>(?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[\w\"'-]+)*)\s*=")
_TOML_PLACE = re.compile(r"\s*\(at line (?P<line>\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """One text's data and where each of its values stands.

    Attributes:
        shown: the file's name in messages, or what else the text is called.
        data: plain dictionaries, lists and scalars.
        lines: line numbers, counted from 1, by path of keys and indexes.
    """

    shown: str
    data: dict[str, Any]
    lines: Mapping[Loc, int] = field(default_factory=dict)

    def where(self, loc: Loc) -> str:
        """``file:line`` of a value, or of the nearest one around it.

        A text that is no file has few lines that its reader sees, so the key is named as well.
        """
        key = ".".join(map(str, loc))
        named = f", key {key}" if key and not _is_file(self.shown) else ""
        for end in range(len(loc), -1, -1):
            if (line := self.lines.get(loc[:end])) is not None:
                return f"{at_line(self.shown, line)}{named}"
        return f"{self.shown}{named}"


def at_line(shown: str, line: int) -> str:
    """``file:line``; of a text that is no file, ``text, line n``."""
    return f"{shown}:{line}" if _is_file(shown) else f"{shown}, line {line}"


def _is_file(shown: str) -> bool:
    return bool(PurePath(shown).suffix)


def read_text(path: Path, shown: str) -> str:
    """A configuration file's text.

    Raises:
        ConfigError: it is not there, not readable, too large, or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError("the file is larger than 1 MiB", where=shown)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError("there is no such file", where=shown) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"not UTF-8 text: byte {exc.start} is 0x{exc.object[exc.start]:02x}",
            where=shown,
            hint="save the file as UTF-8",
        ) from exc
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror}", where=shown) from exc


def read_yaml(text: str, shown: str) -> Document:
    """Read a YAML 1.2 mapping; duplicate keys are errors, and aliases cannot blow up.

    Raises:
        ConfigError: not YAML, not a mapping, or more than a person would write.
    """
    _refuse_open_brackets(text, shown)
    yaml = YAML(typ="rt", pure=True)
    try:
        root = yaml.load(text)
    except DuplicateKeyError as exc:
        raise ConfigError(
            f"{str(exc.problem).splitlines()[0].split(' with value')[0]}",
            where=_marked(exc, shown),
            hint="keep one of the two",
        ) from exc
    except MarkedYAMLError as exc:
        problem = " ".join(str(part) for part in (exc.context, exc.problem) if part)
        raise ConfigError(f"not valid YAML: {problem}", where=_marked(exc, shown)) from exc
    except (YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"not valid YAML: {exc}", where=shown) from exc
    if not isinstance(root, CommentedMap):
        found = "nothing" if root is None else f"a {_kind(root)}"
        raise ConfigError(f"a mapping of keys is expected, found {found}", where=shown)
    expansion = _Expansion(shown)
    data = expansion.plain(root, ())
    return Document(shown, data, expansion.lines)


def read_toml(text: str, shown: str) -> Document:
    """Read a TOML file.

    Raises:
        ConfigError: not TOML.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        place = _TOML_PLACE.search(str(exc))
        where = f"{shown}:{place['line']}" if place else shown
        what = _TOML_PLACE.sub("", str(exc))
        raise ConfigError(f"not valid TOML: {what}", where=where) from exc
    return Document(shown, data, _toml_lines(text))


def _refuse_open_brackets(text: str, shown: str) -> None:
    depth = 0
    for match in _BRACKET.finditer(text):
        depth = depth + 1 if match[0] in "[{" else max(depth - 1, 0)
        if depth > MAX_OPEN:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError(
                f"more than {MAX_OPEN} brackets are open here",
                where=at_line(shown, line),
                hint="close them; nobody writes so deep",
            )


class _Expansion:
    """Turns ruamel's nodes into plain values, counting them and noting their lines."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.lines: dict[Loc, int] = {}
        self.values = 0

    def plain(self, node: Any, loc: Loc) -> Any:
        self.values += 1
        if self.values > MAX_VALUES or len(loc) > MAX_DEPTH:
            raise ConfigError(
                "the file expands to more than a person would write",
                where=self.shown,
                hint="an alias (*name) that holds aliases, or itself, grows without end",
            )
        if isinstance(node, CommentedMap):
            return {_key(key): self._entry(node, key, (*loc, _key(key))) for key in node}
        if isinstance(node, CommentedSeq):
            return [self._item(node, index, (*loc, index)) for index in range(len(node))]
        value = _scalar(node)
        if isinstance(value, str) and _HALF.search(value):
            raise ConfigError(
                "half a character is in this text",
                where=Document(self.shown, {}, self.lines).where(loc),
                hint="remove escapes from \\ud800 to \\udfff",
            )
        return value

    def _entry(self, node: CommentedMap, key: Any, loc: Loc) -> Any:
        position = (node.lc.data or {}).get(key)  # absent for a key merged in by <<
        if position is not None:
            self.lines[loc] = position[0] + 1
        return self.plain(node[key], loc)

    def _item(self, node: CommentedSeq, index: int, loc: Loc) -> Any:
        position = (node.lc.data or {}).get(index)
        if position is not None:
            self.lines[loc] = position[0] + 1
        return self.plain(node[index], loc)


def _key(key: Any) -> str:
    """A key as written: a bare ``null`` is YAML's null, and is a setting's name of ours."""
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else str(key)


def _scalar(value: Any) -> Any:
    """The built-in value behind ruamel's round-trip subclasses; dates stay as written."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else type(_scalar(value)).__name__


def _marked(exc: MarkedYAMLError, shown: str) -> str:
    mark = exc.problem_mark or exc.context_mark
    return shown if mark is None else at_line(shown, mark.line + 1)


def _toml_lines(text: str) -> dict[Loc, int]:
    """Lines of tables and keys, found by their shape; they serve messages only."""
    lines: dict[Loc, int] = {}
    table: Loc = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TOML_TABLE.match(line):
            table = _toml_parts(match["name"])
            lines.setdefault(table, number)
        elif match := _TOML_KEY.match(line):
            lines.setdefault((*table, *_toml_parts(match["name"])), number)
    return lines


def _toml_parts(name: str) -> Loc:
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)", name)
    return tuple(next(part for part in parts if part) for parts in found if any(parts))
