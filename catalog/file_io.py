"""The FileIO of all tables: pyiceberg's over Arrow, with an S3 of ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import pyarrow.fs as pa_fs
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from catalog.errors import CatalogConfigError
from catalog.s3 import SCHEMES
from catalog.s3_files import S3Files


class TableFileIO(PyArrowFileIO):
    """Reads and writes a table's files. It holds no credentials but those in its properties."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        of_arrow = self.fs_by_scheme

        @lru_cache
        def filesystem(scheme: str, netloc: str | None = None) -> pa_fs.FileSystem:
            if scheme in SCHEMES:
                return pa_fs.PyFileSystem(S3Files.of(self.properties))
            return of_arrow(scheme, netloc)

        self.fs_by_scheme = filesystem

    def __reduce__(self) -> tuple[type[TableFileIO], tuple[Properties]]:
        return TableFileIO, (self.properties,)


_NAME: Final = f"{TableFileIO.__module__}.{TableFileIO.__qualname__}"


def prepared(properties: Mapping[str, str]) -> dict[str, str]:
    """The catalog's properties with our FileIO, unless they name another.

    Raises:
        CatalogConfigError: the warehouse's URL holds a password.
    """
    if "@" in _in_s3(properties).partition("/")[0]:
        raise CatalogConfigError(
            "the warehouse's URL holds a name or password, which every table would repeat",
            hint="give the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or in a profile",
        )
    return {PY_IO_IMPL: _NAME, **properties}


def prove_warehouse(properties: Mapping[str, str]) -> None:
    """Ask S3 once, before anything is written; who only reads needs no right to list.

    Raises:
        CatalogConfigError: no such bucket, wrong credentials, no permission.
        CatalogUnavailableError: S3 does not answer.
    """
    path, ours = _in_s3(properties), prepared(properties)
    if path and ours[PY_IO_IMPL] == _NAME:
        S3Files.of(ours).prove(path.rstrip("/"))


def _in_s3(properties: Mapping[str, str]) -> str:
    """Bucket and key of the warehouse, "" when it is elsewhere."""
    scheme, _, path = properties.get("warehouse", "").strip().partition("://")
    return path if scheme in SCHEMES else ""
