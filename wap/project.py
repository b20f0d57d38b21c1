"""A project: a folder with ``wap.toml``, and pipelines in files or in the ledger's database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wap.catalogs import resolved_catalog
from wap.complaints import suggestion
from wap.errors import ConfigError
from wap.layers import settings_of
from wap.located import Loc, read_text, read_toml
from wap.paths import inside, resolved_sqlite, without_password
from wap.pipeline import Pipeline, parse_pipeline
from wap.settings import (
    ApiSection,
    AuditSection,
    CatalogSection,
    EngineSection,
    GroupSection,
    LedgerSection,
    LineageSection,
    MaintainSection,
    MetricsSection,
    RunsSection,
    Settings,
    SparkSection,
    TemporalSection,
    WorkerSection,
)
from wap.versions import MAX_PIPELINE, NAME, Version

if TYPE_CHECKING:
    from wap.ledger.registry import Registry

SETTINGS_FILE = "wap.toml"
_ENDINGS = (".yml", ".yaml")


@dataclass(frozen=True)
class Project:
    """One project folder and the settings that hold for it.

    Attributes:
        root: the folder, absolute and without links.
        settings: as :func:`load_project` put them together; paths in them are resolved.
    """

    root: Path
    settings: Settings

    @property
    def name(self) -> str:
        """What it is called; letters, digits, ``_`` and ``-``."""
        return self.settings.project.name or _as_name(self.root.name)

    @cached_property
    def id(self) -> str:
        """12 hex digits that stay the same on every machine that works on the same tables.

        A run is known to Temporal under it. Two clones that share a catalog share their runs,
        so that starting one twice is one run; two folders with catalogs of their own do not.
        So it is made of the name, the catalog and the warehouse, not of the folder's path, and
        a changed password does not change it.
        """
        catalog = self.settings.catalog
        parts = (self.name, catalog.kind, without_password(catalog.uri), catalog.warehouse)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def state(self) -> Path:
        """What the product keeps for itself; not for people, and not for version control."""
        return self.root / ".wap"

    @property
    def reports(self) -> Path:
        """One folder of reports per run."""
        return self.root / "reports"

    @property
    def catalog(self) -> CatalogSection:
        """The settings under ``[catalog]``."""
        return self.settings.catalog

    @property
    def catalog_properties(self) -> dict[str, str]:
        """What pyiceberg needs to open the catalog; may hold secrets, so not for messages."""
        catalog = self.settings.catalog
        own = {"uri": catalog.uri, "warehouse": catalog.warehouse}
        return {**catalog.properties, **{key: value for key, value in own.items() if value}}

    @property
    def ledger(self) -> LedgerSection:
        """The settings under ``[ledger]``."""
        return self.settings.ledger

    @property
    def lineage(self) -> LineageSection:
        """The settings under ``[lineage]``; ``folder`` is an absolute path."""
        return self.settings.lineage

    @property
    def maintain(self) -> MaintainSection:
        """The settings under ``[maintain]``."""
        return self.settings.maintain

    @property
    def temporal(self) -> TemporalSection:
        """The settings under ``[temporal]``."""
        return self.settings.temporal

    @property
    def worker(self) -> WorkerSection:
        """The settings under ``[worker]``."""
        return self.settings.worker

    @property
    def runs(self) -> RunsSection:
        """The settings under ``[runs]``."""
        return self.settings.runs

    @property
    def metrics(self) -> MetricsSection:
        """The settings under ``[metrics]``."""
        return self.settings.metrics

    @property
    def engine(self) -> EngineSection:
        """The settings under ``[engine]``."""
        return self.settings.engine

    @property
    def spark(self) -> SparkSection:
        """The settings under ``[spark]``."""
        return self.settings.spark

    @property
    def audit(self) -> AuditSection:
        """The settings under ``[audit]``."""
        return self.settings.audit

    @property
    def api(self) -> ApiSection:
        """The settings under ``[api]``."""
        return self.settings.api

    @property
    def groups(self) -> Mapping[str, GroupSection]:
        """The settings under ``[groups.…]``, by the name of the group."""
        return self.settings.groups.root

    @cached_property
    def registry(self) -> Registry:
        """The pipelines in the ledger's database; it keeps no connection between two reads.

        Raises:
            LedgerError: the database cannot be used.
        """
        # Imported here: SQLAlchemy takes a second that a project of files need not wait for.
        from wap.ledger import open_registry  # noqa: PLC0415 - see above

        opened = open_registry(self.ledger.url, pooled=False)
        opened.migrate()
        return opened

    @property
    def reads_files(self) -> bool:
        """Whether pipelines may be declared in files."""
        return self.settings.pipelines.source != "database"

    @property
    def reads_database(self) -> bool:
        """Whether pipelines may be declared in the ledger's database."""
        return self.settings.pipelines.source != "files"

    def pipelines(self) -> list[str]:
        """Names of all pipelines, sorted; they are not read.

        Raises:
            ConfigError: a file's name cannot name a pipeline, or two declarations have one name.
            LedgerError: the ledger's database cannot be used.
        """
        files = self._pipeline_files()
        names = self.registry.names() if self.reads_database else ()
        if twice := [name for name in names if name in files]:
            raise ConfigError(
                f"the pipeline {twice[0]!r} is declared twice, in a file and in the database",
                where=f"pipelines/{files[twice[0]].name}",
                hint=f"remove the file, or delete the other: wap pipelines delete {twice[0]}",
            )
        return sorted([*files, *names])

    def stored(self, name: str) -> Version | None:
        """A pipeline's latest version in the ledger's database; None: it is declared in a file.

        Raises:
            ConfigError: there is no such pipeline, or there are two.
            LedgerError: the ledger's database cannot be used.
        """
        if not self.reads_database:
            return None
        self._known(name)
        return self.registry.latest(name)

    def pipeline(self, name: str) -> Pipeline:
        """Read one pipeline; its contracts are there, though not yet read.

        Raises:
            ConfigError: no such pipeline, or not a valid one: with file, line and hint.
            LedgerError: it may be in the ledger's database, which cannot be used.
        """
        version = self.stored(name)
        if version is not None:
            return parse_pipeline(version.pipeline, name, version.shown)[0]
        files = self._pipeline_files()
        self._known(name, files)
        shown = f"pipelines/{files[name].name}"
        text = read_text(inside(self.root, shown, where=shown), shown)
        pipeline, document = parse_pipeline(text, name, shown)
        for index, contract in enumerate(pipeline.contracts):
            self._contract(contract, document.where(("contracts", index)))
        return pipeline

    def masked(self, table: str) -> frozenset[str]:
        """Columns of a table whose values are never shown, by the pipelines that load it.

        Raises:
            ConfigError: a pipeline is not valid.
        """
        pipelines = map(self.pipeline, self.pipelines())
        return frozenset().union(*(p.masked for p in pipelines if p.table == table))

    def contract_text(self, path: str) -> str:
        """A contract's text; ``path`` is relative to the project.

        Raises:
            ConfigError: not there, not UTF-8, or outside the project.
        """
        return read_text(self._contract(path, path), path)

    def _known(self, name: str, names: Collection[str] | None = None) -> None:
        known = self.pipelines() if names is None else names
        if name not in known:
            place = str(self.root / "pipelines") if self.reads_files else "the ledger's database"
            first = "wap init FILE" if self.reads_files else "wap pipelines put FILE"
            raise ConfigError(
                f"there is no pipeline {name!r}",
                where=place,
                hint=suggestion(name, known) if known else f"{first} makes the first one",
            )

    def _pipeline_files(self) -> dict[str, Path]:
        folder = self.root / "pipelines"
        files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()) if self.reads_files and folder.is_dir() else ():
            if path.suffix not in _ENDINGS or path.name.startswith("."):
                continue
            shown = f"pipelines/{path.name}"
            if not NAME.fullmatch(path.stem) or len(path.stem) > MAX_PIPELINE:
                raise ConfigError(
                    f"{path.stem!r} cannot name a pipeline",
                    where=shown,
                    hint=f"use letters, digits, _ and -, at most {MAX_PIPELINE}",
                )
            if path.stem in files:
                raise ConfigError(f"two files declare the pipeline {path.stem!r}", where=shown)
            files[path.stem] = path
        return files

    def _contract(self, path: str, where: str) -> Path:
        found = inside(self.root, path, where=where)
        if not found.is_file():
            folder = self.root / "contracts"
            known = [f"contracts/{p.name}" for e in _ENDINGS for p in folder.glob(f"*{e}")]
            raise ConfigError(
                f"there is no contract {path!r}", where=where, hint=suggestion(path, known)
            )
        return found


