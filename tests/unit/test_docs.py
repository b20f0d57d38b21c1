"""The documents are held true: what they name exists, and what exists is named."""

from __future__ import annotations

import ast
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement

import catalog.errors
import checks.errors
import wap.errors
from catalog.refs import Branch, BranchState, TableName
from checks.contract import parse_contract
from wap import failures
from wap.cli import commands
from wap.cli.app import app
from wap.cli.entry import _call
from wap.cli.live import result_json
from wap.cli.show import _branch_json
from wap.diff import TableDiff
from wap.doctor import Finding
from wap.drill import crash
from wap.drill.model import Drill
from wap.maintenance import Upkeep
from wap.model import Build, Ending, ExitCode, RunResult
from wap.pipeline import parse_pipeline
from wap.proposed import Proposal
from wap.reaudit import Reaudit
from wap.settings import Settings
from wap.status import Overview
from wap.verifying import FORMAT, TableProof
from wap.versions import VersionInfo

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
ERRORS = ROOT / "docs" / "errors.md"
BASES = (catalog.errors.CatalogError, checks.errors.ChecksError, wap.errors.WapError)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))


def code(text: str) -> Iterator[str]:
    """Lines of code blocks, and what stands between backticks elsewhere."""
    for block in FENCE.finditer(text):
        yield from block[2].replace("\\\n", " ").splitlines()
    for span in re.findall(r"``?([^`]+)``?", FENCE.sub("", text)):
        yield " ".join(span.split())


