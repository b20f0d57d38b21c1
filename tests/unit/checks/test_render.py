"""One report, five faces: whole, harmless, and in place in one move."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from checks.errors import ReportError
from checks.masking import MASK
from checks.render import (
    Aside,
    MemberStory,
    Seen,
    Story,
    Waived,
    read_report,
    render_text,
    write_report,
)
from checks.report import CheckResult, ContractRef, Outcome, Report

FACES = ("report.json", "report.html", "report.md", "junit.xml")
EVIL = '<script>alert("x")</script>|`a`\x1b[31m\u202e&'


@pytest.fixture
def build(make_result, now):
    def report(*results: CheckResult, **changes: object) -> Report:
        results = results or (make_result("c.yml:checks.a"),)
        facts = {
            "run_id": "r1", "table": "sales.orders", "snapshot_id": 2**62, "expected": 3,
            "contracts": (ContractRef(path="c.yml", digest="ab" * 32),),
            "declared": frozenset(r.name for r in results), "results": results,
            "started_at": now, "seconds": 1.0,
        }  # fmt: skip
        return Report.model_validate({**facts, **changes})

    return report


def story(now: datetime, **changes: object) -> Story:
    facts = {
        "pipeline": "orders", "run_id": "r1", "table": "sales.orders", "ending": "published",
        "rows": {"read": 5, "staged": 4, "quarantined": 1, "deduplicated": 0, "discarded": 0,
                 "published": 4},
        "before": Seen(1, 10), "after": Seen(2**62, 14), "inputs": (("in/a.csv", 2048),),
        "steps": (("extract", 1.5), ("audit", 0.25)), "owners": ("data-eng",),
        "started_at": now, "seconds": 2.5,
    }  # fmt: skip
    return Story.model_validate({**facts, **changes})


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: Path) -> Page:
    page = Page()
    page.feed((folder / "report.html").read_text("utf-8"))
    assert page.open == []
    return page


def test_four_files_and_nothing_else(tmp_path, build, now):
    path = write_report(tmp_path / "r1", build(), story(now))
    assert path == tmp_path / "r1" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(FACES)


def test_json_reads_back_and_proves_itself(tmp_path, build, now):
    report, told = build(), story(now)
    write_report(tmp_path, report, told)
    assert read_report(tmp_path) == (report, told)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text).keys() == {"format", "run", "audit"}
    (tmp_path / "report.json").write_text(text.replace('"measured": "0 of', '"measured": "9 of'))
    with pytest.raises(ReportError, match="digest"):
        read_report(tmp_path)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"run": {}, "audit": null}'])
def test_a_folder_without_a_report_says_so(tmp_path, text):
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=r"report\.json"):
        read_report(tmp_path)


def test_writing_again_replaces_every_file(tmp_path, build, now, make_result):
    write_report(tmp_path, None, story(now, ending="rolled_back", reason="the disk was full"))
    first = {name: (tmp_path / name).read_bytes() for name in FACES}
    write_report(tmp_path, build(), story(now))
    assert all((tmp_path / name).read_bytes() != content for name, content in first.items())


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path, build, now):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written"):
        write_report(tmp_path / "file" / "r1", build(), story(now))


def test_the_page_needs_nothing_beside_itself(tmp_path, build, now):
    write_report(tmp_path, build(), story(now))
    page = page_of(tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(tags)
    assert not [a for _, attrs in page.tags for a in attrs if a in ("src", "href", "style", "on")]
    html = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?://|url\(|@import", html)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_what_an_auditor_looks_for_is_on_the_page(tmp_path, build, now, make_result):
    bad = make_result(
        "c.yml:checks.b", Outcome.FAILED, title="email is filled in", measured="3 of 12 rows",
        failing_rows=3, tested_rows=12, sample=({"id": "17", "email": None},),
    )  # fmt: skip
    report = build(make_result("c.yml:checks.a"), bad)
    write_report(tmp_path, report, story(now, ending="rejected", after=Seen(1, 10), reason="no"))
    text = " ".join(page_of(tmp_path).text.split())
    for words in (
        "Rejected", "The audit did not pass. 2 checks: 1 failed, 1 passed.", str(2**62),
        "email is filled in", "no missing value", "3 of 12 rows", "17", "null", "c.yml",
        "ab" * 32, report.digest, "nothing changed for any reader", "10 rows", "in/a.csv",
        "2.0 KiB", "every one is accounted for", "1.5 s", "250 ms", "data-eng",
    ):  # fmt: skip
        assert words in text, words


def test_the_bar_shows_the_failing_share(tmp_path, build, now, make_result):
    bad = make_result("c.yml:b", Outcome.FAILED, failing_rows=1, tested_rows=4)
    write_report(tmp_path, build(bad), story(now))
    widths = [a["width"] for _, a in page_of(tmp_path).tags if a.get("class") == "fill-failed"]
    assert widths == ["250.00"]


def test_books_that_do_not_balance_are_said_not_to(tmp_path, build, now):
    write_report(tmp_path, build(), story(now, rows={"read": 5, "staged": 4}))
    assert "the books do not balance" in page_of(tmp_path).text


@pytest.mark.parametrize("ending", ["published", "rejected", "rolled_back", "held", "unheard of"])
@pytest.mark.parametrize("with_report", [True, False])
def test_every_ending_with_and_without_an_audit(tmp_path, build, now, ending, with_report):
    report = build() if with_report else None
    write_report(tmp_path, report, story(now, ending=ending, before=Seen(), after=Seen(), rows={}))
    page_of(tmp_path)
    assert render_text(tmp_path)


def waived(now: datetime, **changes: object) -> Waived:
    facts = {
        "run_id": "r0", "checks": ("c.yml:checks.a",), "person": "ann",
        "reason": "mended by Friday", "at": now, "until": now + timedelta(days=30),
    }  # fmt: skip
    return Waived.model_validate({**facts, **changes})


@pytest.mark.parametrize("name", ["report.html", "report.md", "report.json", "text"])
def test_a_waiver_is_told_in_every_face(tmp_path, build, make_result, now, name):
    write_report(tmp_path, build(), story(now, waivers=(waived(now),)))
    told = render_text(tmp_path) if name == "text" else (tmp_path / name).read_text()
    for part in ("r0", "ann", "mended by Friday", "2026-02-01", "c.yml:checks"):
        assert part in told, part


@pytest.mark.parametrize("name", ["report.html", "report.md", "text"])
def test_what_a_person_answered_for_does_not_look_like_what_passed(
    tmp_path, build, make_result, now, name
):
    failed = build(make_result("c.yml:checks.a", Outcome.FAILED))
    write_report(tmp_path, failed, story(now, waivers=(waived(now),)))
    told = render_text(tmp_path) if name == "text" else (tmp_path / name).read_text()
    assert "Published under a waiver" in told
    assert "exactly the data that was audited" not in told
    if name == "report.html":
        assert '<section class="verdict waived"' in told


@pytest.mark.parametrize("name", ["report.html", "report.md", "text"])
def test_a_held_run_says_how_it_is_decided(tmp_path, build, make_result, now, name):
    failed = build(make_result("c.yml:checks.a", Outcome.FAILED))
    write_report(tmp_path, failed, story(now, ending="held", held_until=now + timedelta(days=3)))
    told = render_text(tmp_path) if name == "text" else (tmp_path / name).read_text()
    for part in ("Held", "2026-01-05", "wap approve r1", "wap reject r1"):
        assert part in told, part


def test_a_masked_value_is_masked_in_a_waivers_reason(tmp_path, build, now):
    quoted = waived(now, reason="orders.csv, line 2, id: 'secret' is right")
    write_report(tmp_path, build(masked=frozenset({"id"})), story(now, waivers=(quoted,)))
    for name in FACES:
        assert "secret" not in (tmp_path / name).read_text()


def evil_parts(build, make_result, now) -> tuple[Report, Story]:
    result = make_result(
        f"c.yml:{EVIL}", Outcome.FAILED, title=EVIL, expected=EVIL, measured=EVIL, message=EVIL,
        column=EVIL, relation=EVIL, sample=({EVIL: EVIL},), failing_rows=1, tested_rows=2,
    )  # fmt: skip
    report = build(
        result, errors=(EVIL,), masked=frozenset({EVIL[:5]}), columns=((EVIL, "string"),),
        contracts=(ContractRef(path=EVIL, digest=EVIL),),
    )  # fmt: skip
    told = story(
        now, pipeline=EVIL, table=EVIL, run_id=EVIL, reason=EVIL, owners=(EVIL,), contact=EVIL,
        warnings=(EVIL,), inputs=((EVIL, None),), steps=((EVIL, 1.0),), rejects=((EVIL, 3, EVIL),),
        waivers=(waived(now, run_id=EVIL, checks=(EVIL,), person=EVIL, reason=EVIL),),
        held_until=now,
    )  # fmt: skip
    return report, told


def test_no_value_becomes_markup(tmp_path, build, make_result, now):
    write_report(tmp_path, *evil_parts(build, make_result, now))
    page = page_of(tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count('<script>alert("x")</script>') > 10
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert not re.search(r"(?<!\\)<script", markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {2, 3, 4, 6, 7}


def test_no_face_holds_characters_that_deceive(tmp_path, build, make_result, now):
    """Neither a terminal's escape codes nor marks that turn the direction of the text."""
    write_report(tmp_path, *evil_parts(build, make_result, now))
    shown = [(tmp_path / n).read_text("utf-8") for n in FACES if n != "report.json"]
    for text in (*shown, render_text(tmp_path)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\u202e" in text.replace("\\\\", "\\")


def test_junit_is_xml_that_counts_right(tmp_path, build, make_result, now):
    results = [make_result(f"c.yml:{o.value}", o) for o in Outcome]
    write_report(tmp_path, build(*results, errors=("odd \x00",)), story(now))
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "1", "2")
    assert len(suite.findall("testcase")) == 5


