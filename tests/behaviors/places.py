"""Where the lakes of the behaviours suite lie: every catalog, on a folder and in S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError

from catalog import open_catalog
from tests.servers.seaweedfs import SeaweedFS

#: Each lies on a folder, and in S3 under its name with this ending.
CATALOGS = ("sqlite", "postgres", "rest", "nessie", "nessie-postgres")
IN_S3 = "-s3"
EMBEDDED = ("memory", "sqlite", "portable")
KINDS = (*EMBEDDED, *CATALOGS[1:], *(c + IN_S3 for c in CATALOGS), "glue")
#: A test for one kind is a test for those that commit as it does.
LIKE = {"postgres": "sqlite", "rest": "portable", "glue": "portable"}

SOME, ALL = "some", "all"
#: Whole in a default run; the others take the tests there that are marked ``storage``.
FULL = (*EMBEDDED, "postgres", "rest", "nessie")

MARKERS = (
    "kinds(*names): only for these implementations and those that commit like them",
    "exactly(*names): only for these implementations",
    "in_s3: only where tables lie in S3",
    "glue: for AWS Glue too, as moto plays it",
    "storage: about files; by default on every catalog, on a folder and in S3",
    "embedded: by default on no catalog with a server but Nessie",
    "by_default(*names): of a default run only these; --catalogs=all runs all",
)


def add_option(parser: pytest.Parser) -> None:
    """``--catalogs``."""
    parser.addoption(
        "--catalogs", default=SOME,
        help=f"implementations of the catalog port to test, of {', '.join(KINDS)}; "
        "portable is SQLite through pyiceberg's public interface alone. "
        "all: every test on every one of them",
    )  # fmt: skip


def catalog_of(kind: str) -> str:
    """What is opened, wherever its tables lie and whatever its server keeps them in."""
    return kind.removesuffix(IN_S3).partition("-")[0]


def wanted_for(metafunc: pytest.Metafunc) -> list[str]:
    """The kinds that a test is run on.

    Raises:
        UsageError: ``--catalogs`` names one that is not there.
    """
    option = metafunc.config.getoption("--catalogs", default=SOME)
    named = [*KINDS] if option in (SOME, ALL) else option.split(",")
    unknown = {*named} - {*KINDS}
    if unknown:
        msg = f"--catalogs: unknown {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
        raise pytest.UsageError(msg)
    kinds = _possible(metafunc, named)
    return _by_default(metafunc, kinds) if option == SOME else kinds


def _possible(metafunc: pytest.Metafunc, kinds: list[str]) -> list[str]:
    names = {mark.name for mark in metafunc.definition.iter_markers()}
    if "in_s3" in names:
        kinds = [k for k in kinds if k.endswith(IN_S3)]
    if "glue" not in names:
        kinds = [k for k in kinds if k != "glue"]
    for mark in metafunc.definition.iter_markers("exactly"):
        kinds = [k for k in kinds if catalog_of(k) in mark.args]
    # Each mark narrows: one on the module, one on the test.
    for mark in metafunc.definition.iter_markers("kinds"):
        kinds = [k for k in kinds if {catalog_of(k), LIKE.get(catalog_of(k))} & {*mark.args}]
    return kinds


def _by_default(metafunc: pytest.Metafunc, kinds: list[str]) -> list[str]:
    names = {mark.name for mark in metafunc.definition.iter_markers()}
    for mark in metafunc.definition.iter_markers("by_default"):
        return [k for k in kinds if k in mark.args]
    if "storage" not in names:
        kinds = [k for k in kinds if k in (*FULL, "glue")]
    if "embedded" in names:
        kinds = [k for k in kinds if catalog_of(k) in (*EMBEDDED, "nessie")]
    return kinds


@dataclass(frozen=True)
class Folder:
    """A warehouse on disk."""

    root: Path

    @property
    def url(self) -> str:
        """What a catalog is told."""
        return str(self.root)

    def names(self) -> set[str]:
        """What lies there."""
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}

    def location(self, name: str) -> str:
        """Of one of the names."""
        return str(self.root / name)

    def read(self, location: str) -> str:
        """A file's text."""
        return _path(location).read_text(encoding="utf-8")

    def write(self, location: str, text: str) -> None:
        """Put a text in a file's place."""
        _path(location).write_text(text, encoding="utf-8")

    def delete(self, location: str) -> None:
        """Remove a file, if it is there."""
        _path(location).unlink(missing_ok=True)

    def exists(self, location: str) -> bool:
        """Whether there is such a file."""
        return _path(location).exists()


