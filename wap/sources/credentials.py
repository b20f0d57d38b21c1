"""User and password of a source: a pipeline names the variables that hold them."""

from __future__ import annotations

import os

from wap.errors import ConfigError


def credentials(
    user_env: str | None, password_env: str | None, where: str
) -> tuple[str, str] | None:
    """User and password; None where the pipeline names no variables.

    Args:
        where: the source, for messages.

    Raises:
        ConfigError: one of two is not named, or not set here.
    """
    if user_env is None and password_env is None:
        return None
    if user_env is None or password_env is None:
        raise ConfigError(
            "of user_env and password_env only one is named", where=where, hint="name both or none"
        )
    return _value(user_env, where), _value(password_env, where)


def _value(variable: str, where: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(
            f"the variable {variable} is not set",
            where=where,
            hint="the pipeline names it for the source's credentials; set it for every worker",
        )
    return value
