"""Guards of writes by key: which keys are taken, which rows win, and that every row is counted."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_KEYED = "tests/unit/wap/test_guard_keyed.py"
_activities = guards_of("wap/activities.py", _KEYED)
_writing = guards_of("wap/writing.py", _KEYED)
_batch = guards_of("wap/keyed/batch.py", "tests/behaviors/test_engine_merge.py")
_published = guards_of("wap/keyed/published.py", "tests/behaviors/test_engine_merge.py")
_merge = guards_of("wap/keyed/merge.py", "tests/behaviors/test_engine_merge.py")
_history = guards_of("wap/keyed/history.py", "tests/behaviors/test_engine_history.py")

GUARDS: tuple[Guard, ...] = (
    _activities(
        "rows that have met another main by key",
        "if meets_published(pinned) and not self._stands(run, pinned):",
        "if False:",
        "test_an_overtaken_batch_meets_the_new_main_before_it_is_published",
    ),
    _writing(
        "rows that gave way to others of their key, and that nobody counts",
        "deduplicated=by_key.deduplicated,",
        "deduplicated=0,",
        "test_a_step_that_is_tried_again_behind_its_commit_finds_its_books",
    ),
    _batch(
        "rows without their key",
        "if problems:",
        "if False:",
        "test_null_keys_are_refused_with_their_number",
    ),
    _batch(
        "one of several rows with one key, taken by chance",
        "self._refuse_ambiguous(by)",
        "pass",
        "test_rows_that_differ_under_one_key_are_refused_with_the_key",
    ),
    _published(
        "a key that is published twice",
        "if total:",
        "if False:",
        "test_a_key_that_is_published_twice_is_refused",
    ),
    _merge(
        "a late row in place of a later one",
        "CASE WHEN {late} THEN 'late' WHEN b.d",
        "CASE WHEN b.d",
        "test_merge_is_what_a_dictionary_does[seq]",
    ),
    _history(
        "a version that begins before what was there, for a clock that went back",
        "f\"greatest({now}, {', '.join(latest)})\"",
        "now",
        "test_a_clock_that_went_back_does_not_reorder_versions",
    ),
)
