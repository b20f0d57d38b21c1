"""What the rest of the company hears: DataHub metadata of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from wap.errors import ConfigError
from wap.lineage.base import LineageSink


class LineageSettings(Protocol):
    """The part of the settings that says who is told."""

    @property
    def kind(self) -> str:
        """``file``, ``datahub`` (a server as well) or ``none``."""

    @property
    def folder(self) -> str:
        """Where the files lie."""

    @property
    def url(self) -> str | None:
        """DataHub's address."""

    @property
    def token(self) -> SecretStr | None:
        """DataHub's access token."""

    @property
    def env(self) -> str:
        """DataHub's fabric, for example ``PROD``."""

    @property
    def platform_instance(self) -> str | None:
        """DataHub's name for this catalog, when it knows several."""


def open_lineage(settings: LineageSettings, root: Path) -> LineageSink | None:
    """The sink the settings ask for; None when nobody is to be told.

    Args:
        settings: the project's ``[lineage]`` section.
        root: what a relative folder is relative to.

    Raises:
        ConfigError: a server without an address, or a kind there is none of.
    """
    if settings.kind == "none":
        return None
    # Imported here: a door that records nothing need not load the sinks.
    from wap.lineage.datahub_file import DataHubFileSink  # noqa: PLC0415 - see above
    from wap.lineage.datahub_rest import DataHubRestSink  # noqa: PLC0415 - see above

    files = DataHubFileSink(
        root / settings.folder,
        env=settings.env,
        platform_instance=settings.platform_instance,
    )
    if settings.kind == "file":
        return files
    if settings.kind != "datahub":
        raise ConfigError(f"no lineage sink {settings.kind!r}", hint="file, datahub or none")
    if not settings.url:
        raise ConfigError("lineage kind datahub needs an address", hint="set url under [lineage]")
    token = settings.token.get_secret_value() if settings.token else None
    return DataHubRestSink(settings.url, files=files, token=token)
