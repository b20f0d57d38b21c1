"""Guards of clean-up: what is not forgotten, what is not deleted, and who is not undone."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_BEHAVIORS = "tests/behaviors/test_catalog_maintenance.py"
_UNIT = "tests/unit/wap/test_maintenance.py"
_expiry = guards_of("catalog/expiry.py", _BEHAVIORS)
_retention = guards_of("catalog/retention.py", _BEHAVIORS)
_cleanup = guards_of("catalog/cleanup.py", _BEHAVIORS)
_orphans = guards_of("catalog/orphans.py", _BEHAVIORS)
_evidence = guards_of("wap/evidence.py", _BEHAVIORS)
_home = guards_of("catalog/home.py", _BEHAVIORS)
_nessie = guards_of("catalog/nessie_home.py", _BEHAVIORS)
_compaction = guards_of("wap/compaction.py", "tests/unit/wap/test_compaction.py")
_own = guards_of("checks/own.py", "tests/unit/wap/test_compaction.py")
_auditing = guards_of("wap/auditing.py", "tests/unit/wap/test_compaction.py")
_liveness = guards_of("wap/liveness.py", _UNIT)
_maintenance = guards_of("wap/maintenance.py", _UNIT)
_EVIDENCE = "tests/unit/wap/test_evidence_left.py"
_ELSEWHERE = "tests/behaviors/test_catalog_elsewhere.py"
_ONLY = "test_only_files_that_nothing_needs_are_deleted[sqlite]"

_HALFWAY = "tests/behaviors/test_catalog_halfway.py"
_halfway = guards_of("catalog/halfway.py", _HALFWAY)

GUARDS: tuple[Guard, ...] = (
    _halfway(
        "a late commit whose metadata file was deleted",
        "if now.metadata_location != seen:",
        "if True:",
        "test_a_late_commit_of_the_run_is_never_left_without_its_metadata_file[sqlite]",
    ),
    _halfway(
        "metadata files of other runs",
        " if naming.is_metadata_of(f.path, branch.run_id)]",
        "]",
        "test_of_another_run_no_metadata_file_is_taken[sqlite]",
    ),
    _halfway(
        "metadata files of another table in the same place",
        "[f for f in old if _is_of(table, f)]",
        "old",
        "test_killed_between_a_commit_and_its_clearing_up_a_run_leaves_nothing[sqlite]",
    ),
    _cleanup(
        "metadata files of commits that died half-way",
        "    count.add(clear_halfway(home, branch, name))\n",
        "",
        f"{_HALFWAY}::"
        "test_killed_in_the_middle_of_any_file_and_dropped_a_run_leaves_nothing[sqlite]",
    ),
    _expiry(
        "a ref that moved under an expiry",
        "moves.refs_are(table.metadata)",
        "()",
        "test_a_ref_that_moves_under_an_expiry_is_not_lost[portable]",
    ),
    _expiry(
        "tags taken for nothing",
        "tags=[r.snapshot_id for r in others.values() if not _is_branch(r.snapshot_ref_type)],",
        "tags=[],",
        "test_a_tag_keeps_the_run_it_points_into_and_no_more[sqlite]",
    ),
    _expiry(
        "unsealed snapshots that would be hidden",
        "unsealed=_unsealed(table, list(lineage.ancestry(lineage.main)))",
        "unsealed=()",
        "test_a_snapshot_that_no_seal_covers_is_not_hidden_from_auditors[sqlite]",
    ),
    _retention(
        "the ground of a waiting run",
        "if any(s.id in held for s in block) or ",
        "if ",
        "test_a_waiting_run_keeps_its_ground_and_gets_in[sqlite]",
    ),
    _cleanup(
        "manifests of the base that a rebased run has left",
        "brought = manifest.added_snapshot_id in ids",
        "brought = True",
        "test_a_rebase_over_a_replace_leaves_history_readable[sqlite]",
    ),
    _cleanup(
        "files of a run that was expired and is opened again",
        "return 0 if old else oldest",
        "return oldest",
        "test_an_expired_run_that_is_opened_late_and_dropped_takes_nothing_from_main[sqlite]",
    ),
    _retention(
        "a seal on a seal of the same run",
        '(snapshot.role in _BELOW_A_SEAL or snapshot.role == above.role == "seal")',
        "snapshot.role in _BELOW_A_SEAL",
        "test_a_run_that_was_sealed_on_its_own_seal_stays_whole[sqlite]",
    ),
    _retention(
        "branches taken for nothing",
        "            held.add(snapshot.id)\n",
        "",
        "test_a_foreign_branch_keeps_what_it_stands_on[sqlite]",
    ),
    _retention(
        "what main has just left",
        "        or _left_at(lineage, blocks, at) >= keep.shown_since\n",
        "",
        "test_what_main_showed_lately_stays_however_old_it_is[sqlite]",
    ),
    _retention(
        "what a live run published",
        "        or any(_is_at_work(s, keep) for s in blocks[at])\n",
        "",
        "test_what_a_live_run_made_stays[sqlite]",
    ),
    _retention(
        "half a run",
        "snapshot.run_id == above.run_id",
        "False",
        "test_a_tag_keeps_the_run_it_points_into_and_no_more[sqlite]",
    ),
    _retention(
        "half of a run that was sealed twice",
        ' or snapshot.role == above.role == "seal")',
        ")",
        "test_a_run_that_was_sealed_again_where_it_stood_is_one_run[sqlite]",
    ),
    _orphans(
        "grace",
        "and file.modified < before",
        "",
        _ONLY,
    ),
    _orphans(
        "a live run's files",
        "busy = Busy(live(), home.runs_on(name))",
        "busy = Busy(home.runs_on(name))",
        _ONLY,
    ),
    _orphans(
        "a run that has a branch",
        "busy = Busy(live(), home.runs_on(name))",
        "busy = Busy(live())",
        "test_a_run_with_a_branch_is_at_work_whoever_else_knows_it[sqlite]",
    ),
    _orphans(
        "a live run's files outside the table's place",
        " if elsewhere.run_of(place) not in busy else []",
        "",
        f"{_ELSEWHERE}::test_they_stay_while_their_run_is_at_work[sqlite]",
    ),
    _orphans(
        "files of snapshots outside the table's place",
        "strewn = {p: storage.without(files, used) for p, files in idle.items()}",
        "strewn = idle",
        f"{_ELSEWHERE}::test_they_are_swept_when_nothing_shows_them_any_more[sqlite]",
    ),
    _orphans(
        "files of snapshots",
        "return used | usage.data_in_use(home, now, every, {f.path for f in files})",
        "return used",
        "test_a_run_that_ends_while_files_are_looked_at_keeps_its_own[sqlite]",
    ),
    _orphans(
        "evidence that a seal names",
        "    used |= evidence_in_use(now.io, now.location(), files, map(summary_of, every))\n",
        "",
        f"{_EVIDENCE}::test_what_nobody_tells_of_any_more_is_swept",
    ),
    _orphans(
        "evidence of a run at work",
        "        and naming.evidence_of(file.path) not in busy\n",
        "",
        f"{_EVIDENCE}::test_what_nobody_tells_of_any_more_is_swept",
    ),
    _evidence(
        "evidence that a seal names, of which an attempt wrote another",
        "for path in sorted(here - named):",
        "for path in sorted(here):",
        f"{_EVIDENCE}::test_an_attempt_at_the_seal_that_died_leaves_none",
    ),
    _orphans(
        "manifests of snapshots",
        "    used |= usage.metadata_in_use(home, now, every)\n",
        "",
        _ONLY,
    ),
    _orphans(
        "the table's own metadata file",
        "        used |= _metadata_files(table)\n",
        "",
        "test_a_metadata_file_that_lost_its_race_goes_and_the_current_one_stays[sqlite]",
    ),
    _orphans(
        "another table in the same place",
        "elif told != str(table.metadata.table_uuid):",
        "elif False:",
        "test_a_place_that_two_tables_share_is_left_alone[sqlite]",
    ),
    _orphans(
        "files of a kind that nobody of ours makes",
        "return kind_of(file.path) is not None and file.modified",
        "return file.modified",
        _ONLY,
    ),
    _nessie(
        "what an earlier commit of Nessie shows",
        "for location in sorted(self._locations(now) - {now.metadata_location}):",
        "for location in ():",
        "test_on_nessie_a_commit_that_can_be_read_keeps_its_files[nessie]",
    ),
    _retention(
        "a history that was cut taken for whole",
        'return oldest.parent_id is not None or oldest.role in (*_BELOW_A_SEAL, "seal")',
        "return False",
        "test_the_newest_runs_stay_whole_and_proved[sqlite]",
    ),
    _auditing(
        "rows that changed while they were written anew",
        "        rewriting.append(proof)\n",
        "        del proof\n",
        "test_rows_that_changed_on_the_way_are_not_published[lost]",
    ),
    _own(
        "rows of which one value differs",
        "same = (before.rows, before.digest) == (after.rows, after.digest)",
        "same = before.rows == after.rows",
        "test_rows_of_which_one_value_differs_are_not_the_same",
    ),
    _own(
        "a row that was lost on the way",
        "same = (before.rows, before.digest) == (after.rows, after.digest)",
        "same = before.digest == after.digest",
        "test_rows_of_which_one_value_differs_are_not_the_same",
    ),
    _compaction(
        "a gate without a contract",
        "    if not left:\n",
        "    if False:\n",
        "test_contracts_about_the_batch_alone_are_not_enough",
    ),
    _compaction(
        "files that are large enough",
        " and file.file_size_in_bytes < SMALL_BYTES:",
        ":",
        "test_a_file_that_is_large_or_of_another_spec_is_not_touched",
    ),
    _liveness(
        "a live run",
        "return found is not None and found[2] in self.marks",
        "return False",
        "test_a_live_run_is_kept_whatever_else_is_told_of_it",
    ),
    _maintenance(
        "a live run that also ended once",
        "if left.run_id in at_work:",
        "if False:",
        "test_a_live_run_is_kept_whatever_else_is_told_of_it",
    ),
    _maintenance(
        "a run that ended a moment ago",
        "young = ended.at > self.now - wait",
        "young = False",
        "test_a_run_that_ended_waits_out_its_grace",
    ),
    _maintenance(
        "somebody else's run",
        "if not left.is_ours and not left.run_id.startswith(PROBE):",
        "if False:",
        "test_a_run_that_temporal_does_not_know_is_removed_if_it_was_ours_and_is_old",
    ),
    _maintenance(
        "a young run that Temporal does not know",
        "if left.since is not None and left.since > self.now - wait:",
        "if False:",
        "test_a_run_that_temporal_does_not_know_is_removed_if_it_was_ours_and_is_old",
    ),
)
