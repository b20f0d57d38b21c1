"""Guards of drills and of damaged files: who crashes, where a drill writes, what is cut off."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_UNIT = "tests/unit/wap/test_drill.py"
_crash = guards_of("wap/drill/crash.py", _UNIT)
_scratch = guards_of("wap/drill/scratch.py", _UNIT)
_manifests = guards_of("catalog/manifests.py", "tests/unit/catalog/test_manifests.py")

GUARDS: tuple[Guard, ...] = (
    _crash(
        "a worker of a project that is no scratch project crashes",
        "known is None or not secrets.compare_digest(known.encode(), token.encode())",
        "False",
        "test_a_project_that_is_no_scratch_project_refuses_the_order",
    ),
    _crash(
        "a copied scratch project crashes",
        'is_ours = mark["root"] == str(root.resolve())',
        "is_ours = True",
        "test_a_copied_scratch_project_is_none",
    ),
    _scratch(
        "a drill writes to the project's own tables",
        "if not own or not local or any(servers):",
        "if False:",
        "test_a_scratch_project_that_would_reach_further_is_refused",
    ),
    _manifests(
        "a manifest list that is cut off makes a table smaller",
        "sum(known) < int(total)",
        "False",
        "test_a_list_that_is_cut_off_is_no_shorter_list",
    ),
    _manifests(
        "a manifest that is cut off makes a table smaller",
        "if count is not None and len(found) < count:",
        "if False:",
        "test_a_manifest_that_is_cut_off_is_no_shorter_manifest",
    ),
)
