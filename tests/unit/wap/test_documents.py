"""Small files by name: each is there whole or not at all, whoever writes it at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import ClassVar

from wap.documents import LocalDocuments


class Interrupted(PosixPath):
    """A path where a writer stands still before its file takes the document's place."""

    meanwhile: ClassVar[list[Callable[[], None]]] = []

    def replace(self, target: str | Path) -> Path:
        if self.meanwhile:
            self.meanwhile.pop()()
        return super().replace(target)


def test_two_attempts_in_one_process_write_into_no_document_of_each_other(tmp_path):
    """The second one writes the same document while the first stands still; both come through."""
    documents = LocalDocuments(Interrupted(tmp_path))
    seen: list[bytes] = []

    def second() -> None:
        documents.write("books-0.json", b"the second's, which is longer")
        seen.append(documents.read("books-0.json"))

    Interrupted.meanwhile.append(second)
    documents.write("books-0.json", b"the first's")
    assert seen == [b"the second's, which is longer"]
    assert documents.read("books-0.json") == b"the first's"
    assert [path.name for path in tmp_path.iterdir()] == ["books-0.json"]


def test_a_document_that_is_half_written_is_none(tmp_path):
    """Killed before it took its place, a file is nobody's document."""
    documents = LocalDocuments(Interrupted(tmp_path))
    documents.write("books-0.json", b"first")
    seen: list[list[str]] = []
    Interrupted.meanwhile.append(lambda: seen.append(documents.names()))
    documents.write("books-1.json", b"second")
    assert seen == [["books-0.json"]]
    assert documents.names() == ["books-0.json", "books-1.json"]
