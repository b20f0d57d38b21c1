"""Guards of groups: what was audited together is published together, and goes back together."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_SAGA = "tests/workflow/test_group.py"
_STEPS = "tests/unit/wap/test_group_steps.py"
_workflow = guards_of("wap/group_workflow.py", _SAGA)
_together = guards_of("wap/group_activities.py", _STEPS)
_activities = guards_of("wap/activities.py", _STEPS)
_groups = guards_of("wap/groups.py", "tests/unit/wap/test_groups.py")
_evidence = guards_of("wap/evidence.py", _STEPS)
_relations = guards_of("wap/relations.py", _STEPS)
_back = guards_of("wap/rolling_back.py", "tests/behaviors/test_rolling_back.py")
_rollback = guards_of("catalog/rollback.py", "tests/behaviors/test_catalog_groups.py")

_UNDO = 'self._saga.undo_with(f"drop_branch {member.name}", lambda: self._drop_branch(member))'

_AGAIN = "tests/workflow/test_group_restage.py"
_ABREAST = "tests/workflow/test_group_abreast.py"
_abreast = guards_of("wap/abreast.py", _ABREAST)

GUARDS: tuple[Guard, ...] = (
    _abreast(
        "a table that is still written when the group is undone",
        "            await uninterrupted(_ended(lanes))\n",
        "",
        "test_nothing_is_undone_while_a_table_is_still_at_work",
    ),
    _abreast(
        "a table that goes on behind the failure of another",
        "if self._over:",
        "if False:",
        "test_a_table_whose_step_ends_behind_the_failure_of_another_begins_no_further_one",
    ),
    _abreast(
        "more tables at once than were asked for",
        "range(min(self.limit, len(waiting)))",
        "range(len(waiting))",
        "test_so_many_tables_are_at_work_at_once_and_no_more",
    ),
    _workflow(
        "a group of which one table's audit failed",
        "if any(member.reason for member in self._members):",
        "if False:",
        "test_one_failed_audit_rejects_all_and_every_table_was_audited",
    ),
    _workflow(
        "rows of a member that cannot meet the new main",
        "        if restaged.refused is not None:\n",
        "        if False:\n",
        f"{_AGAIN}::test_rows_that_cannot_meet_the_new_main_reject_the_group",
    ),
    _workflow(
        "a member that was not staged again, as if it were",
        "            if member.redo:\n",
        "            if False:\n",
        f"{_AGAIN}::test_only_the_one_that_cannot_be_staged_again_is_planned_anew",
    ),
    _workflow(
        "members on another main without an audit of them",
        "            await self._audit_all()\n",
        "            if any(m.audited is None for m in self._active):\n"
        "                await self._audit_all()\n",
        f"{_AGAIN}::test_it_meets_the_new_main_as_one_and_nothing_is_read_again[1]",
    ),
    _workflow(
        "a table whose branch nobody would remove",
        _UNDO,
        "pass",
        "test_error_in_a_step_is_rolled_back_in_every_table[open_branch planes-after]",
    ),
    _workflow(
        "a group that was published and says that it was rolled back",
        "if any(member.published for member in self._members):",
        "if False:",
        "test_publish_that_took_effect_but_never_answered_is_published",
    ),
    _together(
        "heads whose audits saw something else of each other",
        "if published.get(table, seen) != seen:",
        "if False:",
        "test_heads_that_were_not_audited_beside_each_other_are_not_published",
    ),
    _together(
        "an input that another run published before the branch was opened",
        "            self._refuse_done(member.run)\n",
        "            pass\n",
        "test_an_input_that_was_published_before_the_branch_was_opened_keeps_all_back",
    ),
    _activities(
        "a check that looks at main in place of what is published with it",
        "return tuple(map(TableName.parse, run.group.tables)) if run.group else ()",
        "return ()",
        "test_the_other_table_is_looked_at_as_it_would_be",
    ),
    _relations(
        "main in place of what is staged beside",
        "return {**shown, **staged}",
        "return {**shown, **{o: published_snapshot(catalog, o) for o in staged}}",
        "test_the_other_table_is_looked_at_as_it_would_be",
    ),
    _evidence(
        "a seal that was never published by itself",
        "if snapshot.is_sealed and not again:",
        "if snapshot.is_sealed:",
        "test_heads_that_were_not_audited_beside_each_other_are_not_published",
    ),
    _groups(
        "a group on a catalog that cannot",
        "if not able.atomic_groups:",
        "if False:",
        "test_a_catalog_without_groups_is_told_before_anything_is_staged",
    ),
    _groups(
        "a pipeline that is held, in a group",
        'if member.pipeline.on_failure == "hold":',
        "if False:",
        "test_a_pipeline_that_waits_for_a_person_goes_by_itself",
    ),
    _back(
        "one table of a group, taken back alone",
        "            if left:\n",
        "            if False:\n",
        "test_one_table_of_a_group_does_not_go_back_alone",
    ),
    _rollback(
        "several tables where the catalog cannot move them in one step",
        "if back and len(wanted) + len(beside) > 1 and not atomic_groups:",
        "if False:",
        "test_several_tables_go_back_in_one_step_or_are_refused[portable]",
    ),
    _rollback(
        "one table twice",
        "if len(back) != len(wanted) or back & set(beside):",
        "if False:",
        "test_one_table_twice_is_refused[sqlite]",
    ),
)