def load_project(
    folder: Path, env: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Project:
    """Open a project folder.

    Args:
        folder: holds ``wap.toml``.
        env: the process's environment.
        overrides: flags by dotted key, ``{"catalog.uri": …}``.

    Raises:
        ConfigError: no such folder or file, an unknown key, a bad value, a path that leaves the
            project: with file and line, variable or flag, and the nearest known key.
    """
    try:
        root = folder.resolve(strict=True)
    except OSError as exc:
        raise ConfigError("there is no such folder", where=str(folder)) from exc
    if not (root / SETTINGS_FILE).is_file():
        raise ConfigError(
            f"not a project: it has no {SETTINGS_FILE}",
            where=str(folder),
            hint="name the project's folder by --project, or make one by wap init FILE",
        )
    text = read_text(root / SETTINGS_FILE, SETTINGS_FILE)
    settings, where = settings_of(read_toml(text, SETTINGS_FILE), env, overrides or {})
    return Project(root, _resolved(settings, root, where))


def _resolved(settings: Settings, root: Path, where: Callable[[Loc], str]) -> Settings:
    """The same settings with every relative path made absolute, and proved to be inside."""
    catalog = resolved_catalog(settings.catalog, root, where)
    url = resolved_sqlite(settings.ledger.url, root, where=where(("ledger", "url")))
    folder = inside(root, settings.lineage.folder, where=where(("lineage", "folder")))
    return settings.model_copy(
        update={
            "catalog": catalog,
            "ledger": settings.ledger.model_copy(update={"url": url}),
            "lineage": settings.lineage.model_copy(update={"folder": str(folder)}),
        }
    )


def _as_name(folder: str) -> str:
    """A folder's name made into a project's: letters, digits, ``_`` and ``-``."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder).strip("-_")
    return name if name and name[0].isalpha() else f"project-{name}".rstrip("-")
