"""Guards of a batch that is staged again on another main: what it stands on, and what it is."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_PORT = "tests/behaviors/test_catalog_restage_on.py"
_STEPS = "tests/unit/wap/test_restaging.py"
_rebase = guards_of("catalog/rebase.py", _PORT)
_nessie = guards_of("catalog/nessie_runs.py", _PORT)
_memory = guards_of("catalog/nodes.py", _PORT)
_restaging = guards_of("wap/restaging.py", _STEPS)
_aside = guards_of("wap/aside.py", _STEPS)
_writing = guards_of("wap/writing.py", _STEPS)
_activities = guards_of("wap/activities.py", _STEPS)
_loaded = guards_of("wap/sources/loaded.py", _STEPS)
_workflow = guards_of("wap/workflow.py", "tests/workflow/test_restage.py")
_DIVIDED = "tests/behaviors/test_quarantine_follows.py"
_divided = guards_of("wap/restaging.py", _DIVIDED)
_undoing = guards_of("wap/undoing.py", _DIVIDED)
_LATER = "test_what_is_written_down_later_says_a_later_time[history]"
_NOT_WHOLE = "test_a_batch_that_does_not_lie_there_as_it_was_laid_is_read_again"

GUARDS: tuple[Guard, ...] = (
    _rebase(
        "a change that was made against another main",
        "    if found != main:\n",
        "    if False:\n",
        "test_a_main_that_has_moved_meanwhile_is_said[sqlite]",
    ),
    _rebase(
        "a change in place of one that nobody has seen",
        "if place.chain.staged is None or place.chain.head.snapshot_id != staging.head:",
        "if False:",
        "test_a_late_attempt_with_other_files_is_refused[sqlite]",
    ),
    _rebase(
        "the same change on an older main taken for this one",
        "return same and chain.base == main",
        "return same",
        "test_the_same_change_on_another_main_is_not_done_yet[sqlite]",
    ),
    _rebase(
        "a schema that changed beneath what is staged again",
        "if not _schema_stands(place.table, place.chain):",
        "if False:",
        "test_a_schema_that_changed_beneath_it_is_refused[sqlite]",
    ),
    _rebase(
        "a new table in place of one that another run made first",
        '    if place.expected is None:\n        raise refused("the run staged',
        '    if False:\n        raise refused("the run staged',
        "test_a_new_table_that_another_made_first_is_refused[nessie]",
    ),
    _nessie(
        "a change of nobody knows which base",
        "check_replaceable(place, staging, found, main)",
        "pass",
        "test_a_main_that_has_moved_meanwhile_is_said[nessie]",
    ),
    _memory(
        "a change that was made against another main",
        "if table.refs[MAIN] != main:",
        "if False:",
        "test_a_main_that_has_moved_meanwhile_is_said[memory]",
    ),
    _restaging(
        "a batch of a run that was told to stop",
        "            refuse_cancelled(attempt.cancelled)\n",
        "",
        "test_a_run_that_is_told_to_stop_follows_main_no_more[where]",
    ),
    _restaging(
        "an input that another run published meanwhile, once more",
        "if why is not None:",
        "if False:",
        "test_an_input_that_another_run_published_is_not_published_again[merge]",
    ),
    _restaging(
        "books of an attempt that lost",
        "return folder.books(number) if token is None else folder.followed(token).books",
        "return folder.books(number)",
        "test_it_is_as_if_the_run_had_come_after_its_rival[merge]",
    ),
    _restaging(
        "the next round's batch, by a late attempt of this one",
        "        self.folder.refuse_over(self.number)\n",
        "",
        "test_an_attempt_at_restaging_of_an_earlier_round_leaves_the_next_one_alone[replace]",
    ),
    _activities(
        "this round's batch on the next one's branch",
        "        self._folder(run.run_id).refuse_over(run.round)\n",
        "",
        "test_an_attempt_of_an_earlier_round_puts_nothing_on_the_next_ones_branch[merge]",
    ),
    _aside(
        "a batch that is not as it was laid aside",
        "if (path.stat().st_size, rows) != (file.size, file.rows):",
        "if False:",
        f"{_NOT_WHOLE}[swapped-merge]",
    ),
    _writing(
        "a time before that of what was published earlier",
        "        at = max([at, *(s.committed_at + _TICK for s in log if s.id == main)])\n",
        "",
        _LATER,
    ),
    _activities(
        "rows that are older than what another run has published",
        "if self._source(run, pinned).outdated(pinned.since, now, pinned.plan):",
        "if False:",
        "test_all_there_is_is_read_again_when_another_run_has_read_it_since[replace]",
    ),
    _activities(
        "a replace beside rows that it was to replace",
        "if meets_published(pinned) and not self._stands(run, pinned):",
        "if pinned.pipeline.write.keyed and not self._stands(run, pinned):",
        "test_it_is_as_if_the_run_had_come_after_its_rival[where_nothing_was]",
    ),
    _loaded(
        "a file in an older version over a newer one",
        "self.files.get(key[0], key) not in (key, before.files.get(key[0]))",
        "False",
        "test_a_file_that_another_run_loaded_in_another_version_is_not_put_over_it[merge]",
    ),
    _loaded(
        "an older state of an interval over a newer one",
        "return over or self.files != before.files",
        "return False",
        "test_an_interval_is_read_again_when_another_run_has_loaded_a_part_of_it"
        "[2026-02-02-False-interval]",
    ),
    _workflow(
        "a batch on another main without an audit of it",
        "            refused = await self._meet_main()\n",
        "            refused = await self._meet_main()\n"
        '            audited = audited.model_copy(update={"head": audited.head + 1,'
        ' "expected": 7})\n'
        "            if await self._publish(audited):\n"
        "                return self._conclude(Ending.PUBLISHED)\n",
        "test_it_meets_the_new_main_and_is_audited_again",
    ),
    _workflow(
        "rows that cannot meet the new main",
        "        return restaged.refused\n",
        "        return None\n",
        "test_rows_that_cannot_meet_the_new_main_reject_the_run",
    ),
    _divided(
        "a replace without the rows that were set aside of it",
        "        if is_divided(staging) and not keyed:\n",
        "        if False:\n",
        "test_it_is_as_if_the_run_had_come_after_its_rival[replace]",
    ),
    _divided(
        "a batch that is whole and says that rows of it are set aside",
        "        if is_divided(staging) and not keyed:\n",
        "        if is_divided(staging):\n",
        "test_it_is_as_if_the_run_had_come_after_its_rival[late]",
    ),
    _undoing(
        "rows on a branch of the quarantine table that are nobody's any more",
        "folder.was_disturbed() or folder.was_undivided()",
        "folder.was_disturbed()",
        "test_what_was_set_aside_before_is_not_published_with_what_stands_now",
    ),
    _workflow(
        "a result that tells of rows that are not set aside any more",
        "        self._quarantine = restaged.quarantine\n",
        "",
        "tests/workflow/test_quarantine.py::test_what_is_not_set_aside_on_the_new_main_is_not_told",
    ),
)
