"""Guards of ``checks/``: the gate fails closed (law 3)."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_UNIT = "tests/unit/checks/test"
_AUDITOR = "tests/behaviors/test_auditor.py"

_report = guards_of("checks/report.py", f"{_UNIT}_report.py")
_gate = guards_of("checks/gate.py", f"{_UNIT}_gate.py")
_own = guards_of("checks/own.py", f"{_UNIT}_own.py")
_soda = guards_of("checks/soda.py", f"{_UNIT}_soda.py")
_edge = guards_of("checks/soda_edge.py", f"{_UNIT}_soda_edge.py")

_standing = guards_of("checks/standing.py", f"{_UNIT}_standing.py")

_spark = guards_of("checks/spark.py", f"{_UNIT}_spark.py")

_NOTHING_LESS = "test_passes_on_nothing_less"
_CHANGED = "test_a_changed_report_is_not_read_back"
_ODD = "test_what_is_missing_or_odd_does_not_pass"
_WHATEVER = "test_whatever_is_odd_does_not_pass"
_SILENT = "test_each_way_to_silence_soda_is_noticed"
_BOOKS = "test_books_that_do_not_balance_fail"
_OUTCOMES = "[r.name, r.outcome.value, r.expected, r.measured, r.failing_rows, r.blocking]"
_DIGEST = f"{_UNIT}_guard_report.py::test_the_digest_is_over_every_fact"

_ELSEWHERE = "test_a_condition_that_may_look_elsewhere_does_not"
_BY_PARTS = "test_whatever_is_wrong_with_the_batch_both_say_the_same"

GUARDS: tuple[Guard, ...] = (
    _standing(
        "a batch that is not clean, taken for it",
        "        and result.failing_rows == 0\n        and result.value in (0, None)\n",
        "",
        "test_what_was_not_clean_before_is_looked_at_whole",
    ),
    _standing(
        "a rule that looks at other rows, too, measured on the batch",
        "isinstance(node, _OF_ONE_ROW) and _is_plain(node)",
        "_is_plain(node)",
        _ELSEWHERE,
    ),
    _standing(
        "a condition on the whole table's view",
        "not isinstance(node, exp.Column) or not any(_qualifiers(node))",
        "True",
        _ELSEWHERE,
    ),
    _standing(
        "a contract's filter that looks elsewhere",
        "if contract.relation != table or not _of_one_row(contract.filter):",
        "if contract.relation != table:",
        _ELSEWHERE,
    ),
    _standing(
        "reference data that has changed since",
        'return "valid_reference_data" not in rule.body and _of_one_row(rule.filter)',
        "return _of_one_row(rule.filter)",
        "test_neither_do_another_relation_reference_data_or_a_filtered_key",
    ),
    _standing(
        "a key of some rows, looked for among all",
        "return rule.filter is None and contract.filter is None",
        "return True",
        "test_neither_do_another_relation_reference_data_or_a_filtered_key",
    ),
    _soda(
        "a batch that broke a rule, taken for clean",
        "        if errors or not all(map(is_clean, found)):\n            return {}\n",
        "",
        f"{_UNIT}_standing.py::{_BY_PARTS}",
    ),
    guards_of("checks/uniqueness.py", f"{_UNIT}_standing.py")(
        "a key that an earlier row has",
        "repeated = added.duplicates + met",
        "repeated = added.duplicates",
        _BY_PARTS,
    ),
    _report(
        "a waiver of what else is wrong",
        "return failed if whole and not own else frozenset()",
        "return failed if not own else frozenset()",
        "test_nothing_else_may_be_waived",
    ),
    _report(
        "a waiver of our own checks",
        "return failed if whole and not own else frozenset()",
        "return failed if whole else frozenset()",
        "test_nothing_else_may_be_waived",
    ),
    _report(
        "a batch that was never audited",
        "self.snapshot_id is not None\n            and ",
        "",
        _NOTHING_LESS,
    ),
    _report("an error of the engine", "            and not self.errors\n", "", _NOTHING_LESS),
    _report(
        "an audit against nothing", "            and bool(self.contracts)\n", "", _NOTHING_LESS
    ),
    _report("an audit without checks", "            and bool(self.declared)\n", "", _NOTHING_LESS),
    _report(
        "a check that is there twice",
        "            and len(self.results) == len(self.declared)\n",
        "",
        _NOTHING_LESS,
    ),
    _report(
        "a check that was not declared or not evaluated",
        "            and self.evaluated == self.declared\n",
        "",
        f"{_UNIT}_guard_report.py::test_another_check_does_not_stand_in",
    ),
    _report(
        "a failed check",
        "(Outcome.PASSED, Outcome.WARNED) for r in self.results)",
        "(Outcome.PASSED, Outcome.WARNED) for r in self.results if r.blocking)",
        _NOTHING_LESS,
    ),
    _report(
        "a failure taken for a warning",
        "in (Outcome.PASSED, Outcome.WARNED) for r",
        "is not Outcome.NOT_EVALUATED for r",
        _NOTHING_LESS,
    ),
    _report(
        "a skipped check taken for evaluated",
        "if r.outcome is not Outcome.NOT_EVALUATED)",
        ")",
        f"{_UNIT}_guard_report.py::test_a_skipped_check_is_not_evaluated",
    ),
    _report(
        "another outcome under the same digest",
        _OUTCOMES,
        _OUTCOMES.replace("r.outcome.value, ", ""),
        _CHANGED,
    ),
    _report(
        "another rule under the same digest",
        _OUTCOMES,
        _OUTCOMES.replace("r.expected, ", ""),
        _CHANGED,
    ),
    _report(
        "another measurement under the same digest",
        _OUTCOMES,
        _OUTCOMES.replace("r.measured, ", ""),
        _CHANGED,
    ),
    _report(
        "another weight under the same digest",
        _OUTCOMES,
        _OUTCOMES.replace(", r.blocking", ""),
        _CHANGED,
    ),
    _report(
        "other failing rows under the same digest",
        _OUTCOMES,
        _OUTCOMES.replace("r.failing_rows, ", ""),
        _DIGEST,
    ),
    _report(
        "another check under the same digest", _OUTCOMES, _OUTCOMES.replace("r.name, ", ""), _DIGEST
    ),
    _report(
        "another table under the same digest",
        "[self.table, self.snapshot_id, self",
        "[self.snapshot_id, self",
        _DIGEST,
    ),
    _report(
        "another snapshot under the same digest",
        "[self.table, self.snapshot_id, self",
        "[self.table, self",
        _CHANGED,
    ),
    _report(
        "another contract under the same digest",
        "self.contract_digest, declared, outcomes,",
        "declared, outcomes,",
        _CHANGED,
    ),
    _report(
        "other declared checks under the same digest",
        "self.contract_digest, declared, outcomes,",
        "self.contract_digest, outcomes,",
        _DIGEST,
    ),
    _report(
        "other errors under the same digest",
        "outcomes,\n             list(self.errors)]",
        "outcomes]",
        _DIGEST,
    ),
    _report("a report that was changed", "report.digest != stated or ", "", _CHANGED),
    _report(
        "another report than the sealed one",
        " or (digest is not None and digest != stated):",
        ":",
        "test_another_digest_than_the_seals_is_refused",
    ),
    _gate(
        "an error of the engine",
        "errors = [*audit.errors, *_complaints",
        "errors = [*_complaints",
        "test_an_error_of_the_engine_does_not_pass",
    ),
    _gate(
        "what the gate itself found odd",
        "errors = [*audit.errors, *_complaints(contracts, audit, declared)]",
        "errors = [*audit.errors]",
        _ODD,
    ),
    _gate(
        "an audit without our own checks",
        "REQUIRED, {r.name",
        "{r.name",
        "test_without_one_of_our_own_checks_nothing_passes",
    ),
    _gate(
        "a check that was lost",
        "*(c.declared for c in contracts)",
        "()",
        f"{_UNIT}_guard_gate.py::test_what_the_auditor_leaves_out_is_declared_all_the_same",
    ),
    _gate("no contract", "if not contracts:", "if False:", "test_no_contract_does_not_pass"),
    _gate(
        "one contract given twice",
        '        if times > 1:\n            yield f"{path}: given',
        '        if False:\n            yield f"{path}: given',
        "test_one_path_given_twice_does_not_pass",
    ),
    _gate(
        "a contract without checks",
        "if not contract.declared:",
        "if False:",
        "test_a_contract_that_declares_nothing_does_not_pass",
    ),
    _gate("a check nobody declared", "if name not in declared:", "if False:", _ODD),
    _gate("a check reported twice", "elif times > 1:", "elif False:", _ODD),
    _gate(
        "a failure behind a pass of the same name",
        "first is None or first.outcome is Outcome.PASSED",
        "True",
        f"{_UNIT}_guard_gate.py::test_of_two_results_the_worse_is_shown",
    ),
    _gate(
        "a lost check shown as passed",
        "outcome=Outcome.NOT_EVALUATED,",
        "outcome=Outcome.PASSED,",
        _ODD,
    ),
    _gate(
        "a refused batch as an audited one",
        "snapshot_id=None,",
        "snapshot_id=0,",
        "test_a_refused_batch_never_passes",
    ),
    _own(
        "columns that differ",
        "Outcome.FAILED if found or not expected else",
        "Outcome.FAILED if not expected else",
        "test_any_difference_fails_and_is_named",
    ),
    _own(
        "a table without columns",
        "Outcome.FAILED if found or not expected else",
        "Outcome.FAILED if found else",
        "test_two_empty_schemas_do_not_pass",
    ),
    _own(
        "a missing column",
        "return [*lost, *more, *other,",
        "return [*more, *other,",
        "test_any_difference_fails_and_is_named",
    ),
    _own(
        "a column too many",
        "return [*lost, *more, *other,",
        "return [*lost, *other,",
        "test_any_difference_fails_and_is_named",
    ),
    _own(
        "a column of another type",
        "return [*lost, *more, *other,",
        "return [*lost, *more,",
        "test_any_difference_fails_and_is_named",
    ),
    _own(
        "columns in another order",
        "if order else []",
        "if False else []",
        "test_any_difference_fails_and_is_named",
    ),
    _own(
        "rows that went nowhere",
        "(read, sum(parts),",
        "(read, read,",
        _BOOKS,
    ),
    _own(
        "staged rows that are not in the table",
        '        (staged, counted, "rows staged", "in the table"),\n',
        "",
        _BOOKS,
    ),
    _own(
        "a candidate that lost rows",
        "if candidate is not None and expected_candidate is not None:",
        "if False:",
        "test_the_whole_candidate_is_counted_too",
    ),
    _own(
        "a negative count",
        "if min(read, *parts, counted) < 0:",
        "if False:",
        _BOOKS,
    ),
    _own(
        "books that do not balance",
        "outcome=Outcome.FAILED if lines else Outcome.PASSED,",
        "outcome=Outcome.PASSED,",
        _BOOKS,
    ),
    _own(
        "a batch that does not fit",
        "sample=tuple(lines),\n        outcome=Outcome.FAILED,",
        "sample=tuple(lines),\n        outcome=Outcome.PASSED,",
        "test_a_batch_that_does_not_fit_always_fails",
    ),
    _soda(
        "a contract about another table",
        "_misplaced(relation, contract) or soda_edge.deaf()",
        "soda_edge.deaf()",
        f"{_AUDITOR}::test_a_contract_about_another_relation_is_an_error",
    ),
    _soda(
        "silenced logs",
        "_misplaced(relation, contract) or soda_edge.deaf()",
        "_misplaced(relation, contract)",
        f"{_AUDITOR}::test_silenced_logs_are_an_error",
    ),
    _soda(
        "logs silenced during the audit",
        "        errors += filter(None, [soda_edge.deaf()])\n",
        "",
        f"{_AUDITOR}::test_logs_silenced_while_it_ran_are_an_error",
    ),
    _soda(
        "errors of Soda",
        "engine_message(text, relation.masked) for text in verdict.errors)",
        "engine_message(text, relation.masked) for text in ())",
        _WHATEVER,
    ),
    _soda(
        "a status that is no verdict",
        "if verdict.status not in _GOOD_STATUS:",
        "if False:",
        "test_a_status_that_is_no_verdict_is_an_error_of_its_own",
    ),
    _soda("other checks than the declared", "if found != declared:", "if False:", _WHATEVER),
    _soda(
        "a check reported twice",
        "if found != declared:",
        "if set(found) != set(declared):",
        _WHATEVER,
    ),
    _soda(
        "an audit of other rows",
        "    yield from _other_rows(relation, contract, counts)\n",
        "",
        _WHATEVER,
    ),
    _soda(
        "a lost check",
        'return _unknown(rule, relation, "Soda did not report it")',
        'finding = Finding(rule.relative_path, "PASSED", 3.0)',
        f"{_UNIT}_guard_soda.py::test_a_lost_finding_is_not_evaluated",
    ),
    _soda(
        "a word we do not know",
        "outcome = _OUTCOMES.get(finding.outcome)",
        "outcome = _OUTCOMES.get(finding.outcome, Outcome.PASSED)",
        f"{_UNIT}_guard_soda.py::test_a_word_that_is_no_outcome_is_not_evaluated",
    ),
    _soda(
        "an outcome that its number contradicts", "if ours is not outcome:", "if False:", _WHATEVER
    ),
    _soda(
        "an outcome without a number",
        "if finding.value is not None else None",
        "if finding.value is not None else outcome",
        _WHATEVER,
    ),
    _soda(
        "keys that could not be counted",
        'return _unknown(rule, relation, reason), f"{rule.relative_path}: {reason}"',
        "found = Uniqueness(0, 0, 0)",
        f"{_UNIT}_guard_soda.py::test_keys_that_cannot_be_counted_are_not_unique",
    ),
    _soda(
        "keys of other rows",
        "None if rule.filter else next(_other_rows(relation, contract, [found.rows]), None)",
        "None",
        f"{_AUDITOR}::test_other_rows_than_the_snapshot_has_are_an_error",
    ),
    _soda(
        "duplicates that are there",
        "outcome=rule.threshold.outcome(value),",
        "outcome=Outcome.PASSED,",
        f"{_UNIT}_guard_soda.py::test_a_key_that_is_there_twice_fails",
    ),
    _soda(
        "a check that was not evaluated",
        "outcome=Outcome.NOT_EVALUATED, message=reason)",
        "outcome=Outcome.PASSED, message=reason)",
        f"{_UNIT}_guard_soda.py::test_a_lost_finding_is_not_evaluated",
    ),
    _edge(
        "logging that is switched off",
        "if logging.root.manager.disable >= logging.ERROR:",
        "if False:",
        f"{_UNIT}_guard_soda.py::test_logging_that_is_switched_off_is_named",
    ),
    _edge(
        "a logger that is switched off",
        "if logger.disabled or not logger.isEnabledFor(logging.ERROR):",
        "if False:",
        _SILENT,
    ),
    _edge("a filter on the logger", "if not logger.filter(record):", "if False:", _SILENT),
    _edge(
        "a logger that tells nobody",
        "if not logger.propagate or logger.parent is not logging.root:",
        "if logger.parent is not logging.root:",
        _SILENT,
    ),
    _edge(
        "a logger that tells somebody else",
        "if not logger.propagate or logger.parent is not logging.root:",
        "if not logger.propagate:",
        _SILENT,
    ),
    _edge(
        "an ear that is shut",
        "if not any(h.level <= logging.ERROR and h.filter(record) for h in ears):",
        "if not any(h.filter(record) for h in ears):",
        _SILENT,
    ),
    _edge(
        "an ear that is choosy",
        "if not any(h.level <= logging.ERROR and h.filter(record) for h in ears):",
        "if not any(h.level <= logging.ERROR for h in ears):",
        _SILENT,
    ),
    _edge(
        "what Soda raises",
        'return Verdict(status="RAISED", errors=(f"{type(exc).__name__}: {exc}",))',
        'return Verdict(status="PASSED")',
        "test_what_soda_raises_is_a_verdict_and_not_a_pass",
    ),
    _edge(
        "what Soda complains about",
        "errors=tuple(str(e) for e in result.get_errors()),",
        "errors=(),",
        "test_an_engine_error_is_among_the_errors",
    ),
    _spark(
        "Spark's own end taken for a verdict",
        "self._lost.append(_said(exc))",
        "pass",
        "test_spark_that_goes_away_is_told_from_a_query_that_fails",
    ),
    _spark(
        "SQL that Spark has no words for",
        "unsupported_level=ErrorLevel.RAISE",
        "unsupported_level=ErrorLevel.IGNORE",
        "test_what_has_no_translation_is_refused",
    ),
    _spark(
        "a second statement in a contract",
        "if len(statements) != 1 or statements[0] is None:",
        "if not statements or statements[0] is None:",
        "test_what_has_no_translation_is_refused",
    ),
    _spark(
        "a filter in another dialect",
        '"rows_tested_query", "filter")',
        '"rows_tested_query")',
        "test_every_sql_text_of_a_contract_is_translated_and_nothing_else",
    ),
)
