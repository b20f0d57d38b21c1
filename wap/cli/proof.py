"""Commands of auditors: verify, reaudit, audit. None changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import Counted, print_json, waiver_line
from wap.cli.show import grid_of
from wap.errors import ConfigError

if TYPE_CHECKING:
    from checks.contract import Contract
    from checks.report import CheckResult
    from wap.past import Looking
    from wap.ports import Ports
    from wap.project import Project
    from wap.proposed import Proposal
    from wap.reaudit import Reaudit, Told
    from wap.verifying import TableProof


@app.command()
def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; all by default.")] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Prove the whole of main: what is published without a passing audit, or has been changed?"""
    from catalog.refs import TableName  # noqa: PLC0415 - see the package's docstring
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.verifying import FORMAT, Records  # noqa: PLC0415 - see above
    from wap.verifying import verify as prove  # noqa: PLC0415 - see above

    opened = open_project(project)
    names = [TableName.parse(t) for t in tables or []]
    with open_ports(opened) as ports, Counted(messages, "seal") as counted:
        records = Records(ports.ledger, opened.reports)
        told = counted.told if messages.is_terminal else _silent
        proofs = prove(ports.catalog, records, names, told)
    ok = not any(p.unsealed for p in proofs)
    if as_json:
        found = [p.model_dump(mode="json") for p in proofs]
        print_json({"format": FORMAT, "ok": ok, "tables": found})
    else:
        _print_proofs(proofs)
    raise typer.Exit(0 if ok else 1)


def _silent(_table: str, _done: int, _of: int) -> None:
    """A line for each seal would drown what is found, where no line can be redrawn."""


def _print_proofs(proofs: Sequence[TableProof]) -> None:
    grid = grid_of(
        "", "table", "snapshots", "sealed", "history since", "not proved", "under a waiver"
    )
    for p in proofs:
        bad = "\n".join(
            f"{u.snapshot} ({u.operation}, {u.committed_at:%Y-%m-%d %H:%M}): {u.reason}"
            for u in p.unsealed
        )
        mark = Text("✘", "red") if p.unsealed else Text("✔", "green")
        since = f"{p.since:%Y-%m-%d %H:%M}" if p.since else "its beginning"
        waived = "\n".join(f"{w.snapshot}: {waiver_line(w.waiver)}" for w in p.waived)
        grid.add_row(
            mark, p.table, str(p.snapshots), str(p.sealed), since, Text(bad or "none"),
            Text(waived or "none"),
        )  # fmt: skip
    console.print(grid if proofs else "nothing is published yet")
    hints = {u.code: u.hint for p in proofs for u in p.unsealed}
    for code, hint in hints.items():
        console.print(Text(f"{code}: {hint}", "yellow"))
    for p in proofs:
        for note in p.notes:
            console.print(Text(f"{note.run_id}: {note.reason}; {note.hint}", "dim"))


@app.command()
def reaudit(
    run: Annotated[str, typer.Argument(help="The id of a published run.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Repeat the audit of a published run; it must come to the digest that was sealed."""
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.reaudit import reaudit as repeat  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    with open_ports(opened) as ports, messages.status(f"audit of {run}, once more"):
        found = repeat(looking_of(opened, ports), ports.ledger, run)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_reaudit(found)
    raise typer.Exit(0 if found.equal else 1)


def looking_of(project: Project, ports: Ports) -> Looking:
    """What looking at published runs again needs."""
    from wap.past import Looking  # noqa: PLC0415 - see the package's docstring
    from wap.worker import auditor_of  # noqa: PLC0415 - see above

    return Looking(ports.catalog, auditor_of(project), project.state / "tmp", project.audit.memory)


def _print_reaudit(found: Reaudit) -> None:
    mark = Text("✔ EQUAL", "bold green") if found.equal else Text("✘ DIFFERENT", "bold red")
    console.print(Text.assemble(mark, f"   {found.table}, run {found.run_id}"))
    grid = Table.grid(padding=(0, 2))
    grid.add_row("audited", str(found.audited))
    grid.add_row("sealed", found.sealed_digest)
    grid.add_row("again", found.digest)
    grid.add_row("checks", f"{found.checks} in {found.seconds:.2f} s")
    for one in found.differences:
        grid.add_row("differs", Text(one.check, "bold"))
        grid.add_row("", f"sealed: {_said(one.sealed)}")
        grid.add_row("", f"again:  {_said(one.again)}")
    for error in found.errors:
        grid.add_row("error", Text(error, "red"))
    for note in () if found.equal else found.notes:
        grid.add_row("note", Text(note, "yellow"))
    console.print(grid)


def _said(told: Told | None) -> str:
    if told is None:
        return "no such check"
    return f"{told.outcome}: {told.measured or 'nothing measured'} (expected {told.expected})"


@app.command()
def audit(
    contract: Annotated[
        list[Path], typer.Option(help="A contract file that is proposed; may be repeated.")
    ],
    target: Annotated[
        str | None, typer.Argument(help="Pipeline or table; by default what the contract names.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many published runs, newest first.")] = 30,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """What would a proposed contract have blocked? Runs it over what was published already."""
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.proposed import propose, table_of  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    contracts = [_contract(path) for path in contract]
    table = table_of(contracts)
    _check_target(opened, target, str(table))
    with open_ports(opened) as ports, Counted(messages, "audit") as counted:
        found = propose(
            looking_of(opened, ports),
            table,
            contracts,
            last=last,
            masked=opened.masked(str(table)),
            told=counted.told,
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_proposal(found)
    raise typer.Exit(1 if found.count("blocks") else 2 if found.count("unknown") else 0)


def _contract(path: Path) -> Contract:
    from checks.contract import parse_contract  # noqa: PLC0415 - see the package's docstring

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the contract cannot be read: {exc}", where=str(path)) from exc
    return parse_contract(text, str(path))


def _check_target(project: Project, target: str | None, table: str) -> None:
    """What was asked for and what the contract is about must be one table.

    Raises:
        ConfigError: they are not.
    """
    from wap.declared import declared  # noqa: PLC0415 - see the package's docstring

    if target is None or target == table:
        return
    asked = target if "." in target else declared(project, target).pipeline.table
    if asked != table:
        raise ConfigError(
            f"the contract is about {table}, not {asked}", where=target,
            hint=f"its dataset says so: wap/{table.replace('.', '/')}",
        )  # fmt: skip


def _print_proposal(found: Proposal) -> None:
    blocked, trials = found.count("blocks"), found.trials
    console.print(f"{found.table}: would have blocked {blocked} of {len(trials)} published runs")
    grid = grid_of("", "run", "published", "what it says")
    marks = {"passes": ("✔", "green"), "blocks": ("✘", "red"), "unknown": ("?", "yellow")}
    for trial in trials:
        lines = [f"{trial.verdict}"] if trial.verdict != "blocks" else []
        lines += [trial.reason] if trial.reason else []
        lines += [line for bad in trial.bad for line in _check_lines(bad)]
        grid.add_row(
            Text(*marks[trial.verdict]), trial.run_id, f"{trial.published_at:%Y-%m-%d %H:%M}",
            Text("\n".join(lines)),
        )  # fmt: skip
    console.print(grid)


def _check_lines(bad: CheckResult) -> list[str]:
    rows = [
        "    row: " + ", ".join(f"{k}={'null' if v is None else v}" for k, v in row.items())
        for row in bad.sample
    ]
    outcome = bad.outcome.value.replace("_", " ")
    said = f"{outcome}: {bad.title} [{bad.relation}]: {bad.measured or bad.message}"
    return [f"{said} (expected {bad.expected})", *rows]
