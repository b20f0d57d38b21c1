"""The gate fails closed: each way an audit can be incomplete or odd, and none of them passes."""

from __future__ import annotations

import dataclasses

import pytest

from checks.gate import judge, refused
from checks.own import reconcile_check, schema_check
from checks.report import Outcome, Report

GOOD_OWN = (schema_check({"id": "long"}, {"id": "long"}), reconcile_check(3, 3, 0, 0, 0, 3))


@pytest.fixture
def audited(contract, relation, told, make_result, now):
    """Judge with the auditor's answer changed as asked."""

    def run(change=lambda results: results, errors=(), contracts=(contract,), own=GOOD_OWN):
        results = tuple(make_result(name) for name in sorted(contract.declared))
        return judge(
            run_id="r1",
            table="sales.orders",
            snapshot_id=7,
            expected=3,
            contracts=contracts,
            relation=relation,
            auditor=told(tuple(change(results)), tuple(errors)),
            own=own,
            started_at=now,
        )

    return run


def test_all_declared_all_passed_passes(audited, contract):
    report = audited()
    assert report.passed
    assert report.declared == contract.declared | {"wap:schema", "wap:rows"}
    assert report.evaluated == report.declared
    assert (report.snapshot_id, report.expected) == (7, 3)
    assert [c.path for c in report.contracts] == ["contracts/orders.yml"]


def test_a_warning_passes(audited):
    def warned(rs):
        return (rs[0].model_copy(update={"outcome": Outcome.WARNED}), *rs[1:])

    assert audited(warned).passed


def set_first(outcome: Outcome):
    return lambda rs: (rs[0].model_copy(update={"outcome": outcome}), *rs[1:])


MUTATIONS = {
    "a check is lost": lambda rs: rs[1:],
    "all are lost": lambda _: (),
    "a check is there twice": lambda rs: (*rs, rs[0]),
    "a check nobody declared": lambda rs: (*rs, rs[0].model_copy(update={"name": "x:checks.y"})),
    "another check in its place": lambda rs: (
        rs[0].model_copy(update={"name": "contracts/orders.yml:checks.other"}), *rs[1:]
    ),
    "failed": set_first(Outcome.FAILED),
    "not evaluated": set_first(Outcome.NOT_EVALUATED),
    "a failure hidden behind a pass of the same name": lambda rs: (
        rs[0].model_copy(update={"outcome": Outcome.FAILED}), *rs
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_what_is_missing_or_odd_does_not_pass(audited, change):
    report = audited(change)
    assert not report.passed
    assert len(report.results) == len(report.declared)


def test_a_lost_check_is_shown_as_not_evaluated(audited, contract):
    report = audited(lambda rs: rs[1:])
    lost = min(contract.declared)
    (shown,) = [r for r in report.results if r.name == lost]
    assert shown.outcome is Outcome.NOT_EVALUATED


def test_an_error_of_the_engine_does_not_pass(audited):
    report = audited(errors=["c.yml: disk full"])
    assert not report.passed
    assert report.errors == ("c.yml: disk full",)


def test_no_contract_does_not_pass(audited):
    report = audited(lambda _: (), contracts=())
    assert not report.passed
    assert any("no contract" in e for e in report.errors)


def test_a_contract_that_declares_nothing_does_not_pass(audited, contract):
    empty = dataclasses.replace(contract, path="empty.yml", declared=frozenset())
    assert not audited(contracts=(contract, empty)).passed


def test_one_path_given_twice_does_not_pass(audited, contract):
    assert not audited(contracts=(contract, contract)).passed


@pytest.mark.parametrize("lost", [0, 1])
def test_without_one_of_our_own_checks_nothing_passes(audited, lost):
    assert not audited(own=GOOD_OWN[:lost] + GOOD_OWN[lost + 1 :]).passed


def test_a_failed_check_of_our_own_does_not_pass(audited):
    assert not audited(own=(GOOD_OWN[0], reconcile_check(4, 3, 0, 0, 0, 3))).passed


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.NOT_EVALUATED])
def test_a_check_that_only_warns_can_neither_fail_nor_be_skipped(audited, outcome):
    """Soda reports a breached warn threshold as a warning; anything else is odd."""

    def change(rs):
        return (rs[0].model_copy(update={"outcome": outcome, "blocking": False}), *rs[1:])

    assert not audited(change).passed


def test_own_checks_are_about_the_table(audited):
    assert {r.relation for r in audited().results} == {"orders"}


def test_a_refused_batch_never_passes(contract, now):
    report = refused(
        run_id="r1",
        table="sales.orders",
        differences=["missing: amount", "not declared: amuont"],
        contracts=[contract],
        started_at=now,
    )
    assert not report.passed
    assert report.snapshot_id is None
    (check,) = report.results
    assert check.outcome is Outcome.FAILED
    assert check.blocking
    assert check.relation == "orders__batch"
    assert [row["difference"] for row in check.sample] == [
        "missing: amount",
        "not declared: amuont",
    ]


def test_a_refused_batch_shows_no_masked_value(now):
    report = refused(
        run_id="r1",
        table="sales.orders",
        what="column 'email': 'ann@example.org' is no number",
        differences=["a.csv, line 3, column 'email': 'ann@example.org' is no number"],
        masked={"email"},
        started_at=now,
    )
    text = report.to_json()
    assert "ann@" not in text
    assert "'email'" in text


def test_the_digest_does_not_depend_on_time_or_order(audited):
    one, other = audited(), audited(lambda rs: tuple(reversed(rs)))
    assert one.digest == other.digest
    assert Report.from_json(one.to_json()) == one


def test_the_digest_depends_on_every_outcome(audited):
    digests = {audited(change).digest for change in (*MUTATIONS.values(), lambda rs: rs)}
    assert len(digests) == len(MUTATIONS) + 1
