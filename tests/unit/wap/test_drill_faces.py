"""A drill's faces: every value of data is escaped, and what is wrong is on them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from checks.errors import ReportError
from wap.drill.faces import html_of, markdown_of, write_face
from wap.drill.model import Boundary, CrashDrill, Drill, GateDrill, Spoiled
from wap.errors import ConfigError

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = '<script>alert("x")</script> | [a](b) `c`'


def kills(*boundaries: Boundary) -> Drill:
    return Drill(
        pipeline="orders",
        table="shop.orders",
        crash=CrashDrill(
            rows=50, seconds=4.1, heartbeat_seconds=10, boundaries=boundaries, notes=(HOSTILE,)
        ),
    )


GOOD = Boundary(
    scenario="quarantined", step="quarantine", when="after", ending="published", published=1,
    rows=44, aside=6, seconds=3.25, ok=True,
)  # fmt: skip
BAD = Boundary(
    scenario="published", step="stage", when="before", ending="published", published=2, rows=100,
    files=3, folders=1, seconds=9, ok=False, said=HOSTILE,
)  # fmt: skip
GATE = Drill(
    pipeline="orders",
    table="shop.orders",
    gate=GateDrill(
        run_id="orders-1", snapshot=7, rows=200, checks=4,
        spoilings=(
            Spoiled(name="nulls", column=HOSTILE, said="half are null", rows=100,
                    hint="missing: on the column"),
            Spoiled(name="empty", column=None, said="no row comes", rows=200, caught=("c:r",)),
        ),
        failing=("c:failing",), idle=("c:idle",),
    ),
)  # fmt: skip


@pytest.mark.parametrize("drill", [kills(GOOD, BAD), GATE], ids=["kills", "gate"])
def test_what_comes_from_data_is_text_on_both_faces(drill):
    page, text = html_of(drill, AT), markdown_of(drill, AT)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in text
    assert "\\<script\\>" in text
    assert "\\[a\\](b) \\`c\\`" in text


def test_the_kills_are_told_with_what_is_wrong():
    page, text = html_of(kills(GOOD, BAD), AT), markdown_of(kills(GOOD, BAD), AT)
    for face in (page, text):
        assert "1 of 2 kills did not end as they must" in face
        assert "44 + 6 aside" in face
        assert "2 times" in face
        assert "3 files, 1 folders" in face
        assert "2026-01-02 03:04:05 UTC" in face
    assert text.startswith("# ✕ Drill of shop.orders\n")
    assert 'class="verdict rejected"' in page


def test_a_drill_without_a_fault_says_so():
    assert "All 1 kills ended as they must" in markdown_of(kills(GOOD), AT)
    assert 'class="verdict published"' in html_of(kills(GOOD), AT)


def test_the_gate_tells_who_noticed_and_what_caught_nothing():
    for face in (html_of(GATE, AT), markdown_of(GATE, AT)):
        assert "1 of 2 spoilings missed, 0 only warned of" in face
        assert "nobody noticed; would catch it: missing: on the column" in face
        assert "c:failing" in face
        assert "c:idle" in face


@pytest.mark.parametrize("name", ["drill.html", "deep/drill.md"])
def test_the_file_is_written_as_its_name_says(tmp_path, name):
    write_face(tmp_path / name, GATE, AT)
    text = (tmp_path / name).read_text()
    assert text.startswith("<!doctype html>" if name.endswith("html") else "# ✕")
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [name.rpartition("/")[2]]


def test_another_name_is_refused_and_so_is_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="HTML or Markdown"):
        write_face(tmp_path / "drill.pdf", GATE, AT)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError):
        write_face(tmp_path / "file" / "drill.md", GATE, AT)
