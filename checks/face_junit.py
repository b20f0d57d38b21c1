"""The report's face as JUnit XML, for CI systems: one test case a check."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from checks.report import CheckResult, Outcome, Report
from checks.showing import rows, visible
from checks.story import Aside, MemberStory, Story

#: Characters that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_of(report: Report | None, story: Story) -> bytes:
    """The whole report as a JUnit file (UTF-8). A warning passes, with its text in system-out."""
    suite = ET.Element("testsuite", name=_text(story.table), timestamp=_moment(story))
    suite.set("time", f"{report.seconds if report else 0:.3f}")
    properties = ET.SubElement(suite, "properties")
    told = [("run", story.run_id), ("ending", story.ending)]
    if story.aside:
        told.append(("quarantine", story.aside.shown))
    for name, value in told:
        ET.SubElement(properties, "property", name=name, value=_text(value))
    for result in report.results if report else ():
        _case(suite, result)
    if story.aside:
        _aside(suite, story.aside)
    for member in story.members:
        _member(suite, member)
    errors = [*(report.errors if report else ()), *_no_audit(report, story)]
    for number, text in enumerate(errors, 1):
        case = ET.SubElement(suite, "testcase", classname="audit", name=f"error {number}")
        ET.SubElement(case, "error", message=_text(text))
    _count(suite)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml


def _no_audit(report: Report | None, story: Story) -> list[str]:
    # A run that was never audited must not look like an empty, green test suite.
    told = report or story.members
    return [] if told else [f"no audit was made: {story.reason or story.ending}"]


def _aside(suite: ET.Element, aside: Aside) -> None:
    """Why rows were set aside. A case passes: the check holds for what was published."""
    for title, count in aside.checks:
        case = ET.SubElement(
            suite, "testcase", classname=_text(aside.table), name=_text(f"set aside: {title}")
        )
        said = f"warning: {rows(count)} that broke it {'was' if count == 1 else 'were'} set aside"
        ET.SubElement(case, "system-out").text = said


def _member(suite: ET.Element, member: MemberStory) -> None:
    """A table of a group: what was not published fails, whosever fault it was."""
    case = ET.SubElement(suite, "testcase", classname="group", name=_text(member.table))
    said = _text(f"{member.shown}: {member.reason or member.counted}")
    if member.ending in ("published", "nothing_new"):
        ET.SubElement(case, "system-out").text = said
    else:
        ET.SubElement(case, "failure", message=said, type=member.ending)


def _case(suite: ET.Element, result: CheckResult) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_text(result.relation), name=_text(result.name)
    )
    said = f"{result.title}: expected {result.expected}; measured {result.measured or 'nothing'}"
    text = _text("; ".join(t for t in (said, result.message) if t))
    if result.outcome is Outcome.FAILED:
        ET.SubElement(case, "failure", message=text, type=_text(result.kind))
    elif result.outcome is Outcome.NOT_EVALUATED:
        ET.SubElement(case, "error", message=text, type=_text(result.kind))
    else:
        prefix = "warning: " if result.outcome is Outcome.WARNED else ""
        ET.SubElement(case, "system-out").text = prefix + text


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))


def _moment(story: Story) -> str:
    return story.started_at.isoformat(timespec="seconds")


def _text(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", visible(value))
