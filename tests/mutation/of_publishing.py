"""Guards of sealing and publishing: what proves that a head was audited (law 2)."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_BEHAVIORS = "tests/behaviors/test_catalog"
_IDEMPOTENCE = f"{_BEHAVIORS}_idempotence.py"
_RARE = "tests/behaviors/test_guard_catalog.py"
_SCHEMA = f"{_BEHAVIORS}_schema.py"
_TRAPS = f"{_BEHAVIORS}_traps.py"
_UNIT = "tests/unit/catalog/test"
_refs = guards_of("catalog/refs.py", f"{_UNIT}_refs.py")
_publish = guards_of("catalog/publish.py", f"{_BEHAVIORS}_guards.py")
_sql = guards_of("catalog/sql.py", _RARE)
_postgres_sql = guards_of("catalog/sql.py", "tests/integration/test_postgres.py")
_postgres = guards_of("catalog/postgres.py", "tests/integration/test_postgres.py")
_rest = guards_of("catalog/rest.py", f"{_UNIT}_iceberg_rest.py")
_rest_names = guards_of("catalog/iceberg_rest.py", f"{_UNIT}_iceberg_rest.py")
_unstaging = guards_of("catalog/unstaging.py", "tests/integration/test_rest.py")
_proof = guards_of("catalog/proof.py", f"{_BEHAVIORS}_guards.py")
_TAINT = f"{_BEHAVIORS}_taint.py"
_coverage = guards_of("catalog/coverage.py", _TAINT)
_memory = guards_of("catalog/nodes.py", _TAINT)
_sealing = guards_of("catalog/sealing.py", f"{_BEHAVIORS}_guards.py")
_waivers = guards_of("catalog/waivers.py", f"{_UNIT}_refs.py")
_LESS = "test_no_audited_head_from_less"
_OTHER_WAIVER = "test_no_audited_head_from_a_waiver_of_something_else"
_MAKES_UP = "test_a_waiver_does_not_make_up_for_anything_else"
_TOLD = "told = (facts.run_id, facts.audited, facts.report_digest)"

GUARDS: tuple[Guard, ...] = (
    _refs(
        "a report about another snapshot", "if report.snapshot_id != self.head:", "if False:", _LESS
    ),
    _refs("a report without checks", "if not report.declared:", "if False:", _LESS),
    _refs(
        "a check that was not evaluated",
        "if report.evaluated != report.declared:",
        "if report.evaluated - report.declared:",
        _LESS,
    ),
    _refs(
        "a check that nobody declared",
        "if report.evaluated != report.declared:",
        "if report.declared - report.evaluated:",
        _LESS,
    ),
    _refs(
        "an audit that did not pass",
        "if report.passed is not True:",
        "if report.passed is None:",
        _LESS,
    ),
    _refs(
        "an audit that is only truthy",
        "if report.passed is not True:",
        "if not report.passed:",
        _LESS,
    ),
    _refs(
        "a waiver that nobody looks at",
        "self._check_waiver(self.waiver, where)",
        "pass",
        _OTHER_WAIVER,
    ),
    _waivers(
        "a waiver for nothing that failed",
        "(not waivable,",
        "(False,",
        "test_a_waiver_of_nothing_covers_no_failed_audit",
    ),
    _waivers("a waiver of another run", "(waiver.run_id != run_id,", "(False,", _OTHER_WAIVER),
    _waivers(
        "a waiver of another report",
        "(waiver.report_digest != report_digest,",
        "(False,",
        _OTHER_WAIVER,
    ),
    _waivers("a failed check that is not named", "(bool(missing),", "(False,", _OTHER_WAIVER),
    _waivers("a check that did not fail", "(bool(more),", "(False,", _OTHER_WAIVER),
    _waivers("a waiver of nobody", "(not waiver.person.strip(),", "(False,", _OTHER_WAIVER),
    _waivers("a waiver without a reason", "(not waiver.reason.strip(),", "(False,", _OTHER_WAIVER),
    _refs(
        "a waiver that stands in for a whole report",
        "if report.evaluated != report.declared:",
        "if self.waiver is None and report.evaluated != report.declared:",
        _MAKES_UP,
    ),
    _refs(
        "a note that is read as a waiver",
        'for k, v in self.notes.items() if f"wap.{k}" not in own}',
        "for k, v in self.notes.items()}",
        "test_notes_cannot_stand_in_for_a_fact",
    ),
    _refs(
        "a seal that loses its waiver",
        'waiver=summary.get(_WAIVER, ""),',
        'waiver="",',
        "test_a_seal_survives_its_summary[seal1]",
    ),
    _refs("a report without a digest", "if not report.digest:", "if False:", _LESS),
    _refs("main as a staging branch", " or self.name == MAIN:", ":", "test_what_is_no_branch"),
    _refs(
        "a staged snapshot with the facts of a seal",
        'self.role == "seal" and Seal',
        "Seal",
        "test_only_the_seal_itself_is_sealed",
    ),
    _refs(
        "a seal without its facts",
        'self.role == "seal" and Seal.in_summary(self.summary)',
        'self.role == "seal"',
        f"{_UNIT}_guard_refs.py::test_the_word_seal_alone_is_no_seal",
    ),
    _refs(
        "a seal with one fact",
        "told = all(summary",
        "told = any(summary",
        "test_a_seal_without_a_fact_is_none",
    ),
    _refs(
        "a fact read as there that is missing",
        'if missing or summary.get("wap.role") != "seal":',
        'if summary.get("wap.role") != "seal":',
        "test_a_seal_without_a_fact_is_none",
    ),
    _refs(
        "a summary of another role read as a seal",
        'if missing or summary.get("wap.role") != "seal":',
        "if missing:",
        f"{_UNIT}_guard_refs.py::test_another_role_is_not_read_as_a_seal",
    ),
    _refs(
        "a note in the place of a fact",
        'return {**notes, **facts, **told, "wap.role": "seal"}',
        'return {**facts, **told, "wap.role": "seal", **notes}',
        "test_notes_cannot_stand_in_for_a_fact",
    ),
    _publish(
        "main that has moved",
        "if main != audited.expected:",
        "if False:",
        "test_a_wrong_expectation_of_main[sqlite]",
    ),
    _publish(
        "a head without a proven seal",
        "sealed = sealed_head(table, audited.branch.name, audited)",
        "sealed = head_of(table.metadata, audited.branch.name)",
        "test_no_seal[sqlite]",
    ),
    _publish(
        "a first load without a proven seal",
        "sealed = sealed_head(hidden, audited.branch.name, audited)",
        "sealed = head_of(hidden.metadata, audited.branch.name)",
        f"{_RARE}::test_a_first_load_without_a_seal[sqlite]",
    ),
    _publish(
        "foreign snapshots below the head",
        "    check_chain(table, audited, sealed, audited.expected)\n",
        "",
        "test_a_foreign_snapshot_below_the_audited_head[sqlite]",
    ),
    _publish(
        "foreign snapshots below the head of a first load",
        "    check_chain(hidden, audited, sealed, head_id(metadata, MAIN))\n",
        "",
        f"{_RARE}::test_a_foreign_snapshot_in_a_first_load[sqlite]",
    ),
    _publish(
        "a group in a catalog that cannot",
        "if len(heads) > 1 and not home.committer.atomic_groups:",
        "if False:",
        f"{_BEHAVIORS}.py::test_several_tables_are_published_in_one_step_or_refused[portable]",
    ),
    _publish(
        "one table twice in a group",
        "if len({h.table for h in heads}) != len(heads):",
        "if False:",
        f"{_BEHAVIORS}.py::test_one_table_twice_in_a_group_is_refused[sqlite]",
    ),
    _publish(
        "any published snapshot taken for this one",
        "if is_about(snapshot, audited):",
        "if True:",
        "test_no_seal[sqlite]",
    ),
    _publish(
        "a publish that is there already",
        "if is_about(snapshot, audited):",
        "if False:",
        f"{_IDEMPOTENCE}::test_publish_twice_is_one_publish[sqlite-False]",
    ),
    _publish(
        "a first load over a table of another run",
        "    if visible is not None:\n        # Another run",
        "    if False:\n        # Another run",
        f"{_BEHAVIORS}_first_load.py::test_of_two_first_loads_the_second_rebases_its_files[sqlite]",
    ),
    _publish(
        "a first load that expected a table",
        "if audited.expected is not None:",
        "if False:",
        f"{_RARE}::test_a_first_load_that_expects_a_head[sqlite]",
    ),
    _publish(
        "another audit's half-done publish",
        "main is not None and is_about(main, audited) and",
        "main is not None and",
        f"{_RARE}::test_a_half_done_publish_of_another_audit[portable]",
    ),
    _publish(
        "other files in a half-done publish",
        "        check_manifests(hidden, audited, main)\n",
        "",
        f"{_RARE}::test_a_half_done_publish_that_shows_more[portable]",
    ),
    _publish(
        "a move of main during the commit",
        "        moves.ref_is(MAIN, main),\n        moves.ref_is(ref, sealed.snapshot_id),",
        "        moves.ref_is(ref, sealed.snapshot_id),",
        f"{_TRAPS}::test_trap_4_both_refs_are_required_not_only_the_first[portable-main]",
    ),
    _publish(
        "a move of the branch during the commit",
        "        moves.ref_is(ref, sealed.snapshot_id),\n",
        "",
        f"{_RARE}::test_a_branch_that_moves_during_the_publish[portable]",
    ),
    _publish(
        "other columns during the commit",
        "        moves.schema_is(metadata),\n    )\n",
        "    )\n",
        f"{_RARE}::test_columns_that_change_during_the_publish[portable]",
    ),
    _publish(
        "columns that were audited and not shown",
        "updates.append(moves.set_schema(sealed.schema_id))",
        "pass",
        f"{_SCHEMA}::test_a_new_column_is_the_candidates_only_until_publish[sqlite]",
    ),
    _publish(
        "a branch to publish from once more",
        "        moves.remove_ref(ref),\n",
        "",
        f"{_BEHAVIORS}.py::test_a_published_branch_is_gone[sqlite]",
    ),
    _sql(
        "a table that another process has changed",
        "                IcebergTables.metadata_location == swap.old_location,\n",
        "",
        f"{_TRAPS}::test_trap_4_both_refs_are_required_not_only_the_first[sqlite-main]",
    ),
    _publish(
        "a new table among a group's moves, where names are given one by one",
        "if len(proposals) > 1 and new and not home.committer.new_in_groups:",
        "if False:",
        f"{_BEHAVIORS}.py::test_several_tables_are_published_in_one_step_or_refused[rest]",
    ),
    _postgres_sql(
        "a transaction that the database undid, taken for one of unknown end",
        "if isinstance(exc, DBAPIError) and is_undone(exc):",
        "if False:",
        "test_a_deadlock_with_somebody_else_is_a_lost_race",
    ),
    _postgres_sql(
        "groups that wait for each other",
        "for swap in sorted(swaps, key=lambda s: s.new_name):",
        "for swap in swaps:",
        "test_groups_lock_their_tables_in_one_order_whatever_they_are_given",
    ),
    _postgres(
        "connections that a restart has killed",
        '"pool_pre_ping": "true"',
        '"pool_pre_ping": "false"',
        "test_a_restart_in_mid_run_is_not_noticed_by_a_warm_worker",
    ),
    _rest(
        "branches inside the tables of Nessie's Iceberg REST",
        'if catalog.properties.get(_IS_NESSIE, "false").lower() == "true":',
        "if False:",
        "test_nessie_is_refused",
    ),
    _rest(
        "a group on a server that cannot commit it in one step",
        "self.atomic_groups = catalog.commits_groups",
        "self.atomic_groups = True",
        "test_groups_are_offered_only_by_a_server_that_says_so",
    ),
    _rest_names(
        "a call that waits for ever",
        '**{"timeout": self._timeout, **given}',
        "**given",
        "test_every_call_ends_the_one_for_the_configuration_too",
    ),
    _unstaging(
        "files of a table whose old name is still there",
        "return visible is not None and visible.metadata.table_uuid == hidden.metadata.table_uuid",
        "return False",
        f"{_BEHAVIORS}_faults.py::"
        "test_a_rename_that_died_between_its_two_halves_is_published_and_cleared[glue]",
    ),
    _unstaging(
        "files that go while a publish may still find the branch",
        "if ref is not None and home.warehouse is None:",
        "if False:",
        "test_a_publish_that_comes_while_the_files_go_is_refused",
    ),
    _unstaging(
        "data that nobody can find once the entry is gone",
        "        if home.warehouse is None:\n            # Nobody",
        "        if False:\n            # Nobody",
        "test_a_drop_that_dies_around_the_entry_leaves_no_data",
    ),
    _sql(
        "a group that is moved in part",
        "if changed.rowcount != 1:",
        "if False:",
        "test_a_group_of_which_one_moves_during_the_commit_moves_nothing[sqlite]",
    ),
    _proof(
        "a head without a seal",
        "if head.snapshot_id == audited.head:",
        "if False:",
        "test_no_seal[sqlite]",
    ),
    _proof(
        "a head that is no seal",
        'if role != "seal":',
        "if False:",
        "test_a_foreign_append_after_the_seal[sqlite]",
    ),
    _proof(
        "a seal of another audit",
        "if not is_about(head, audited):",
        "if False:",
        "test_a_seal_for_another_report[sqlite]",
    ),
    _proof(
        "a seal that shows other files",
        "    check_manifests(table, audited, head)\n",
        "",
        "test_a_seal_that_shows_more_than_was_audited[sqlite]",
    ),
    _proof(
        "a seal of another run",
        _TOLD,
        "told = (audited.branch.run_id, facts.audited, facts.report_digest)",
        f"{_UNIT}_guard_proof.py::test_a_seal_is_about_one_run_head_and_report",
    ),
    _proof(
        "a seal of another head",
        _TOLD,
        "told = (facts.run_id, audited.head, facts.report_digest)",
        f"{_UNIT}_guard_proof.py::test_a_seal_is_about_one_run_head_and_report",
    ),
    _proof(
        "a seal of another report",
        _TOLD,
        "told = (facts.run_id, facts.audited, audited.report.digest)",
        "test_a_seal_for_another_report[sqlite]",
    ),
    _proof(
        "a seal under another waiver",
        "return same and facts.waiver == audited.waiver_text",
        "return same",
        f"{_UNIT}_guard_proof.py::test_a_seal_is_about_one_run_head_and_report",
    ),
    _sealing(
        "a seal that hides the waiver",
        "if facts.waiver != audited.waiver_text:",
        "if False:",
        "test_sealing_without_the_waiver_that_the_head_stands_by[sqlite]",
    ),
    _proof(
        "a seal with a fact missing",
        'if summary.get(naming.ROLE) != "seal" or not Seal.in_summary(summary):',
        'if summary.get(naming.ROLE) != "seal":',
        f"{_UNIT}_guard_proof.py::test_what_is_no_seal_is_about_nothing",
    ),
    _proof(
        "a seal that stands elsewhere",
        "if below is None or sealed.parent_snapshot_id != below.snapshot_id:",
        "if below is None:",
        "test_a_seal_that_does_not_stand_on_the_audited_head[sqlite]",
    ),
    _proof(
        "more files than were audited",
        "if not same or sealed.schema_id != below.schema_id:",
        "if sealed.schema_id != below.schema_id:",
        "test_a_seal_that_shows_more_than_was_audited[sqlite]",
    ),
    _proof(
        "other columns than were audited",
        "if not same or sealed.schema_id != below.schema_id:",
        "if not same:",
        f"{_RARE}::test_a_seal_that_shows_other_columns[sqlite]",
    ),
    _proof(
        "a branch that did not start from main",
        "if chain is None or chain.base != expected:",
        "if chain is None:",
        "test_a_branch_without_a_root[sqlite]",
    ),
    _proof(
        "a second change of the run",
        'if "seal" in below or sum(role in changes for role in below) > 1:',
        'if "seal" in below:',
        f"{_TAINT}::test_two_changes_of_one_run_of_which_the_audit_saw_one_as_the_batch[sqlite]",
    ),
    _proof(
        "a seal below the seal",
        'if "seal" in below or sum(role in changes for role in below) > 1:',
        "if sum(role in changes for role in below) > 1:",
        f"{_UNIT}_guard_proof.py::test_a_run_has_one_change_and_one_seal",
    ),
    _coverage(
        "a main that somebody else wrote to",
        'if sealed_only or gap.kind != "foreign"]',
        'if gap.kind != "foreign"]',
        f"{_TAINT}::test_rows_of_another_writer_are_built_on_or_not_as_the_run_says[sqlite]",
    ),
    _publish(
        "a main that a failed run got into",
        "    check_main(table, audited)\n",
        "",
        f"{_TAINT}::test_a_head_over_what_a_failed_run_left_on_main[sqlite]",
    ),
    _memory(
        "a main that a failed run got into, in memory",
        "    check_ground(log, where=where, sealed_only=audited.sealed_only)\n",
        "",
        f"{_TAINT}::test_a_head_over_what_a_failed_run_left_on_main[memory]",
    ),
    _proof(
        "columns that changed under the run",
        "        _check_schema(table, audited, chain)\n",
        "        pass\n",
        "test_columns_that_changed_under_the_run[sqlite]",
    ),
    _sealing(
        "a seal for another run",
        _TOLD,
        "told = (audited.branch.run_id, facts.audited, facts.report_digest)",
        "test_sealing_for_another_run[sqlite]",
    ),
    _sealing(
        "a seal for another head",
        _TOLD,
        "told = (facts.run_id, audited.head, facts.report_digest)",
        "test_sealing_another_head[sqlite]",
    ),
    _sealing(
        "a seal for another report",
        _TOLD,
        "told = (facts.run_id, facts.audited, audited.report.digest)",
        "test_sealing_with_another_report[sqlite]",
    ),
    _sealing(
        "a seal with a fact missing",
        "if not Seal.in_summary(facts.to_summary()):",
        "if False:",
        "test_sealing_with_a_fact_missing[sqlite]",
    ),
    _sealing(
        "an audit of an older head",
        "if below is None or (head.snapshot_id != audited.head and not replaces):",
        "if below is None:",
        "test_an_audit_of_an_older_head[sqlite]",
    ),
    _sealing(
        "a seal in the place of another head's",
        ' == "seal" and head.parent_snapshot_id == audited.head',
        ' == "seal"',
        f"{_RARE}::test_a_seal_does_not_take_the_place_of_another_heads[sqlite]",
    ),
    _sealing(
        "a branch that moves during the commit",
        "(moves.ref_is(ref, head.snapshot_id),)",
        "()",
        f"{_RARE}::test_a_branch_that_moves_while_it_is_sealed[portable]",
    ),
)
