"""What is new: each file is loaded once, and a run reads what it planned or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from tests.unit.wap.sources.feeding import Project
from wap.errors import SourceChangedError, SourceError
from wap.sources.base import Cursor, Interval, Plan, Source


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


def paths(plan: Plan) -> list[str]:
    files = plan.work["files"]
    assert isinstance(files, list)
    return [str(f["path"]) for f in files if isinstance(f, dict)]


def load(source: Source, since: Cursor | None, *, everything: bool = False) -> Cursor:
    return source.advance(since, source.plan(since, everything=everything))


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_only_what_was_not_loaded_is_new(project: Project):
    project.put("in/a.csv", "id\n1\n")
    source = project.source("in/*.csv")
    first = source.plan(None, everything=False)
    assert paths(first) == ["in/a.csv"]
    assert (first.empty, first.bytes, first.summary) == (False, 5, "1 file, 5 B")
    cursor = source.advance(None, first)
    assert source.plan(cursor, everything=False).empty
    project.put("in/b.csv", "id\n2\n")
    second = source.plan(cursor, everything=False)
    assert paths(second) == ["in/b.csv"]
    assert source.plan(source.advance(cursor, second), everything=False).empty


def test_the_cursor_survives_json(project: Project):
    project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    cursor = load(source, None)
    again = Cursor.model_validate_json(cursor.model_dump_json())
    assert again == cursor
    assert source.plan(again, everything=False).empty


def test_the_same_input_has_the_same_digest(project: Project):
    path = project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    plan = source.plan(None, everything=False)
    assert source.plan(None, everything=False).digest == plan.digest
    assert source.plan(None, everything=True).digest != plan.digest
    interval = Interval(column="id", start="1", end="2")
    assert source.plan(None, everything=False, interval=interval).digest != plan.digest
    touch(path)
    assert source.plan(None, everything=False).digest != plan.digest


def test_a_loaded_file_that_changed_is_not_loaded_twice(project: Project):
    path = project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    cursor = load(source, None)
    touch(path)
    with pytest.raises(SourceChangedError) as caught:
        source.plan(cursor, everything=False)
    assert "a.csv" in str(caught.value)
    assert "write mode replace" in caught.value.hint


def test_a_replace_loads_everything_when_anything_differs(project: Project):
    project.put("in/a.csv", "id\n1\n")
    b = project.put("in/b.csv", "id\n2\n")
    source = project.source("in/*.csv")
    cursor = load(source, None, everything=True)
    assert source.plan(cursor, everything=True).empty
    touch(b)
    assert paths(source.plan(cursor, everything=True)) == ["in/a.csv", "in/b.csv"]
    b.unlink()
    plan = source.plan(cursor, everything=True)
    assert paths(plan) == ["in/a.csv"]
    assert source.plan(source.advance(cursor, plan), everything=True).empty


def test_done_tells_that_another_run_was_faster(project: Project):
    project.put("in/a.csv", "id\n1\n")
    source = project.source("in/*.csv")
    plan = source.plan(None, everything=False)
    assert not source.done(None, plan)
    other = load(source, None)
    assert source.done(other, plan)
    project.put("in/b.csv", "id\n2\n")
    both = source.plan(None, everything=False)
    assert source.done(other, both), "a.csv of this plan is loaded already"
    assert not source.done(other, source.plan(other, everything=False))


def test_an_interval_is_read_again_from_loaded_files_but_not_published_twice(project: Project):
    project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    cursor = load(source, None)
    interval = Interval(column="id", start="1", end="2")
    plan = source.plan(cursor, everything=False, interval=interval)
    assert paths(plan) == ["a.csv"]
    assert not plan.empty
    assert not source.done(cursor, plan)
    after = source.advance(cursor, plan)
    assert source.done(after, plan)
    assert source.plan(after, everything=False, interval=interval).empty
    assert source.plan(after, everything=False).empty, "the files stay loaded"


def test_an_overlapping_interval_makes_the_first_one_new_again(project: Project):
    project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    cursor: Cursor | None = None
    one, two = (Interval(column="id", start=s, end=e) for s, e in (("1", "3"), ("2", "4")))
    for interval in (one, two):
        cursor = source.advance(cursor, source.plan(cursor, everything=False, interval=interval))
    assert not source.plan(cursor, everything=False, interval=one).empty
    assert source.plan(cursor, everything=False, interval=two).empty


def test_a_file_that_changed_since_it_was_planned_is_not_read(project: Project):
    path = project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    plan = source.plan(None, everything=False)
    touch(path)
    with pytest.raises(SourceChangedError, match="not as it was") as caught:
        source.schema(plan)
    assert caught.value.where == "a.csv"


def test_a_file_that_changes_while_it_is_read_ends_the_run(project: Project):
    path = project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    plan = source.plan(None, everything=False)
    with source.open(plan, pa.schema([("id", pa.int64())])) as extract:
        list(extract.batches())
        touch(path)
        with pytest.raises(SourceChangedError, match="while it was read") as caught:
            extract.finish()
    assert caught.value.where == "a.csv"


def test_a_file_that_goes_away_ends_the_run(project: Project):
    path = project.put("in/a.csv", "id\n1\n")
    project.put("in/b.csv", "id\n1\n")
    source = project.source("in/*.csv")
    plan = source.plan(None, everything=False)
    path.unlink()
    with pytest.raises(SourceChangedError, match="not as it was"):
        source.schema(plan)


def test_a_cursor_of_a_newer_version_is_not_guessed_at(project: Project):
    project.put("a.csv", "id\n1\n")
    newer = Cursor(kind="files", version=2, state={})
    with pytest.raises(SourceError, match="version 2"):
        project.source("a.csv").plan(newer, everything=False)


@pytest.mark.parametrize("path", ["/etc/hostname", "../out.csv", "in/../../out.csv", "link.csv"])
def test_a_path_that_leaves_the_project_is_refused(project: Project, path: str):
    outside = project.root.parent / "out.csv"
    outside.write_text("id\n1\n")
    (project.root / "in").mkdir()
    (project.root / "link.csv").symlink_to(outside)
    with pytest.raises(SourceError, match="out of the project"):
        project.source(path).plan(None, everything=False)


def test_a_glob_does_not_follow_a_link_out_of_the_project(project: Project):
    outside = project.root.parent / "out.csv"
    outside.write_text("id\n1\n")
    (project.root / "link.csv").symlink_to(outside)
    with pytest.raises(SourceError, match="out of the project"):
        project.source("*.csv").plan(None, everything=False)


def test_urls_that_differ_in_their_secret_part_only_are_not_mixed_up(project: Project):
    urls = ["memory://one/in.csv?key=1", "memory://one/in.csv?key=2"]
    files = fsspec.filesystem("memory")
    for url in urls:
        files.pipe(url.removeprefix("memory:/"), b"id\n1\n")
    with pytest.raises(SourceError, match="told apart") as caught:
        project.source(urls).plan(None, everything=False)
    assert "key" not in str(caught.value)
    plan = project.source(urls[0]).plan(None, everything=False)
    assert paths(plan) == ["memory://one/in.csv"]


def test_the_user_may_name_a_file_anywhere(project: Project):
    outside = project.root.parent / "out.csv"
    outside.write_text("id\n7\n")
    source = project.source("in/*.csv", inputs=[str(outside)])
    plan = source.plan(None, everything=False)
    assert paths(plan) == [str(outside)]
    assert source.plan(source.advance(None, plan), everything=False).empty


def test_but_not_by_a_relative_path_that_leaves(project: Project):
    (project.root.parent / "out.csv").write_text("id\n7\n")
    with pytest.raises(SourceError, match="out of the project"):
        project.source("in/*.csv", inputs=["../out.csv"]).plan(None, everything=False)