def rows(text: str) -> list[list[str]]:
    """Cells of the body rows of all tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    bodies = [line for line in lines if not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in bodies]


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


# --- commands -----------------------------------------------------------------------------------


@functools.cache
def options() -> dict[str, set[str]]:
    """Options by command."""
    assert commands.__all__
    group: Any = typer.main.get_command(app)
    return {
        name: {"--help", *(o for c in _commands(command) for p in c.params for o in p.opts)}
        for name, command in group.commands.items()
    }


def _commands(command: Any) -> list[Any]:
    """A command, or those of a group and of the groups in it."""
    inner = getattr(command, "commands", {}).values()
    return [found for one in inner for found in _commands(one)] or [command]


def calls(line: str) -> Iterator[tuple[str, str]]:
    """Commands of ours on a line of code, each with what follows it."""
    line = line.partition("#")[0]
    pattern = r"(?<![\w./-])wap ([a-z][a-z-]*)|run_workflow\.py(?!:)"
    found = list(re.finditer(pattern, line))
    ends = [*(m.start() for m in found[1:]), len(line)]
    for match, end in zip(found, ends, strict=False):
        yield match[1] or "run", line[match.end() : end]


@every_document
def test_commands_and_their_options_exist(path):
    for line in code(path.read_text()):
        for name, rest in calls(line):
            assert name in options(), line
            assert set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) <= options()[name], line


@every_document
def test_options_that_stand_alone_exist(path):
    known = set().union(*options().values())
    for line in code(path.read_text()):
        assert not line.startswith("--") or line.split()[0] in known, line


def test_every_command_is_shown_somewhere():
    shown = {n for p in DOCUMENTS for line in code(p.read_text()) for n, _ in calls(line)}
    assert shown == set(options())


@every_document
def test_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [t for line in code(path.read_text()) for t in re.findall(r"^make ([a-z]+)", line)]
    assert set(named) <= targets


# --- links, paths, variables --------------------------------------------------------------------


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text())
    return {slug(h) for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@every_document
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text())):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(found), target


@every_document
def test_files_of_the_repository_that_are_named_exist(path):
    inside = r"(?:wap|catalog|checks|tests|docs|examples|locks)/[\w./-]*"
    for line in code(path.read_text()):
        for name in re.findall(rf"(?<![\w./-])({inside}\.(?:py|md|json|yml|txt|sh))\b", line):
            assert (ROOT / name).exists(), name


@every_document
def test_variables_are_settings(path):
    known = {"WAP_PROJECT", crash.VARIABLE}
    for name in set(re.findall(r"\bWAP_[A-Z0-9_]*[A-Z0-9]", path.read_text())) - known:
        section_, _, key = name.removeprefix("WAP_").lower().partition("__")
        fields = Settings.model_fields[section_].annotation
        assert key.partition("__")[0] in fields.written_keys(), name  # type: ignore[union-attr]


@every_document
def test_nothing_of_one_machine_is_named(path):
    assert not re.search(r"/work\b|/home/|/root/|[a-z]+\.internal\b", path.read_text())


# --- errors -------------------------------------------------------------------------------------


def classes() -> list[type[Exception]]:
    modules = (catalog.errors, checks.errors, wap.errors)
    found = [v for m in modules for v in vars(m).values() if isinstance(v, type)]
    return [c for c in found if issubclass(c, BASES)]


def documented() -> dict[str, list[str]]:
    body = section(ERRORS.read_text(), "What each one means")
    return {cells[0]: cells[1:] for cells in rows(body) if cells[0].endswith("Error")}


def tree() -> set[tuple[str, str]]:
    """Pairs of class and base, read from the indentation of the drawing."""
    parents: list[str] = []
    pairs = set()
    for line in FENCE.findall(section(ERRORS.read_text(), "The tree"))[0][1].splitlines():
        name = re.search(r"\w+", line)
        assert name
        depth = name.start() // 4
        parents[depth:] = [name[0]]
        if depth:
            pairs.add((name[0], parents[depth - 1]))
    return pairs


def test_every_error_has_its_meaning():
    assert set(documented()) == {c.__name__ for c in classes()}


def test_the_tree_is_as_drawn():
    assert tree() == {(c.__name__, c.__base__.__name__) for c in classes()}  # type: ignore[union-attr]


def test_what_is_tried_again_is_marked():
    marked = re.findall(r"(\w+Error) +tried again", ERRORS.read_text())
    assert set(marked) == failures.RETRIED


def raised(cls: type[Exception]) -> int:
    """Exit code of a door through which it is raised."""

    def door() -> None:
        raise FIELDS[cls]() if cls in FIELDS else cls("x")

    return _call(door)


class HeadMoved(catalog.errors.HeadMovedError):
    def __init__(self) -> None:
        super().__init__(table="a.b", ref="main", expected=1, found=2)


class VersionMoved(wap.errors.VersionMovedError):
    def __init__(self) -> None:
        super().__init__("p", expected=1, found=None)


#: Errors that are built from fields.
FIELDS: dict[type[Exception], Callable[[], Exception]] = {
    catalog.errors.HeadMovedError: HeadMoved,
    wap.errors.VersionMovedError: VersionMoved,
}


@pytest.mark.parametrize("cls", classes(), ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_exit_codes_are_as_documented(cls):
    stated = documented()[cls.__name__][1]
    name = cls.__name__
    result = RunResult(
        run_id="r", pipeline="p", table="n.t", ending=Ending.ROLLED_BACK, error_type=name
    )
    never_ends_a_run = {"RebaseRefusedError", "LineageError", "LineageUnavailableError"}
    if name in never_ends_a_run:
        assert not stated
    elif name == "BatchRefusedError":
        assert int(stated) == ExitCode.REJECTED
    else:
        assert int(stated) == min(result.exit_code, raised(cls))


def test_every_exit_code_is_explained():
    explained = {cells[0] for cells in rows(section(ERRORS.read_text(), "Exit codes"))[1:]}
    assert explained == {*(str(int(c)) for c in ExitCode), "130"}


@functools.cache
def texts() -> tuple[str, ...]:
    """Every text in the sources; what varies in it is ``…``."""
    found = []
    for package in ("wap", "catalog", "checks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return tuple(found)


def test_messages_are_those_of_the_program():
    body = section(ERRORS.read_text(), "Messages people meet")
    messages = [cells[0] for cells in rows(body)][1:]
    assert len(messages) > 20
    for message in messages:
        assert any(message in text for text in texts()), message


# --- JSON ---------------------------------------------------------------------------------------


def samples() -> dict[str, Any]:
    text = (ROOT / "docs" / "json.md").read_text()
    found = re.findall(r"<!-- sample: (\w+) -->\n```json\n(.*?)```", text, re.DOTALL)
    return {name: json.loads(body) for name, body in found}


def shape(value: Any) -> Any:
    """The keys of a document, values left out; of a list that of its first."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def test_every_kind_of_document_has_a_sample():
    with_json = {name for name, known in options().items() if "--json" in known}
    assert set(samples()) == with_json - {"report"}


