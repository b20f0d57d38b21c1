"""What each kind of catalog needs in ``[catalog]``, said before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wap.errors import ConfigError
from wap.located import Loc
from wap.paths import is_url, resolved_location, resolved_sqlite
from wap.settings import CatalogSection

#: URLs that begin with the name of a container: abfss://container@account.….
_CONTAINERS = frozenset({"abfs", "abfss", "wasb", "wasbs"})
#: What pyiceberg's FileIO over Arrow knows.
_STORES = _CONTAINERS | {"file", "gcs", "gs", "hdfs", "oss", "s3", "s3a", "s3n", "viewfs"}
#: pyiceberg's property for another FileIO.
_FILE_IO = "py-io-impl"

_URI, _WAREHOUSE = ("catalog", "uri"), ("catalog", "warehouse")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a kind needs.

    Attributes:
        uri: what its uri looks like; None: it has none.
        example: a uri, or what is there instead of one.
        warehouse: ``folder``: one in the project is there by default; ``needed``: must be said;
            ``name``: the server may have its own name for it, and need not be told.
        password: whether the uri may hold one.
    """

    uri: str | None
    example: str
    warehouse: str = "folder"
    password: bool = False

    def fits(self, uri: str) -> bool:
        """Whether it looks like one, and clients can take it to pieces."""
        if self.uri is None or not re.fullmatch(self.uri, uri):
            return False
        try:  # a bracket that is left open; databases' clients do not mind one in a password
            return self.password or urlsplit(uri) is not None
        except ValueError:
            return False


_RULES = {
    "sqlite": _Rule(r"sqlite(\+\w+)?:///.+", "sqlite:///.wap/catalog.db"),
    "postgres": _Rule(
        r"postgresql(\+psycopg)?://.+/.+", "postgresql://user@host:5432/database", password=True
    ),
    "rest": _Rule(r"https?://[^/].*", "https://host/path", "name"),
    "nessie": _Rule(r"https?://[^/].*", "http://host:19120/api/v2"),
    "glue": _Rule(None, "glue.region and glue.endpoint in [catalog.properties]", "needed"),
    "hive": _Rule(r"thrift://[^/]+:\d+", "thrift://host:9083", "needed"),
}


def resolved_catalog(
    section: CatalogSection, root: Path, where: Callable[[Loc], str]
) -> CatalogSection:
    """The section with its paths made absolute, and what does not belong to its kind left out.

    Args:
        section: as it was written.
        root: the project's folder.
        where: file and line, variable or flag of a setting.

    Raises:
        ConfigError: the kind needs what is not there, or cannot use what is; a path leaves the
            project. No message quotes a uri.
    """
    rule = _RULES[section.kind]
    uri = _uri(section, rule, root, where)
    return section.model_copy(
        update={"uri": uri, "warehouse": _warehouse(section, rule, root, where)}
    )


def _uri(section: CatalogSection, rule: _Rule, root: Path, where: Callable[[Loc], str]) -> str:
    kind, given = section.kind, "uri" in section.model_fields_set
    if rule.uri is None:
        if given:
            raise ConfigError(
                f"a catalog of kind {kind!r} has no uri", where=where(_URI), hint=rule.example
            )
        return ""
    if not given and kind != "sqlite":
        raise ConfigError(
            f"a catalog of kind {kind!r} needs a uri",
            where=where(("catalog", "kind")),
            hint=f'uri = "{rule.example}" in [catalog], or WAP_CATALOG__URI',
        )
    if not rule.fits(section.uri):
        raise ConfigError(
            f"this is no uri for a catalog of kind {kind!r}",
            where=where(_URI),
            hint=_hint(section.uri, rule),
        )
    if not rule.password and "@" in urlsplit(section.uri).netloc:
        raise ConfigError(
            "credentials do not belong in this uri, which is shown",
            where=where(_URI),
            hint="give token or credential by WAP_CATALOG__PROPERTIES__TOKEN or …__CREDENTIAL",
        )
    return (
        resolved_sqlite(section.uri, root, where=where(_URI)) if kind == "sqlite" else section.uri
    )


def _hint(uri: str, rule: _Rule) -> str:
    for kind, other in _RULES.items():
        if other is not rule and other.fits(uri):
            return f'did you mean kind = "{kind}"?'
    return f"write it as {rule.example}"


def _warehouse(
    section: CatalogSection, rule: _Rule, root: Path, where: Callable[[Loc], str]
) -> str:
    given = "warehouse" in section.model_fields_set
    if rule.warehouse == "name":
        return section.warehouse if given else ""
    if rule.warehouse == "needed" and not given:
        raise ConfigError(
            f"a catalog of kind {section.kind!r} needs a warehouse",
            where=where(("catalog", "kind")),
            hint='warehouse = "s3://bucket/path" in [catalog]',
        )
    if is_url(section.warehouse):
        _check_store(section, where(_WAREHOUSE))
    return resolved_location(section.warehouse, root, where=where(_WAREHOUSE))


def _check_store(section: CatalogSection, where: str) -> None:
    """Refuse a URL that no table can be written to, before a run has anything to undo.

    Raises:
        ConfigError: its message does not quote the URL.
    """
    scheme, _, rest = section.warehouse.partition("://")
    user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if at and (":" in user or scheme not in _CONTAINERS):
        raise ConfigError(
            "the warehouse's URL holds a name or password, which every table would repeat",
            where=where,
            hint="give credentials where the store's own client looks for them: docs/server.md",
        )
    if scheme not in _STORES and _FILE_IO not in section.properties:
        raise ConfigError(
            f"no table can lie in {scheme}://",
            where=where,
            hint=f"{', '.join(sorted(_STORES))}; or name a FileIO: properties.{_FILE_IO}",
        )
