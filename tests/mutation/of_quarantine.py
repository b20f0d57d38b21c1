"""Guards of setting rows aside: none is lost, none is there twice, none gets past the gate."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_TESTS = "tests/behaviors/test_quarantine.py"
_REPLAYS = "tests/behaviors/test_quarantine_replay.py"
_rules = guards_of("checks/row_level.py", _TESTS)
_dividing = guards_of("wap/quarantine/dividing.py", _TESTS)
_replaying = guards_of("wap/quarantine/replaying.py", _TESTS)
_waiting = guards_of("wap/quarantine/waiting.py", _TESTS)
_beside = guards_of("wap/quarantine/beside.py", _TESTS)
_activities = guards_of("wap/activities.py", _TESTS)
_workflow = guards_of("wap/workflow.py", "tests/workflow/test_quarantine.py")
_verifying = guards_of("wap/verifying.py", _TESTS)
_MODES = "tests/behaviors/test_quarantine_modes.py"
_GROUPS = "tests/behaviors/test_quarantine_group.py"
_rest = guards_of("wap/quarantine/rest.py", _MODES)
_left = guards_of("wap/keyed/left.py", _MODES)
_planned = guards_of("wap/quarantine/planned.py", _MODES)
_engine = guards_of("wap/engines/arrow.py", _MODES)
_together = guards_of("wap/group_workflow.py", "tests/workflow/test_group.py")
_evidence = guards_of("wap/evidence.py", _GROUPS)
_back = guards_of("wap/rolling_back.py", "tests/behaviors/test_quarantine_rollback.py")

_emptying = guards_of("wap/quarantine/emptying.py", "tests/behaviors/test_quarantine_rollback.py")
_merged = guards_of("catalog/nessie_commits.py", "tests/behaviors/test_catalog_groups.py")

GUARDS: tuple[Guard, ...] = (
    _back(
        "the first rows that were set aside, left where they wait twice",
        "None, undone=tuple(undone)) if undone else None",
        "None, undone=tuple(undone)) if False else None",
        "test_the_first_rows_that_were_set_aside_go_back_and_wait_once",
    ),
    _back(
        "rows of a run that was taken back, brought back by themselves",
        "    if emptied is not None:\n",
        "    if False:\n",
        "test_rows_of_runs_that_were_taken_back_do_not_come_back",
    ),
    _emptying(
        "a quarantine table emptied that others have set rows aside in meanwhile",
        "        if staging.expected != state.expected:\n",
        "        if False:\n",
        "test_rows_that_came_meanwhile_are_not_taken_away",
    ),
    _emptying(
        "rows of another program, emptied with ours",
        "            sealed_only=True,\n",
        "            sealed_only=False,\n",
        "test_what_somebody_else_wrote_there_is_not_taken_away",
    ),
    _merged(
        "a table that goes back by another commit than what is published with it",
        "            *beside,\n",
        "",
        "test_a_table_goes_back_in_one_step_with_what_is_published[nessie]",
    ),
    _back(
        "rows of a run that is taken back, left where they wait",
        "    return [*targets, *(aside for aside in beside if aside is not None)]\n",
        "    return [*targets]\n",
        "test_rows_of_a_run_that_was_taken_back_wait_once_when_they_come_again",
    ),
    _back(
        "a run taken back in its quarantine table alone",
        "            if shown:\n",
        "            if False:\n",
        "test_a_run_is_not_taken_back_in_the_quarantine_table_alone",
    ),
    _back(
        "a run that set nothing aside, which takes back what waits",
        "        if seal.run_id not in runs:\n",
        "        if undone and seal.run_id not in runs:\n",
        "test_a_run_that_set_nothing_aside_leaves_what_waits",
    ),
    _rules(
        "a check that names no rows, beside one that does",
        "return tuple(failed) if whole and all(is_row_level(*one) for one in failed) else ()",
        "return tuple(one for one in failed if is_row_level(*one))",
        "test_a_check_that_names_no_rows_is_told_before_anything_is_divided",
    ),
    _rules(
        "a replay past the checks of a batch's rows",
        'checks = [c for c in node.get("checks") or () if is_row_level(contract, next(rules))]',
        'checks = [c for c in node.get("checks") or () if next(rules) is None]',
        f"{_REPLAYS}::test_a_replay_is_held_to_the_checks_of_rows_and_not_of_deliveries",
    ),
    _dividing(
        "files cleared away by a late attempt at a batch that is whole again",
        "    elif not is_divided(staging):\n",
        "    elif False:\n",
        "tests/behaviors/test_quarantine_follows.py::"
        "test_a_late_attempt_at_dividing_a_batch_that_is_whole_again_changes_nothing",
    ),
    _dividing(
        "a first load divided where its table cannot be new in a group",
        "if staging.expected is None and not divider.catalog.capabilities.new_in_groups:",
        "if False:",
        "tests/behaviors/test_quarantine_places.py::"
        "test_a_server_that_makes_no_table_in_a_group_is_given_the_quarantine_table_first",
    ),
    _dividing(
        "more rows than may be set aside",
        "if limits.max_rows is not None and aside > limits.max_rows:",
        "if False:",
        "test_more_than_the_limit_is_rejected_and_leaves_nothing"
        "[max_percent: 50, max_rows: 1-2 rows break a check, at most 1 are set aside]",
    ),
    _dividing(
        "a larger part than may be set aside",
        "if share > limits.max_percent:",
        "if False:",
        "test_more_than_the_limit_is_rejected_and_leaves_nothing"
        "[max_percent: 30-2 of 6 rows (33.33 %) break a check, at most 30 % are set aside]",
    ),
    _dividing(
        "earlier divisions left out of the limit",
        "aside, rows = earlier + found.rows, divider.books.given",
        "aside, rows = found.rows, divider.books.given",
        "test_the_limit_counts_all_divisions_of_a_run",
    ),
    _dividing(
        "a row that is lost in the division",
        "if rest.rows + found.rows != held:",
        "if False:",
        "test_a_row_that_an_engine_loses_is_missed[rest]",
    ),
    _dividing(
        "a row that is not set aside",
        "if written.rows != found.rows:",
        "if False:",
        "test_a_row_that_an_engine_loses_is_missed[aside]",
    ),
    _replaying(
        "a row that a replay loses",
        "if taken + remaining != rows:",
        "if False:",
        f"{_REPLAYS}::test_a_row_that_an_engine_loses_is_missed[orders-were taken and]",
    ),
    _replaying(
        "a row that is marked and not taken",
        "if marked.rows != taken or marked.rows + kept.rows != removed:",
        "if False:",
        f"{_REPLAYS}::test_a_row_that_an_engine_loses_is_missed[orders__quarantine-marked and]",
    ),
    _waiting(
        "a row that is replayed twice",
        'parts = [f"t.{names.of(REPLAYED_RUN)} IS NULL"]',
        'parts = ["true"]',
        f"{_REPLAYS}::test_a_replay_is_done_once",
    ),
    _waiting(
        "a correction of a row that does not wait",
        "        if odd:\n",
        "        if False:\n",
        f"{_REPLAYS}::test_corrections_that_fit_no_row_are_rejected[lines0]",
    ),
    _activities(
        "a replay of what waited before main moved",
        "        if is_replay(pinned):\n            return Rebased",
        "        if False:\n            return Rebased",
        f"{_REPLAYS}::test_when_main_moves_a_replay_is_planned_anew[load]",
    ),
    _beside(
        "halves of two attempts",
        "if aside.notes.get(NOTE) != staging.notes[NOTE]:",
        "if False:",
        "test_halves_of_two_attempts_are_not_published",
    ),
    _beside(
        "a quarantine table where two cannot be published at once",
        "if not able.atomic_groups:",
        "if False:",
        "test_a_catalog_that_cannot_is_refused_before_anything_is_written[none]",
    ),
    _beside(
        "a new quarantine table where none can be in a group",
        "if not able.new_in_groups and catalog.published(quarantine_of(table)) is None:",
        "if False:",
        "test_a_catalog_that_cannot_is_refused_before_anything_is_written[new]",
    ),
    _activities(
        "a quarantine table that fails its audit",
        "whole = other is None or other.passed",
        "whole = True",
        "test_a_quarantine_table_that_lacks_a_row_is_not_published",
    ),
    _activities(
        "the table without its quarantine table",
        "return [head, beside.head_beside(head, audited.beside, self._folder(run.run_id))]",
        "return [head]",
        "test_broken_rows_are_set_aside_and_the_rest_is_published",
    ),
    _activities(
        "a quarantine table left behind by an undo",
        "if aside is not None and undone.published is None:",
        "if False:",
        "test_a_run_that_is_undone_leaves_neither_table[quarantine]",
    ),
    _workflow(
        "a batch that cannot be divided",
        "if divided.refused is not None:",
        "if False:",
        "test_a_batch_that_cannot_be_divided_is_rejected",
    ),
    _left(
        "a broken row that the rest meets with",
        "FROM ({query}) AS q WHERE NOT EXISTS (SELECT 1 FROM aside WHERE {same})",
        "FROM ({query}) AS q",
        "test_a_broken_row_leaves_the_row_that_is_published_under_its_key",
    ),
    _left(
        "rows set aside of another batch",
        "if there != without.rows:",
        "if False:",
        "test_a_row_that_is_none_of_the_batch_is_missed",
    ),
    _rest(
        "a row that is lost when the rest meets anew",
        "if came + without.rows != whole:",
        "if False:",
        "test_a_row_that_is_lost_on_the_way_is_missed",
    ),
    _rest(
        "what a divided replace had taken away",
        "[f for f in before if f.file_path not in shown],",
        "[],",
        "test_replace_divides_what_it_adds_and_keeps_what_it_carries_over",
    ),
    _rest(
        "what a divided replace had carried over",
        "[f for f in head if f.file_path not in own],",
        "[],",
        "test_replace_divides_what_it_adds_and_keeps_what_it_carries_over",
    ),
    _beside(
        "books of a batch that met by key before it was divided",
        "    if met is None:\n        return books",
        "    if True:\n        return books",
        f"{_MODES}::test_the_books_close_over_all_that_may_become_of_a_row",
    ),
    _dividing(
        "divisions without an end",
        "if len(done) >= MOST:",
        "if False:",
        f"{_MODES}::test_broken_rows_behind_broken_rows_come_to_an_end",
    ),
    _engine(
        "files of a division that a late attempt at staging clears away",
        "not name.removeprefix(KEPT_PREFIX).startswith(AGAIN)",
        "not name.startswith(AGAIN)",
        "test_a_late_attempt_at_staging_deletes_nothing_of_the_division",
    ),
    _planned(
        "a replay over what may be newer",
        'if write.mode in ("merge", "history") and write.order_by is None and replay.file is None:',
        "if False:",
        "test_what_may_be_older_than_what_is_published_is_replayed_by_name_only",
    ),
    _together(
        "rows set aside of a group that is rejected anyway",
        "if not bad or not all(audited is not None and audited.separable for _, audited in bad):",
        "if not bad:",
        "test_nothing_is_set_aside_where_the_group_is_rejected_anyway[planes]",
    ),
    _together(
        "a group published as it was audited before a division",
        "            divided = await self._divided()",
        "            await self._divided()\n            divided = False",
        "test_broken_rows_of_members_are_set_aside_and_all_are_audited_again",
    ),
    _evidence(
        "a quarantine table whose seal does not say which member it is of",
        "if GROUP not in seal.notes and MEMBER not in seal.notes:",
        "if GROUP not in seal.notes:",
        "test_what_the_group_knows_not_is_set_aside_in_its_one_commit",
    ),
    _verifying(
        "a quarantine table whose report the ledger does not know",
        "if facts.quarantine_report != report.digest:",
        "if False:",
        "test_a_ledger_that_tells_of_another_quarantine_is_found",
    ),
)
