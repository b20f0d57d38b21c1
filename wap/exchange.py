"""Between files and versions: proved drafts of files, files of versions, differences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from wap.declared import Proved, prove
from wap.errors import ConfigError
from wap.located import read_text
from wap.paths import inside
from wap.pipeline import parse_pipeline
from wap.versions import ContractText, Version, make_draft

_ENDINGS = (".yml", ".yaml")


def prove_file(file: Path, root: Path) -> Proved:
    """A pipeline's file with the contracts it names, proved.

    Args:
        root: the folder that the paths of contracts are relative to.

    Raises:
        ConfigError, ContractError: a file is missing or not valid, with file and line.
    """
    shown = f"{file.parent.name}/{file.name}" if file.parent.name else file.name
    if file.suffix not in _ENDINGS:
        raise ConfigError("a pipeline's file ends in .yml", where=shown)
    text = read_text(file, shown)
    pipeline, document = parse_pipeline(text, file.stem, shown)
    contracts = [
        ContractText(path=path, text=read_text(inside(root, path, where=where), where))
        for path, where in (
            (path, document.where(("contracts", index)))
            for index, path in enumerate(pipeline.contracts)
        )
    ]
    return prove(make_draft(file.stem, text, contracts, shown), shown)


def prove_files(root: Path) -> list[Proved]:
    """Every pipeline's file of a project, proved.

    Raises:
        ConfigError, ContractError: one of them is not valid, or there is none.
    """
    folder = root / "pipelines"
    files = sorted(f for e in _ENDINGS for f in folder.glob(f"[!.]*{e}"))
    if not files:
        raise ConfigError("there is no pipeline's file", where=str(folder))
    return [prove_file(file, root) for file in files]


def export(versions: Sequence[Version], folder: Path) -> list[Path]:
    """Write versions as the files of a project; those that say the same are left alone.

    Raises:
        ConfigError: a file is there with another text, or two versions want one file; then
            nothing is written.
    """
    texts: dict[Path, str] = {}
    for version in versions:
        for path, text in _files(version):
            target = inside(folder, path, where=version.shown)
            if texts.setdefault(target, text) != text:
                raise ConfigError(
                    f"two pipelines have a contract {path!r} of different texts",
                    where=version.shown,
                    hint="export them into two folders",
                )
    for target, text in texts.items():
        if target.exists() and target.read_bytes() != text.encode():
            raise ConfigError(
                "the file is there with another text",
                where=str(target),
                hint="export into an empty folder, and compare",
            )
    for target, text in texts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())
    return list(texts)


def difference(old: Version, new: Version) -> str:
    """The unified difference of all texts of two versions; "" when they say the same."""
    before, after = dict(_files(old)), dict(_files(new))
    parts = [
        _difference(before.get(path, ""), after.get(path, ""), path, old.version, new.version)
        for path in sorted({*before, *after})
    ]
    return "".join(parts)


def _files(version: Version) -> Iterable[tuple[str, str]]:
    """Path and text of what a project of files would hold."""
    if not version.deleted:
        yield f"pipelines/{version.name}.yml", version.pipeline
        for contract in version.contracts:
            yield contract.path, contract.text


def _difference(before: str, after: str, path: str, old: int, new: int) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(),
        f"{path} (version {old})", f"{path} (version {new})", lineterm="",
    )  # fmt: skip
    return "".join(f"{line}\n" for line in lines)