@pytest.mark.parametrize("name", ["run", "compact", "replay"])
def test_run_sample_is_what_a_run_prints(name):
    result = RunResult(run_id="r", pipeline="p", table="n.t", ending=Ending.PUBLISHED)
    assert shape(samples()[name]) == shape(result_json(result))


def test_branches_sample_is_what_is_printed():
    state = BranchState(Branch.of_run("r"), TableName.parse("n.t"), 1, None, None, None)
    assert shape(samples()["branches"]) == shape([_branch_json(state)])


def test_status_sample_is_an_overview():
    sample = samples()["status"]
    assert shape(Overview.model_validate(sample).model_dump(mode="json")) == shape(sample)


def test_verify_sample_holds_proofs():
    sample = samples()["verify"]
    proofs = [TableProof.model_validate(t).model_dump(mode="json") for t in sample["tables"]]
    assert sample["format"] == FORMAT
    assert shape({"format": FORMAT, "ok": False, "tables": proofs}) == shape(sample)


@pytest.mark.parametrize(("name", "model"), [("audit", Proposal), ("reaudit", Reaudit)])
def test_samples_of_one_document_each(name, model):
    sample = samples()[name]
    assert shape(model.model_validate(sample).model_dump(mode="json")) == shape(sample)


def test_drill_sample_is_a_drill():
    sample = samples()["drill"]
    found = Drill.model_validate({k: v for k, v in sample.items() if k != "ok"})
    assert shape({**found.model_dump(mode="json"), "ok": found.ok}) == shape(sample)
    assert sample["ok"] is found.ok


def test_maintain_sample_is_an_upkeep():
    sample = samples()["maintain"]
    assert shape(Upkeep.model_validate(sample).model_dump(mode="json")) == shape(sample)


@pytest.mark.parametrize(
    ("name", "model"),
    [("deploy", Build), ("diff", TableDiff), ("doctor", Finding), ("pipelines", VersionInfo)],
)
def test_samples_of_one_model_each(name, model):
    sample = samples()[name]
    assert shape([model.model_validate(d).model_dump(mode="json") for d in sample]) == shape(sample)


# --- README, dependencies -----------------------------------------------------------------------


def test_readme_explains_a_pipeline_and_a_contract_that_are_valid():
    blocks = [b for kind, b in FENCE.findall((ROOT / "README.md").read_text()) if kind == "yaml"]
    pipeline, _ = parse_pipeline(blocks[0], "flights", "README.md")
    assert pipeline.table == "nyc.flights"
    assert len(parse_contract(blocks[1], "README.md").rules) == 6


def test_readme_can_be_read_in_one_sitting():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = [*project["project"]["dependencies"]]
    listed += [r for e in project["project"]["optional-dependencies"].values() for r in e]
    listed += [r for g in project["dependency-groups"].values() for r in g if isinstance(r, str)]
    return {Requirement(r).name for r in listed}


def test_every_dependency_has_its_reason_and_no_other_is_listed():
    text = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    lines = {cells[0]: cells[1:] for cells in rows(text) if cells[0] != "package"}
    assert set(lines) == declared()
    assert all(len(cells) == 3 and all(cells) for cells in lines.values())


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "decisions"
    index = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert index == {p.name for p in folder.glob("[0-9]*.md")}
