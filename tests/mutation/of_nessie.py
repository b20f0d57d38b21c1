"""Guards of the Nessie adapter: what is merged, over what, and what is left alone (law 2)."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_BEHAVIORS = "tests/behaviors/test_catalog"
_TESTS = "tests/integration/test_nessie.py"
_FENCES = "tests/integration/test_nessie_fences.py"
_runs = guards_of("catalog/nessie_runs.py", f"{_BEHAVIORS}_guards.py")
_commits = guards_of("catalog/nessie_commits.py", _TESTS)
_home = guards_of("catalog/nessie_home.py", _TESTS)
_cleanup = guards_of("catalog/nessie_cleanup.py", f"{_BEHAVIORS}_faults.py")

_late = guards_of("catalog/nessie_cleanup.py", f"{_BEHAVIORS}_maintenance.py")

GUARDS: tuple[Guard, ...] = (
    _runs(
        "main that has moved",
        "if main != audited.expected:",
        "if False:",
        "test_a_wrong_expectation_of_main[nessie]",
    ),
    _runs(
        "a head without a proven seal",
        "sealed = sealed_head(table, MAIN, audited)",
        "sealed = head_of(table.metadata, MAIN)",
        "test_a_seal_for_another_report[nessie]",
    ),
    _runs(
        "properties of main that a publish would undo",
        "if _based_on(chain) != _location(visible):\n        raise HeadMovedError(",
        "if False:\n        raise HeadMovedError(",
        f"{_FENCES}::test_properties_that_changed_on_main_are_not_lost",
    ),
    _runs(
        "a main that a failed run got into",
        "        check_main(visible, audited)\n",
        "        pass\n",
        f"{_BEHAVIORS}_taint.py::test_a_head_over_what_a_failed_run_left_on_main[nessie]",
    ),
    _runs(
        "columns of two runs told apart by ids",
        "    if own == current:\n",
        "    if own.schema_id == current.schema_id:\n",
        f"{_BEHAVIORS}_schema.py::test_rebase_refuses_when_another_run_published_other_columns"
        "[nessie]",
    ),
    _runs(
        "columns that changed under the run",
        "    if base != current:\n",
        "    if False:\n",
        f"{_BEHAVIORS}_schema.py::test_rebase_refuses_when_another_run_published_other_columns"
        "[nessie]",
    ),
    _runs(
        "a replace put on another base",
        "    check_append(chain, branch, place.name)\n",
        "",
        f"{_BEHAVIORS}.py::test_a_replace_is_not_rebased[nessie]",
    ),
    _runs(
        "a first load of other columns",
        "        check_adoptable(visible, place)\n",
        "",
        f"{_BEHAVIORS}_first_load.py::test_a_first_load_of_another_shape_is_not_rebased[nessie]",
    ),
    _commits(
        "a branch that moved after its proof",
        "            self._check_unmoved(branch, publications)\n",
        "",
        f"{_FENCES}::test_a_publish_wants_the_branch_where_it_proved_it",
    ),
    _commits(
        "a merge of the whole branch of a run",
        "self._api.merge(side, main, meta)",
        "self._api.merge(self._api.ref(branch.name), main, meta)",
        f"{_FENCES}::test_what_others_put_on_the_runs_branch_is_not_published",
    ),
    _home(
        "a branch that somebody made by hand",
        "if self.touched(branch) is None:\n            raise foreign",
        "if False:\n            raise foreign",
        f"{_FENCES}::test_a_branch_that_somebody_made_by_hand_is_left_alone",
    ),
    _home(
        "a publish that outlives the drop",
        "                self.api.delete(ref)\n",
        "                pass\n",
        f"{_FENCES}::test_a_publish_that_comes_after_the_drop_finds_nothing_to_merge",
    ),
    _cleanup(
        "a published table by another name",
        "if stay is None or next(home.publications(branch, name), None) is not None:",
        "if stay is None:",
        "test_a_published_table_that_was_renamed_is_safe_from_a_late_drop[nessie]",
    ),
    _cleanup(
        "a merge that the server is at while its run is dropped",
        "        elif sealed:\n",
        "        elif False:\n",
        f"{_FENCES}::test_a_run_that_is_dropped_while_the_server_is_at_its_merge_is_not_published",
    ),
    _cleanup(
        "a merge that makes a table while its run is dropped",
        "            nessie_firsts.stop(home.api, name.identifier)\n",
        "",
        f"{_FENCES}::"
        "test_a_first_load_that_is_dropped_while_the_server_is_at_its_merge_is_not_published"
        "[False-False]",
    ),
    _commits(
        "a first publish whose merge nothing can stop",
        "            *nessie_firsts.taken(firsts),\n",
        "",
        f"{_FENCES}::"
        "test_a_first_load_that_is_dropped_while_the_server_is_at_its_merge_is_not_published"
        "[False-False]",
    ),
    _cleanup(
        "files of the next round, for a late attempt at dropping this one",
        "return home.visible(name) if home.find(branch, name) is None else None",
        "return home.visible(name)",
        f"{_BEHAVIORS}_idempotence.py::"
        "test_a_late_drop_of_an_earlier_round_takes_nothing_of_the_next[nessie-False]",
    ),
    _cleanup(
        "a new table of the next round, for a late attempt at dropping this one",
        "return () if home.find(branch, name) is None else None",
        "return ()",
        f"{_BEHAVIORS}_idempotence.py::"
        "test_a_late_drop_of_a_first_load_takes_nothing_of_the_next_round[nessie-False]",
    ),
    _late(
        "files of an expired run that earlier commits of main show",
        "if visible is not None and _is_forgotten(home, branch, name, visible):",
        "if False:",
        "test_a_late_drop_leaves_what_earlier_commits_of_main_show[nessie]",
    ),
    _late(
        "of such a run, what a late attempt at it did not write",
        "used = orphans.in_use(home, name, found)",
        "used = set[str]()",
        "test_a_late_drop_leaves_what_earlier_commits_of_main_show[nessie]",
    ),
)