def test_junit_tells_what_was_set_aside_and_by_which_checks(tmp_path, build, now):
    checks = (("No <order> is free", 2), ("Somebody ordered it", 1))
    aside = Aside(table="sales.orders__quarantine", rows=2, checks=checks)
    write_report(tmp_path, build(), story(now, aside=aside))
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures")) == ("3", "0")
    cases = suite.findall("testcase[@classname='sales.orders__quarantine']")
    assert [(c.get("name"), c.findtext("system-out")) for c in cases] == [
        ("set aside: No <order> is free", "warning: 2 rows that broke it were set aside"),
        ("set aside: Somebody ordered it", "warning: 1 row that broke it was set aside"),
    ]
    told = suite.find("properties/property[@name='quarantine']")
    assert told is not None
    assert told.get("value") == "2 rows in sales.orders__quarantine"


def test_a_run_without_an_audit_is_no_green_junit(tmp_path, now):
    write_report(tmp_path, None, story(now, ending="rolled_back", reason="the disk was full"))
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_masked_values_in_the_story_are_hidden_in_every_face(tmp_path, build, now):
    told = story(
        now, ending="rejected", reason="column 'email': 'ann@example.org' is no number",
        rejects=(("a.csv", 3, "email 'ann@example.org' is no number"),),
        warnings=("email «ann@example.org» odd",),
    )  # fmt: skip
    write_report(tmp_path, build(masked=frozenset({"email"})), told)
    for name in FACES:
        text = (tmp_path / name).read_text("utf-8")
        assert "ann@example.org" not in text, name
    assert MASK in (tmp_path / "report.html").read_text("utf-8")


