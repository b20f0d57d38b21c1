"""Texts of types as engineers write them, read into Iceberg types and written back."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from itertools import count

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    PrimitiveType,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from wap.complaints import nearest
from wap.errors import ConfigError

_PLAIN: dict[str, Callable[[], PrimitiveType]] = {
    "binary": BinaryType,
    "boolean": BooleanType,
    "date": DateType,
    "double": DoubleType,
    "float": FloatType,
    "int": IntegerType,
    "long": LongType,
    "string": StringType,
    "time": TimeType,
    "timestamp": TimestampType,
    "timestamptz": TimestamptzType,
    "uuid": UUIDType,
}
_WITH_ARGUMENTS = (
    "decimal(12, 2)",
    "fixed[16]",
    "list<string>",
    "map<string, long>",
    "struct<a: int>",
)

#: Other systems' names for the same things.
_ELSEWHERE = {
    "bigint": "long",
    "bool": "boolean",
    "bytes": "binary",
    "char": "string",
    "datetime": "timestamp",
    "int32": "int",
    "int64": "long",
    "integer": "int",
    "json": "string",
    "number": "decimal(12, 2)",
    "numeric": "decimal(12, 2)",
    "real": "float",
    "smallint": "int",
    "str": "string",
    "text": "string",
    "timestamp_ns": "timestamp",
    "timestamp with time zone": "timestamptz",
    "timestamptz_ns": "timestamptz",
    "varchar": "string",
}
MAX_PRECISION = 38
_MAX_NESTING = 30
_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"]|"")*")|(?P<mark>[<>,:()\[\]])|(?P<word>[^<>,:()\[\]"]+))'
)
_BARE_FIELD = re.compile(r"[^\s<>,:()\[\]\"](?:[^<>,:()\[\]\"]*[^\s<>,:()\[\]\"])?")


class TypeTextError(ConfigError):
    """A text does not name an Iceberg type."""

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


def parse_type(text: str, ids: Iterator[int] | None = None) -> IcebergType:
    """The Iceberg type a text names: ``decimal(12,2)``, ``list<struct<a: int, "b c": string>>``.

    Elements, map values and struct fields are optional.

    Args:
        text: the type, as written in a pipeline.
        ids: where field ids of nested fields come from; by default they count from 1.

    Raises:
        TypeTextError: not such a text, with the nearest type's name.
    """
    return _TypeParser(text, ids if ids is not None else count(1)).whole()


def type_text(kind: IcebergType) -> str:
    """The one spelling of a type in reports and messages; :func:`parse_type` reads it back."""
    if isinstance(kind, ListType):
        return f"list<{type_text(kind.element_type)}>"
    if isinstance(kind, MapType):
        return f"map<{type_text(kind.key_type)}, {type_text(kind.value_type)}>"
    if isinstance(kind, StructType):
        fields = (f"{_field_text(f.name)}: {type_text(f.field_type)}" for f in kind.fields)
        return f"struct<{', '.join(fields)}>"
    return str(kind)


def optional_struct(fields: Collection[tuple[str, IcebergType]], ids: Iterator[int]) -> StructType:
    """A struct whose fields are all optional."""
    return StructType(*(NestedField(next(ids), n, kind, required=False) for n, kind in fields))


def _field_text(name: str) -> str:
    if _BARE_FIELD.fullmatch(name):
        return name
    return '"' + name.replace('"', '""') + '"'


class _TypeParser:
    """Recursive descent over a type's text."""

    def __init__(self, text: str, ids: Iterator[int]) -> None:
        self.text = text
        self.ids = ids
        self.tokens = self._tokens(text)
        self.depth = 0

    def whole(self) -> IcebergType:
        kind = self._type()
        if self.tokens:
            raise self._error(f"{self.tokens[0]!r} was not expected in {self.text!r}")
        return kind

    def _tokens(self, text: str) -> list[str]:
        tokens, at, end = [], 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(f"{text!r} has a quote that is not closed")
            tokens.append(match["quoted"] or match["mark"] or match["word"].strip())
            at = match.end()
        return tokens

    def _type(self) -> IcebergType:
        self.depth += 1
        if self.depth > _MAX_NESTING:
            raise self._error(f"{self.text[:40]!r}… is nested too deeply")
        word = self._next("a type").lower()
        readers = {
            "decimal": self._decimal,
            "fixed": self._fixed,
            "list": self._list,
            "map": self._map,
            "struct": self._struct,
        }
        if word in readers:
            kind = readers[word]()
        elif word in _PLAIN:
            kind = _PLAIN[word]()
        else:
            raise self._unknown(word)
        self.depth -= 1
        return kind

    def _decimal(self) -> IcebergType:
        self._take("(")
        precision = self._number("precision")
        self._take(",")
        scale = self._number("scale")
        self._take(")")
        if not 1 <= precision <= MAX_PRECISION or scale > precision:
            raise self._error(
                f"decimal({precision}, {scale}) is not possible",
                "1 to 38 digits, of which at most all come after the point",
            )
        return DecimalType(precision, scale)

    def _fixed(self) -> IcebergType:
        self._take("[")
        length = self._number("length in bytes")
        self._take("]")
        if length == 0:
            raise self._error("fixed[0] holds nothing")
        return FixedType(length)

    def _list(self) -> IcebergType:
        self._take("<")
        element = self._type()
        self._take(">")
        return ListType(next(self.ids), element, element_required=False)

    def _map(self) -> IcebergType:
        self._take("<")
        key = self._type()
        self._take(",")
        value = self._type()
        self._take(">")
        return MapType(next(self.ids), key, next(self.ids), value, value_required=False)

    def _struct(self) -> IcebergType:
        self._take("<")
        fields = [self._field()]
        while self._next("',' or '>'", peek=True) == ",":
            self._take(",")
            fields.append(self._field())
        self._take(">")
        names = [name for name, _ in fields]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise self._error(f"the field {twice!r} is there twice in {self.text!r}")
        return optional_struct(fields, self.ids)

    def _field(self) -> tuple[str, IcebergType]:
        name = self._next("a field's name")
        if name.startswith('"'):
            name = name[1:-1].replace('""', '"')
        elif name in "<>,:()[]":
            raise self._error(f"a field's name is missing before {name!r} in {self.text!r}")
        self._take(":")
        return name, self._type()

    def _number(self, what: str) -> int:
        token = self._next(f"a {what}")
        if not (token.isascii() and token.isdigit()):
            raise self._error(f"{token!r} is not a {what} in {self.text!r}")
        return int(token)

    def _take(self, mark: str) -> None:
        found = self._next(repr(mark))
        if found != mark:
            raise self._error(f"{mark!r} is expected before {found!r} in {self.text!r}")

    def _next(self, expected: str, *, peek: bool = False) -> str:
        if not self.tokens:
            raise self._error(f"{self.text!r} ends where {expected} is expected")
        return self.tokens[0] if peek else self.tokens.pop(0)

    def _unknown(self, word: str) -> TypeTextError:
        close = _ELSEWHERE.get(word) or nearest(word, [*_PLAIN, "decimal", "fixed"])
        hint = f"did you mean {close}?" if close else f"types: {_all_types()}"
        if word.endswith("_ns"):
            hint = f"Iceberg v2 keeps microseconds; write {close}"
        return self._error(f"{word!r} is not an Iceberg type", hint)

    @staticmethod
    def _error(what: str, hint: str = "") -> TypeTextError:
        return TypeTextError(what, hint=hint or f"write it like {', '.join(_WITH_ARGUMENTS)}")


def _all_types() -> str:
    return ", ".join([*_PLAIN, *_WITH_ARGUMENTS])
