"""A pipeline kept in the ledger's database: its text, its contracts, who changed it and why."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath

from pydantic import Field, ValidationError, field_validator

from wap.complaints import config_error
from wap.located import MAX_BYTES
from wap.model import Value

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
#: Of a name, an author and a contract's path, in characters.
MAX_NAME = 200
#: Of a pipeline's name: files and folders are called by it, a time and more, in 255 bytes.
MAX_PIPELINE = 150
MAX_REASON = 2_000
MAX_CONTRACTS = 50


class ContractText(Value):
    """A contract as it is written when the run begins."""

    path: str
    text: str


def _text(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        msg = "half a character is in this text: remove escapes from \\ud800 to \\udfff"
        raise ValueError(msg) from exc
    if size > MAX_BYTES:
        msg = "the text is larger than 1 MiB"
        raise ValueError(msg)
    if "\0" in value:
        msg = "the text holds a NUL character"
        raise ValueError(msg)
    return value


def _line(value: str) -> str:
    line = _text(value).strip()
    if not line or not line.isprintable():
        msg = "one line of text is expected"
        raise ValueError(msg)
    return line


class Draft(Value):
    """A pipeline with its contracts as somebody wants them stored; not yet proved.

    Attributes:
        name: of the pipeline.
        pipeline: the YAML text, as a file of ``pipelines/`` would hold it.
        contracts: every contract the pipeline names, and no other.
    """

    name: str = Field(max_length=MAX_PIPELINE)
    pipeline: str
    contracts: tuple[ContractText, ...] = Field(max_length=MAX_CONTRACTS)

    @field_validator("name")
    @classmethod
    def _as_a_file_could_be_called(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            msg = "use letters, digits, _ and -"
            raise ValueError(msg)
        return value

    @field_validator("pipeline")
    @classmethod
    def _storable(cls, value: str) -> str:
        return _text(value)

    @field_validator("contracts")
    @classmethod
    def _paths_inside(cls, value: tuple[ContractText, ...]) -> tuple[ContractText, ...]:
        for contract in value:
            _text(contract.text)
            path = PurePosixPath(_line(contract.path))
            odd = path.is_absolute() or ".." in path.parts or "\\" in contract.path
            if odd or str(path) != contract.path or len(contract.path) > MAX_NAME:
                msg = f"{contract.path[:MAX_NAME]!r} is not a path inside a project"
                raise ValueError(msg)
        if len({c.path for c in value}) != len(value):
            msg = "two contracts have one path"
            raise ValueError(msg)
        return value

    @property
    def digest(self) -> str:
        """sha256 hex of all its texts."""
        written = [self.pipeline, *sorted([c.path, c.text] for c in self.contracts)]
        return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def make_draft(
    name: str, pipeline: str, contracts: Iterable[ContractText], shown: str = ""
) -> Draft:
    """A draft of texts from anywhere.

    Args:
        shown: what it is called in messages.

    Raises:
        ConfigError: a name or path that is none, or a text that cannot be stored.
    """
    try:
        return Draft(name=name, pipeline=pipeline, contracts=tuple(contracts))
    except ValidationError as exc:
        raise config_error(exc, Draft, lambda _: shown or "the draft of a pipeline") from exc


def make_change(author: str, reason: str) -> Change:
    """Who and why.

    Raises:
        ConfigError: one of them is empty, too long or not one line.
    """
    try:
        return Change(author=author, reason=reason)
    except ValidationError as exc:
        raise config_error(exc, Change, lambda loc: ".".join(map(str, loc))) from exc


class Change(Value):
    """Who wants a new version, and why; nobody proves the name, so it is what was told."""

    author: str = Field(max_length=MAX_NAME)
    reason: str = Field(max_length=MAX_REASON)

    @field_validator("author", "reason")
    @classmethod
    def _said(cls, value: str) -> str:
        return _line(value)


class VersionInfo(Value):
    """One version of one pipeline, without its texts.

    Attributes:
        version: counted from 1, without gaps.
        deleted: this version says that the pipeline is gone.
        digest: sha256 hex of its texts; "" when deleted.
        table: what it loads; None when deleted.
    """

    name: str
    version: int
    deleted: bool = False
    author: str
    at: datetime
    reason: str
    digest: str
    table: str | None = None


class Version(VersionInfo):
    """One version with its texts, which are empty when it deletes."""

    pipeline: str = ""
    contracts: tuple[ContractText, ...] = ()

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"pipeline {self.name}, version {self.version}"
