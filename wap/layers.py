"""Settings from three places, the later over the earlier: file, environment, flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from wap.complaints import config_error, suggestion
from wap.errors import ConfigError
from wap.located import Document, Loc
from wap.settings import Settings

_PREFIX = "WAP_"
_PROPERTIES: Loc = ("catalog", "properties")
#: Temporal's own variables, which its other tools read too.
_TEMPORAL = {
    "TEMPORAL_ADDRESS": "address",
    "TEMPORAL_NAMESPACE": "namespace",
    "TEMPORAL_API_KEY": "api_key",
    "TEMPORAL_TLS": "tls",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "tls_ca",
    "TEMPORAL_TLS_CLIENT_CERT_PATH": "tls_cert",
    "TEMPORAL_TLS_CLIENT_KEY_PATH": "tls_key",
    "TEMPORAL_TLS_SERVER_NAME": "tls_server_name",
}


def settings_of(
    file: Document, env: Mapping[str, str], overrides: Mapping[str, str]
) -> tuple[Settings, Callable[[Loc], str]]:
    """The settings that hold, ``wap.toml`` < environment < flags, and where each was set.

    Args:
        file: ``wap.toml``.
        env: the process's environment; ``WAP_CATALOG__URI`` sets ``uri`` in ``[catalog]``.
        overrides: flags by dotted key, ``{"catalog.uri": …}``.

    Raises:
        ConfigError: an unknown key or a bad value, with file and line, variable or flag.
    """
    _refuse_written_tokens(file)
    layers = _Layers(file)
    for key, (loc, value) in _temporal_variables(env).items():
        layers.put(loc, value, key)
    for key, (loc, value) in _wap_variables(env).items():
        layers.put(loc, value, key)
    for key, value in overrides.items():
        layers.put(_flag(key), value, f"flag {key}")
    try:
        return Settings.model_validate(layers.data), layers.where
    except ValidationError as exc:
        raise config_error(exc, Settings, layers.where) from exc


def _refuse_written_tokens(file: Document) -> None:
    """A file is copied, shown and committed; who holds a token of the API may change pipelines."""
    section = file.data.get("api")
    for key in ("token", "auditor_token"):
        if isinstance(section, dict) and key in section:
            raise ConfigError(
                f"{key} may not stand in a file",
                where=file.where(("api", key)),
                hint=f"give it as {_variable('api', key)} in the environment",
            )


class _Layers:
    """Nested settings, and who set each of them last."""

    def __init__(self, file: Document) -> None:
        self.file = file
        self.data: dict[str, Any] = _copied(file.data)
        self.origins: dict[Loc, str] = {}

    def put(self, loc: Loc, value: str, origin: str) -> None:
        section = self.data
        for part in loc[:-1]:
            section = section.setdefault(str(part), {})
            if not isinstance(section, dict):
                raise ConfigError(
                    f"{part!r} must be a table of settings", where=self.file.where((part,))
                )
        section[str(loc[-1])] = value
        self.origins[loc] = origin

    def where(self, loc: Loc) -> str:
        for end in range(len(loc), 0, -1):
            if (origin := self.origins.get(loc[:end])) is not None:
                return origin
        return self.file.where(loc)


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, dict) else v for k, v in data.items()}


def _temporal_variables(env: Mapping[str, str]) -> dict[str, tuple[Loc, str]]:
    return {
        name: (("temporal", key), env[name]) for name, key in _TEMPORAL.items() if env.get(name)
    }


def _wap_variables(env: Mapping[str, str]) -> dict[str, tuple[Loc, str]]:
    """The variables that are settings.

    Others may begin with ``WAP_`` too; what names a section, or nests as only a setting does,
    is one of ours or a slip, and a slip must not be taken for «not set».
    """
    found: dict[str, tuple[Loc, str]] = {}
    for name in sorted(env):
        if not name.startswith(_PREFIX):
            continue
        parts = name.removeprefix(_PREFIX).lower().split("__")
        if len(parts) == 1:
            _refuse_single_underscore(name, parts[0])
            continue
        found[name] = (_setting(parts, name), env[name])
    return found


def _refuse_single_underscore(name: str, rest: str) -> None:
    for section, keys in _known().items():
        key = rest.removeprefix(f"{section}_")
        if key != rest and key in keys:
            raise ConfigError(
                "not a setting's name",
                where=f"environment variable {name}",
                hint=f"did you mean {_variable(section, key)}? Two underscores nest",
            )


def _setting(parts: list[str], name: str) -> Loc:
    if tuple(parts[:2]) == _PROPERTIES and len(parts) > len(_PROPERTIES):
        # pyiceberg's own rule for its variables: __ is a dot, _ is a dash.
        return (*_PROPERTIES, ".".join(p.replace("_", "-") for p in parts[2:]))
    known = {_variable(s, k) for s, keys in _known().items() for k in keys}
    if name not in known:
        raise ConfigError(
            "not a setting's name",
            where=f"environment variable {name}",
            hint=_among(name, known),
        )
    return tuple(parts)


def _flag(key: str) -> Loc:
    parts = tuple(key.split("."))
    if parts[:2] == _PROPERTIES and len(parts) > len(_PROPERTIES):
        return (*_PROPERTIES, ".".join(parts[2:]))
    known = {f"{s}.{k}" for s, keys in _known().items() for k in keys}
    if key not in known:
        raise ConfigError("not a setting's name", where=f"flag {key}", hint=_among(key, known))
    return parts


def _among(word: str, known: Iterable[str]) -> str:
    hint = suggestion(word, known)
    return hint if re.match("did you mean", hint) else "docs/pipelines.md lists the settings"


def _known() -> dict[str, list[str]]:
    """Keys by section."""
    return {
        section: field.default.written_keys() for section, field in Settings.model_fields.items()
    }


def _variable(section: str, key: str) -> str:
    return f"{_PREFIX}{section}__{key}".upper()
