"""Guards of unions: a batch is published once, with all that it was audited with, or not at all."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_BEHAVIORS = "tests/behaviors/test_catalog_union.py"
_KEEPER = "tests/workflow/test_keeper.py"

_publish = guards_of("catalog/publish.py", _BEHAVIORS)
_cleanup = guards_of("catalog/cleanup.py", _BEHAVIORS)
_opening = guards_of("catalog/opening.py", _BEHAVIORS)
_proof = guards_of("catalog/proof.py", _BEHAVIORS)
_rebase = guards_of("catalog/rebase.py", _BEHAVIORS)
_history = guards_of("catalog/history.py", _BEHAVIORS)
_sealing = guards_of("catalog/sealing.py", _BEHAVIORS)
_nessie = guards_of("catalog/nessie_runs.py", _BEHAVIORS)
_unions = guards_of("wap/unions.py", "tests/unit/wap/test_unions.py")
_undoing = guards_of("wap/undoing.py", "tests/unit/wap/test_unions.py")
_keeper = guards_of("wap/keeper.py", _KEEPER)
_joint = guards_of("wap/joint.py", _KEEPER)
_retention = guards_of("catalog/retention.py", _BEHAVIORS)
_workflow = guards_of("wap/workflow.py", _KEEPER)
_turns = guards_of("wap/turns.py", _KEEPER)

GUARDS: tuple[Guard, ...] = (
    _publish(
        "a member that left in the moment of the publish",
        "*(moves.ref_is(m.branch.name, m.head) for m in audited.members),",
        "",
        "test_a_member_that_leaves_in_the_moment_of_the_publish_wins_or_loses_whole[rest]",
    ),
    _publish(
        "a member that is published again behind a rollback",
        "*(moves.remove_ref(m.branch.name) for m in audited.members),",
        "",
        "test_a_member_of_a_union_that_was_rolled_back_is_not_published_by_itself[sqlite]",
    ),
    _nessie(
        "a member that is published again behind a rollback, on Nessie",
        "    _check_not_gone_back(visible, branch, place.name)\n",
        "",
        "test_a_member_of_a_union_that_was_rolled_back_is_not_published_by_itself[nessie]",
    ),
    _nessie(
        "a union that publishes again what was rolled back, on Nessie",
        "            _check_not_gone_back(visible, member.branch, audited.table)\n",
        "            pass\n",
        "test_what_was_rolled_back_is_no_member_of_another_union[nessie]",
    ),
    _history(
        "a next round of a run that was published and rolled back",
        "*(entry.snapshot_id for entry in metadata.snapshot_log)]",
        "]",
        "test_what_was_rolled_back_is_not_staged_again_by_the_same_run[sqlite-True]",
    ),
    _cleanup(
        "an empty table that a late rename shows to readers",
        "        if is_shown_empty(home, branch, name):\n",
        "        if False:\n",
        "tests/integration/test_rest.py::"
        "test_a_rename_that_comes_after_main_was_taken_back_is_told_each_time",
    ),
    _cleanup(
        "a drop that forgets what main once showed",
        "    reached |= {s.snapshot_id for s in shown(metadata)}\n",
        "",
        "test_what_was_rolled_back_is_read_by_whoever_is_at_it_until_it_expires[sqlite]",
    ),
    _proof(
        "a union without one of its members",
        "if found != member.head:",
        "if False:",
        "test_a_union_is_not_published_without_a_member[memory-drop]",
    ),
    _nessie(
        "a union without one of its members, on Nessie",
        "    check_members(audited, lambda branch: _head_on(home, branch, audited.table))\n",
        "",
        "test_a_union_is_not_published_without_a_member[nessie-drop]",
    ),
    _proof(
        "a union sealed for other members",
        "same = same and facts.members == audited.member_ids",
        "same = bool(same)",
        "test_a_seal_names_the_members_it_was_made_for[sqlite]",
    ),
    _sealing(
        "a seal that hides a member",
        "if facts.members != audited.member_ids:",
        "if False:",
        "test_a_seal_names_the_members_it_was_made_for[sqlite]",
    ),
    _rebase(
        "a batch on top of a union that holds it",
        "if any(holds(snapshot, run_id) for run_id in runs):",
        "if False:",
        "test_a_batch_that_a_union_published_does_not_come_a_second_time[sqlite]",
    ),
    _history(
        "a member's run that is opened again",
        "return is_own(snapshot, run_id) or run_id in members_in(summary_of(snapshot))",
        "return is_own(snapshot, run_id)",
        "test_a_batch_that_a_union_published_does_not_come_a_second_time[sqlite]",
    ),
    _unions(
        "two runs that have read the same",
        "if source.done(cursor, pinned.plan):",
        "if False:",
        "test_runs_that_read_the_same_are_not_united",
    ),
    _unions(
        "runs under other contracts than were audited",
        "if not (unites(pinned) and alike and _fits(staging, published)):",
        "if not (unites(pinned) and _fits(staging, published)):",
        "test_what_is_declared_otherwise_is_not_united",
    ),
    _unions(
        "a union that its members do not know of",
        "home.folder(member.run_id).note_union(union.run_id)",
        "pass",
        "test_a_member_that_leaves_takes_the_union_with_it_and_no_other[seal]",
    ),
    _undoing(
        "a union that was begun during the undo",
        "    _drop_unions(catalog, table, folder)\n    # Without its branch",
        "    # Without its branch",
        "test_a_union_that_was_begun_during_the_undo_of_a_member_is_dropped",
    ),
    _undoing(
        "a published union that a member's undo drops",
        "if run_id == seal.run_id or run_id in seal.members:",
        "if run_id in evidence.runs_of(seal):",
        "test_every_member_is_closed_as_a_run_of_its_own",
    ),
    _joint(
        "a union whose audit failed",
        "if not audited.passed:",
        "if False:",
        "test_a_bad_one_never_blocks_the_good_ones",
    ),
    _joint(
        "a union that is left as it is",
        "await uninterrupted(self._dissolve())",
        "pass",
        "test_a_bad_one_never_blocks_the_good_ones",
    ),
    _keeper(
        "a cancelled run that leaves a union at work",
        "if ticket.execution in self._joined:",
        "if False:",
        "test_a_run_that_is_cancelled_while_a_union_holds_it_hears_how_that_ends",
    ),
    _retention(
        "a union that is forgotten before its members have heard of it",
        "runs = (snapshot.run_id, *members_in(snapshot.summary))",
        "runs = (snapshot.run_id,)",
        "test_a_union_is_not_forgotten_while_one_of_its_members_is_at_work[nessie-False]",
    ),
    _opening(
        "a next round of a member whose union a server does not tell that main showed",
        "return bool(unions) and bool({s.snapshot_id for s in unions} - _reached(metadata))",
        "return False",
        "test_a_union_is_not_forgotten_while_one_of_its_members_is_at_work[rest-True]",
    ),
    _workflow(
        "a run that says it was rejected, and main holds its batch",
        "            return self._conclude(Ending.PUBLISHED)\n        self._raise_if_cancelled()\n"
        "        return self._conclude(Ending.REJECTED, reason)",
        "            pass\n        self._raise_if_cancelled()\n"
        "        return self._conclude(Ending.REJECTED, reason)",
        "test_who_is_rejected_alone_and_published_by_a_union_says_that_it_is_published",
    ),
    _turns(
        "a run that waits for a keeper that has forgotten it",
        "                await enlist(ticket)\n",
        "                if look == FIRST_LOOK:\n                    await enlist(ticket)\n",
        "test_a_keeper_that_is_terminated_is_replaced",
    ),
)
