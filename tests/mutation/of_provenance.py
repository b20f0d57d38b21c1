"""Guards of provenance: what ``verify`` finds, what ``reaudit`` goes by, what a run builds on."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_PROVENANCE = "tests/behaviors/test_provenance.py"
_STEPS = "tests/unit/wap/test_guard_steps.py"
_verifying = guards_of("wap/verifying.py", _PROVENANCE)
_reaudit = guards_of("wap/reaudit.py", _PROVENANCE)
_past = guards_of("wap/past.py", _PROVENANCE)
_planning = guards_of("wap/planning.py", _PROVENANCE)
_activities = guards_of("wap/activities.py", _STEPS)
_cursor = guards_of("wap/evidence.py", "tests/behaviors/test_cursor_of_main.py")

GUARDS: tuple[Guard, ...] = (
    _cursor(
        "what main has shown since, told as loaded by a seal on an earlier head",
        "return _cursor(catalog, table, log[at:])",
        "return _cursor(catalog, table, log)",
        "test_what_was_taken_back_between_the_seal_and_its_publish_is_new_again",
    ),
    _verifying(
        "a check that the ledger tells otherwise",
        "if kept.get(name) != sealed.get(name):",
        "if False:",
        "test_a_report_that_was_changed_in_the_ledger[figure-sqlite]",
    ),
    _verifying(
        "a report that the ledger does not have",
        "if facts.report_digest != report.digest:",
        "if False:",
        "test_a_report_that_was_changed_in_the_ledger[report-sqlite]",
    ),
    _verifying(
        "contracts that the ledger does not have",
        "if facts.contract_digest != report.contract_digest:",
        "if False:",
        "test_a_report_that_was_changed_in_the_ledger[contracts-sqlite]",
    ),
    _verifying(
        "a run that the ledger calls rejected",
        "if facts.result.ending is not Ending.PUBLISHED:\n"
        "        yield f\"says that the run was {facts.result.ending.value.replace('_', ' ')}\"\n"
        "    if facts.report_digest",
        "if facts.report_digest",
        "test_a_report_that_was_changed_in_the_ledger[ending-sqlite]",
    ),
    _verifying(
        "a seal and evidence of two audits",
        "if sealed != found:",
        "if False:",
        "test_a_report_digest_that_was_forged_in_a_seal[sqlite]",
    ),
    _verifying(
        "a seal of an audit that said no",
        "if not report.passed:",
        "if False:",
        "test_a_seal_of_a_report_that_did_not_pass[sqlite]",
    ),
    _verifying(
        "a waiver that cannot be read",
        "        yield exc.what\n",
        "        pass\n",
        "tests/unit/wap/test_guard_steps.py::test_a_waiver_that_cannot_be_read_is_no_clean_bill",
    ),
    _verifying(
        "a manifest that is not shown",
        "lost = named - (shown or frozenset())",
        "lost: frozenset[str] = frozenset()",
        "test_manifest_lists_that_were_swapped_for_a_whole_run[sqlite]",
    ),
    _verifying(
        "a manifest that nobody audited",
        '("not audited", more), ',
        "",
        "test_a_manifest_that_nobody_audited[sqlite]",
    ),
    _verifying(
        "a manifest that was written over",
        "if evidence.digest_of(published.io, path) != digest",
        "if False",
        "test_a_manifest_that_was_written_over[sqlite]",
    ),
    _verifying(
        "another report in the run's folder",
        "if kept is None or kept.digest != seal.report_digest:",
        "if False:",
        "test_a_report_file_that_was_changed[sqlite]",
    ),
    _reaudit(
        "an audit again that came to something else",
        "equal=report.digest == past.report.digest,",
        "equal=True,",
        "test_an_audit_again_of_rows_that_were_changed_differs[sqlite]",
    ),
    _past(
        "an age by the clock of today",
        "at=past.report.started_at,",
        "at=None,",
        "test_the_clock_of_an_audit_again_stands_where_it_stood[sqlite]",
    ),
    _past(
        "a column that is masked since",
        "masked=past.report.masked | masked,",
        "masked=past.report.masked,",
        "test_what_a_proposed_contract_would_have_blocked[sqlite]",
    ),
    _planning(
        "a batch staged over what others wrote, where that is refused",
        'sealed_only=pipeline.on_foreign == "refuse")',
        "sealed_only=False)",
        "test_a_run_that_refuses_what_others_wrote_stages_nothing[sqlite]",
    ),
    _activities(
        "a publish over what others wrote, where that is refused",
        'sealed_only=self._pinned(run).pipeline.on_foreign == "refuse",',
        "",
        f"{_STEPS}::test_a_pipeline_that_refuses_what_others_wrote_says_so_to_publish",
    ),
)
