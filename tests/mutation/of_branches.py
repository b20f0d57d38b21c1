"""Guards of branches and commits: what a step refuses, and what a seal covers (law 2)."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_BEHAVIORS = "tests/behaviors/test_catalog"
_IDEMPOTENCE = f"{_BEHAVIORS}_idempotence.py"
_RARE = "tests/behaviors/test_guard_catalog.py"
_SCHEMA = f"{_BEHAVIORS}_schema.py"
_TRAPS = f"{_BEHAVIORS}_traps.py"
_UNIT = "tests/unit/catalog/test"
_rebase = guards_of("catalog/rebase.py", f"{_BEHAVIORS}.py")
_staging = guards_of("catalog/staging.py", _IDEMPOTENCE)
_opening = guards_of("catalog/opening.py", _TRAPS)
_cleanup = guards_of("catalog/cleanup.py", _IDEMPOTENCE)
_unstaging = guards_of("catalog/unstaging.py", _IDEMPOTENCE)
_rollback = guards_of("catalog/rollback.py", f"{_BEHAVIORS}.py")
_commits = guards_of("catalog/commits.py", f"{_UNIT}_commits.py")
_coverage = guards_of("catalog/coverage.py", f"{_UNIT}_coverage.py")
_history = guards_of("catalog/history.py", f"{_BEHAVIORS}_guards.py")
_RESTAGE = "tests/behaviors/test_catalog_restage.py"
_OWN_ROLE = "summary.get(naming.RUN) == run_id and summary.get(naming.ROLE) in _MADE_BY_RUNS"

GUARDS: tuple[Guard, ...] = (
    _rebase(
        "the old base of a run that main has left behind",
        "chain.base == head_id(visible.metadata, MAIN) and _schema",
        "_schema",
        "test_two_runs_of_one_table_both_get_in[sqlite]",
    ),
    _rebase(
        "changed columns taken for no change",
        " and _schema_stands(visible, chain)\n",
        "\n",
        f"{_BEHAVIORS}_guards.py::test_columns_that_changed_under_the_run[sqlite]",
    ),
    _rebase(
        "a rebase that has landed",
        "is_drafted(chain, drafts) or (",
        "(",
        f"{_BEHAVIORS}_parallel.py::"
        "test_main_that_moves_again_right_behind_a_rebase_is_left_to_the_next_one[sqlite]",
    ),
    _rebase(
        "columns that changed under the run",
        "if not _schema_stands(table, chain):",
        "if False:",
        f"{_SCHEMA}::test_rebase_refuses_when_another_run_published_other_columns[sqlite]",
    ),
    _rebase(
        "a replace put on another base",
        'if chain.staged is not None and summary_of(chain.staged).get(naming.REMOVED) != "0":',
        "if False:",
        "test_a_replace_is_not_rebased[sqlite]",
    ),
    _rebase(
        "a first load of other columns",
        "if differs is not None:",
        "if False:",
        f"{_BEHAVIORS}_first_load.py::test_a_first_load_of_another_shape_is_not_rebased[sqlite]",
    ),
    _rebase(
        "a first load partitioned otherwise",
        "if not schemas.same_spec(staged.spec(), visible.spec()) or main is None:",
        "if main is None:",
        f"{_BEHAVIORS}_first_load.py::test_a_first_load_partitioned_otherwise_is_not_rebased[sqlite]",
    ),
    _rebase(
        "a run that staged nothing taken for staged",
        '"rebase" if chain.staged is not None else "open"',
        '"rebase"',
        "test_rebase_before_staging_leaves_the_branch_unstaged[sqlite]",
    ),
    _rebase(
        "a snapshot that a ref moves to during the commit",
        "requirements = (*moves.refs_are(metadata), moves.schema_is(metadata))",
        "requirements = (moves.schema_is(metadata),)",
        f"{_RARE}::test_a_snapshot_that_a_ref_moves_to_during_the_rebase_stays[portable]",
    ),
    _staging(
        "another change taken for this one",
        "summary_of(staged).get(naming.CHANGE) == digest:",
        "True:",
        "test_a_late_attempt_with_other_files_is_refused[sqlite]",
    ),
    _staging(
        "the same change twice",
        "summary_of(staged).get(naming.CHANGE) == digest:",
        "False:",
        "test_stage_twice_is_one_change[sqlite]",
    ),
    _staging(
        "a second change on a staged branch",
        "if chain.staged is not None or chain.head.snapshot_id != staging.head:",
        "if chain.staged is None and chain.head.snapshot_id != staging.head:",
        "test_a_late_attempt_with_other_files_is_refused[sqlite]",
    ),
    _staging(
        "an attempt of an earlier round",
        "if chain.staged is not None or chain.head.snapshot_id != staging.head:",
        "if chain.staged is not None:",
        "test_a_late_stage_of_an_earlier_round_does_not_reach_the_next[sqlite-False]",
    ),
    _staging(
        "another change put in place of none",
        "if chain.staged is None or chain.head.snapshot_id != staging.head:",
        "if chain.head.snapshot_id != staging.head:",
        f"{_RESTAGE}::test_there_must_be_a_change[sqlite]",
    ),
    _staging(
        "a late attempt's change put in place of another",
        "if chain.staged is None or chain.head.snapshot_id != staging.head:",
        "if chain.staged is None:",
        f"{_RESTAGE}::test_a_late_attempt_with_other_files_is_refused[sqlite]",
    ),
    _staging(
        "a rebase's ground lost by what takes its change's place",
        "drafts[0].summary = {**_ground_of(chain), **drafts[0].summary}",
        "pass",
        f"{_RESTAGE}::test_it_stands_on_what_a_rebase_has_put_the_run_on[sqlite-grows]",
    ),
    _staging(
        "a branch that is gone at the commit",
        "requirements=(moves.ref_is(ref, parent.snapshot_id),),",
        "requirements=(),",
        f"{_TRAPS}::test_trap_2_a_branch_removed_during_the_commit_is_not_resurrected[portable]",
    ),
    _staging(
        "carried rows counted as the batch",
        "if not is_kept(f.file_path)",
        "if True",
        f"{_BEHAVIORS}.py::test_replace_takes_files_away_and_carries_rows_over[sqlite]",
    ),
    _staging(
        "files named as what they are not",
        "    check_names(change)\n",
        "",
        f"{_BEHAVIORS}.py::test_names_of_carried_over_files_are_checked[sqlite]",
    ),
    _opening(
        "a branch of somebody else",
        "if branch.name in table.metadata.refs:",
        "if False:",
        "test_trap_7_opening_does_not_move_a_ref_that_is_there",
    ),
    _opening(
        "a run that is published already",
        "if was_published(table, branch):",
        "if False:",
        f"{_IDEMPOTENCE}::test_open_of_a_published_run_is_refused[sqlite]",
    ),
    _opening(
        "a table of another format",
        "        check_format(table, name)\n",
        "",
        "test_a_table_of_another_format_version_is_refused",
    ),
    _opening(
        "columns on main before publish",
        "updates.append(moves.add_schema(schema))",
        "updates += [moves.add_schema(schema), moves.set_schema(schema.schema_id)]",
        f"{_SCHEMA}::test_a_new_column_is_the_candidates_only_until_publish[sqlite]",
    ),
    _opening(
        "another partitioning",
        "    schemas.check_partitioning(table.schema(), table.spec(), shape.partitioning, where)\n",
        "",
        f"{_BEHAVIORS}.py::test_partitioning_of_a_published_table_cannot_change[sqlite]",
    ),
    _cleanup(
        "a drop of somebody else's branch",
        "if run_chain(table, branch) is None:",
        "if False:",
        f"{_BEHAVIORS}_guards.py::test_a_foreign_append_on_the_branch[sqlite]",
    ),
    _cleanup(
        "a snapshot that another ref shows",
        "if s.snapshot_id not in reached",
        "if True",
        f"{_TRAPS}::test_trap_8_a_snapshot_that_somebody_tagged_stays",
    ),
    _cleanup(
        "data files of main",
        "count.add(storage.delete_files(table.io, location, storage.without(found, used)))",
        "count.add(storage.delete_files(table.io, location, found))",
        "test_drop_after_publish_touches_nothing_published[sqlite]",
    ),
    _cleanup(
        "manifests of main",
        "deleted = storage.delete_files(table.io, location, storage.without(found, used))",
        "deleted = storage.delete_files(table.io, location, found)",
        "test_drop_after_publish_touches_nothing_published[sqlite]",
    ),
    _cleanup(
        "files of the next round, for a late attempt at dropping this one",
        "return table if table is not None and branch.name not in table.metadata.refs else None",
        "return table",
        "test_a_late_drop_of_an_earlier_round_takes_nothing_of_the_next[sqlite-False]",
    ),
    _unstaging(
        "a new table of the next round, for a late attempt at dropping this one",
        "    now = home.hidden(branch, name)\n    if now is None:\n",
        "    now = home.hidden(branch, name)\n    if True:\n",
        "test_a_late_drop_of_a_first_load_takes_nothing_of_the_next_round[sqlite-False]",
    ),
    _rollback(
        "main that has moved",
        "if main.snapshot_id != move.expected:",
        "if False:",
        "test_rollback_refuses_when_main_has_moved[sqlite]",
    ),
    _rollback(
        "a snapshot without a seal",
        "if not value_of(name, found).is_sealed:",
        "if False:",
        "test_rollback_refuses_what_is_not_sealed[sqlite]",
    ),
    _rollback(
        "a seal that was never published",
        "for s in ancestry(table.metadata, main) if",
        "for s in table.metadata.snapshots if",
        f"{_RARE}::test_rollback_to_a_seal_that_is_not_published[sqlite]",
    ),
    _rollback(
        "columns of a later snapshot",
        "updates.append(moves.set_schema(to.schema_id))",
        "pass",
        f"{_SCHEMA}::test_rollback_takes_the_columns_back_too[sqlite]",
    ),
    _commits(
        "another table of the same name",
        "return (moves.same_table(self.table.metadata), *self.requirements)",
        "return self.requirements",
        f"{_UNIT}_guard_commits.py::test_every_proposal_requires_the_same_table",
    ),
    _commits(
        "an outage that is waited for without end",
        "            attempts.raise_if_hopeless()\n",
        "",
        "test_a_catalog_that_does_not_answer_is_not_asked_for_ever",
    ),
    _commits(
        "files deleted after a lost answer",
        "                self.landed = True\n                self._unanswered",
        "                self._unanswered",
        "test_a_refusal_after_a_lost_answer_keeps_the_files",
    ),
    _commits(
        "files deleted after a success",
        "if not self.landed:",
        "if True:",
        "test_a_success_is_read_back_and_keeps_its_files",
    ),
    _commits(
        "a bug tried again as if it were a race",
        'return isinstance(exc, ValueError) and "Cannot add',
        'return isinstance(exc, ValueError) or "Cannot add',
        "test_another_value_error_is_a_bug",
    ),
    _commits(
        "a lost race taken for a bug",
        'ValueError) and "Cannot add snapshot with sequence number" in str(exc)',
        "ValueError) and False",
        "test_a_sequence_number_is_a_race_too",
    ),
    _coverage(
        "a seal with a fact missing",
        'return Gap(seal, "seal", "it calls itself a seal and lacks a seal\'s facts")',
        "return None",
        "test_a_seal_with_a_fact_missing_or_odd",
    ),
    _coverage(
        "a seal about another snapshot",
        "below.id == seal.parent_id == facts.audited",
        "below.id == seal.parent_id",
        "test_a_seal_about_another_snapshot",
    ),
    _coverage(
        "a seal that stands elsewhere",
        "below.id == seal.parent_id == facts.audited",
        "below.id == facts.audited",
        f"{_UNIT}_guard_coverage.py::test_a_seal_that_stands_elsewhere",
    ),
    _coverage(
        "a seal over another run's snapshot",
        "        and below.run_id == facts.run_id\n",
        "",
        "test_a_seal_of_another_run",
    ),
    _coverage(
        "a seal over what is no stage",
        '        and below.role in (*_BELOW_A_SEAL, "seal")\n',
        "",
        f"{_UNIT}_guard_coverage.py::test_a_seal_over_a_snapshot_without_a_role",
    ),
    _coverage(
        "a seal that shows other files",
        "if not shows_same(seal.id, below.id):",
        "if False:",
        "test_a_seal_that_shows_other_files",
    ),
    _coverage(
        "another run's snapshot below a seal",
        "return snapshot.run_id == run_id and snapshot.role in _BELOW_A_SEAL",
        "return snapshot.role in _BELOW_A_SEAL",
        "test_a_seal_covers_its_own_run_only",
    ),
    _coverage(
        "a foreign snapshot below a seal",
        "return snapshot.run_id == run_id and snapshot.role in _BELOW_A_SEAL",
        "return True",
        "test_a_foreign_snapshot_is_named_wherever_it_is",
    ),
    _coverage(
        "a snapshot without a role below a seal",
        "return snapshot.run_id == run_id and snapshot.role in _BELOW_A_SEAL",
        "return snapshot.run_id == run_id",
        f"{_UNIT}_guard_coverage.py::test_a_snapshot_without_a_role_below_a_stage",
    ),
    _coverage(
        "a bootstrap that is not the first",
        "        and snapshot.parent_id is None\n",
        "",
        "test_a_bootstrap_must_be_first_and_empty",
    ),
    _coverage(
        "a bootstrap with rows",
        '        and snapshot.summary.get("total-records", "0") == "0"\n',
        "",
        "test_a_bootstrap_must_be_first_and_empty",
    ),
    _coverage(
        "a broken seal that covers",
        "            if broken is not None:\n                bare.append(broken)\n",
        "",
        "test_a_seal_about_another_snapshot",
    ),
    _history(
        "a snapshot of another run",
        _OWN_ROLE,
        "summary.get(naming.ROLE) in _MADE_BY_RUNS",
        f"{_UNIT}_guard_history.py::test_a_run_owns_what_it_made",
    ),
    _history(
        "a snapshot without a role",
        _OWN_ROLE,
        "summary.get(naming.RUN) == run_id",
        f"{_UNIT}_guard_history.py::test_a_run_owns_what_it_made",
    ),
    _history(
        "a foreign snapshot inside a chain",
        "        if not is_own(snapshot, run_id):\n            break\n",
        "        if not is_own(snapshot, run_id):\n            continue\n",
        f"{_UNIT}_guard_history.py::test_a_chain_ends_at_the_first_foreign_snapshot",
    ),
)