def test_text_puts_first_what_needs_a_person(build, make_result):
    results = [make_result(f"c.yml:{o.value}", o, title=f"is {o.value}") for o in Outcome]
    text = render_text(build(*results))
    order = [text.index(f"is {o}") for o in ("failed", "not_evaluated", "warned", "passed")]
    assert order == sorted(order)
    assert text.startswith("The audit did not pass. 4 checks: 1 failed, 1 not evaluated")


def test_no_audit_is_said_in_words():
    assert render_text(None) == "No audit was made.\n"


@pytest.mark.parametrize(
    ("ending", "endings", "told"),
    [
        ("published", ("published", "published"), "2 of 2 tables published in one step; no check"),
        (
            "published",
            ("published", "nothing_new", "nothing_new"),
            "1 of 3 tables published in one step, 2 had nothing new; no check",
        ),
        ("rejected", ("rejected", "rejected"), "None of 2 tables was published; no check"),
    ],
)
def test_a_groups_headline_counts_who_moved_and_who_had_nothing_new(
    now, tmp_path, ending, endings, told
):
    members = tuple(
        MemberStory(run_id=f"r.{place}", table=f"sales.t{place}", ending=one)
        for place, one in enumerate(endings)
    )
    page = write_report(tmp_path, None, story(now, ending=ending, members=members))
    for face in (page.read_text(), (tmp_path / "report.md").read_text(), render_text(tmp_path)):
        assert told in face