def _path(location: str) -> Path:
    return Path("/" + location.removeprefix("file:").lstrip("/"))


@dataclass(frozen=True)
class Store:
    """A warehouse of its own for one lake, in the bucket that all share."""

    server: SeaweedFS
    bucket: str
    prefix: str

    @cached_property
    def _client(self) -> Any:
        return self.server.client

    @property
    def url(self) -> str:
        """What a catalog is told."""
        return f"s3://{self.bucket}/{self.prefix}"

    def names(self) -> set[str]:
        """What lies there; an upload that nobody completed or aborted is litter too."""
        found = self.server.keys(self.bucket, f"{self.prefix}/")
        found |= self.server.uploads(self.bucket, f"{self.prefix}/")
        return {key.removeprefix(f"{self.prefix}/") for key in found}

    def location(self, name: str) -> str:
        """Of one of the names."""
        return f"{self.url}/{name}"

    def read(self, location: str) -> str:
        """An object's text."""
        return str(self._client.get_object(**self._key(location))["Body"].read(), "utf-8")

    def write(self, location: str, text: str) -> None:
        """Put a text in an object's place."""
        self._client.put_object(**self._key(location), Body=text.encode())

    def delete(self, location: str) -> None:
        """Remove an object, if it is there."""
        self._client.delete_object(**self._key(location))

    def exists(self, location: str) -> bool:
        """Whether there is such an object."""
        try:
            self._client.head_object(**self._key(location))
        except ClientError:
            return False
        return True

    def _key(self, location: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": location.removeprefix(f"s3://{self.bucket}/")}


def store_for(request: pytest.FixtureRequest) -> Store:
    """A place in S3 that nobody else uses."""
    server = request.getfixturevalue("seaweedfs")
    bucket = request.getfixturevalue("place_bucket")
    return Store(server, bucket, f"lake-{secrets.token_hex(6)}")


def properties_of(kind: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """What the catalog of a new, empty lake is opened with, and perhaps its ``name``; the server
    is started if it is not there yet."""
    made = _SERVED.get(kind.removesuffix(IN_S3))
    return made(request, kind.endswith(IN_S3)) if made else {}


def _on_postgres(request: pytest.FixtureRequest, in_s3: bool) -> dict[str, str]:
    """One database for all: every lake has a catalog name of its own in it."""
    del in_s3
    uri = request.getfixturevalue("postgres_uri")
    return {"uri": uri, "name": f"lake-{secrets.token_hex(6)}"}


def _on_rest(request: pytest.FixtureRequest, in_s3: bool) -> dict[str, str]:
    """The server writes metadata by itself, so that in S3 is another one."""
    uri = request.getfixturevalue("iceberg_rest_s3" if in_s3 else "iceberg_rest").uri
    with closing(open_catalog("rest", "sweep", {"uri": uri})) as opened:
        empty(opened.iceberg)  # type: ignore[attr-defined]
    return {"uri": uri}


def _on_nessie(fixture: str) -> Callable[[pytest.FixtureRequest, bool], dict[str, str]]:
    def properties(request: pytest.FixtureRequest, in_s3: bool) -> dict[str, str]:
        del in_s3
        server = request.getfixturevalue(fixture)
        server.empty()
        return {"uri": server.uri}

    return properties


def _on_glue(request: pytest.FixtureRequest, in_s3: bool) -> dict[str, str]:
    del in_s3
    properties = dict(request.getfixturevalue("glue").properties)
    empty(load_catalog("sweep", type="glue", **properties), nested=False)
    return properties


_SERVED = {
    "postgres": _on_postgres,
    "rest": _on_rest,
    "nessie": _on_nessie("nessie"),
    "nessie-postgres": _on_nessie("nessie_on_postgres"),
    "glue": _on_glue,
}


def empty(plain: Catalog, *, nested: bool = True) -> None:
    """Remove every table and namespace: the tests share the server."""
    for namespace in sorted(_namespaces(plain, (), nested=nested), key=len, reverse=True):
        # A namespace in the middle of a name is gone with the last one below it.
        with suppress(NoSuchNamespaceError):
            for table in plain.list_tables(namespace):
                plain.drop_table(table)
            plain.drop_namespace(namespace)


def _namespaces(
    plain: Catalog, parent: tuple[str, ...], *, nested: bool
) -> Iterator[tuple[str, ...]]:
    for found in plain.list_namespaces(parent):
        yield found
        if nested:
            yield from _namespaces(plain, found, nested=nested)
