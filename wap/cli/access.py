"""``wap access``: rules and policies for the servers, printed for whoever runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wap.access import Role, bucket_policy, identity_policy, nessie_rules
from wap.cli.app import ProjectOption, app, open_project
from wap.errors import ConfigError

_Principals = Annotated[
    list[str] | None, typer.Option(help="ARN of one, for a bucket policy; repeatable.")
]

_access = typer.Typer(no_args_is_help=True, help="Who may see what: rules and policies to install.")
_render = typer.Typer(no_args_is_help=True, help="Print them; nothing is changed anywhere.")
_access.add_typer(_render, name="render")
app.add_typer(_access, name="access")


@_render.command()
def nessie() -> None:
    """Nessie's properties: an engineer may do all, an auditor read all, a consumer read main."""
    print(nessie_rules(), end="")  # noqa: T201 - stdout is the product here


@_render.command()
def s3(
    project: ProjectOption = Path(),
    role: Annotated[
        Role | None, typer.Option(help="A policy to attach to a user or group of this role.")
    ] = None,
    consumer: _Principals = None,
    auditor: _Principals = None,
    engineer: _Principals = None,
) -> None:
    """A policy for the warehouse, as AWS writes it: of a role, or of the bucket for some ARNs."""
    warehouse = open_project(project).catalog.warehouse
    principals = {
        Role.CONSUMER: consumer or (), Role.AUDITOR: auditor or (), Role.ENGINEER: engineer or (),
    }  # fmt: skip
    if (role is None) != any(principals.values()):
        raise ConfigError("name a role, or ARNs for a bucket policy", hint="--role consumer")
    policy = identity_policy(warehouse, role) if role else bucket_policy(warehouse, principals)
    print(policy, end="")  # noqa: T201 - see above
