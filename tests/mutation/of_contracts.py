"""Guards of what a contract may say: what is odd is refused before it runs (law 3)."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_UNIT = "tests/unit/checks/test"
_contract = guards_of("checks/contract.py", f"{_UNIT}_contract.py")
_grammar = guards_of("checks/grammar.py", f"{_UNIT}_contract.py")
_LINE = "test_what_is_odd_is_refused_with_its_line"
_NONE = "test_what_is_no_contract_is_refused"

GUARDS: tuple[Guard, ...] = (
    _contract("a contract without checks", "    if not rules:\n", "    if False:\n", _NONE),
    _contract("what Soda's schema forbids", "    check_schema(document)\n", "", _LINE),
    _contract("half a character", "    _check_text(document)\n", "", _NONE),
    _contract(
        "a dataset of two parts",
        "len(parts) != _DATASET_PARTS or not all(parts)",
        "len(parts) < 2 or not all(parts)",
        _LINE,
    ),
    _contract("two checks of one name", "if twin is not rule:", "if False:", _LINE),
    _contract("a column that stands twice", "if name in names:", "if False:", _LINE),
    _contract(
        "an unknown key of a column",
        "        only_known(document, place, column, COLUMN_KEYS)\n",
        "",
        _LINE,
    ),
    _contract(
        "an empty list of checks",
        "not isinstance(checks, list) or not checks)",
        "not isinstance(checks, list))",
        f"{_UNIT}_guard_contract.py::test_an_empty_list_of_checks_is_refused_beside_others",
    ),
    _contract(
        "two checks in one",
        "if not isinstance(check, dict) or len(check) != 1:\n",
        "if not isinstance(check, dict):\n",
        _LINE,
    ),
    _contract("an unknown type of check", "    if kind not in types:\n", "    if False:\n", _LINE),
    _contract(
        "a column the table lacks",
        "if name not in columns:",
        "if False:",
        "test_a_column_that_the_relation_lacks_is_named_with_the_nearest",
    ),
    _contract(
        "a variable in a variable",
        "if isinstance(default, str) and _VARIABLE.search(default):",
        "if False:",
        _LINE,
    ),
    _contract(
        "the environment as evidence",
        'if space != "var" or name not in values:',
        "if name not in values:",
        f"{_UNIT}_guard_contract.py::test_a_declared_name_does_not_let_the_environment_in",
    ),
    _contract(
        "a digest that is not over the text",
        "return hashlib.sha256(self.text.encode()).hexdigest()",
        "return hashlib.sha256(self.path.encode()).hexdigest()",
        "test_digest_is_of_the_text_to_the_letter",
    ),
    _grammar("a typo in a key", "        if key not in keys:\n", "        if False:\n", _LINE),
    _grammar("a key that opens a way around", "if key in REFUSED:", "if False:", _LINE),
    _grammar("two comparisons", "if len(found) > 1:", "if False:", _LINE),
    _grammar(
        "a check without a comparison",
        "if kind in NEEDS_COMPARISON and not found:",
        "if False:",
        _LINE,
    ),
    _grammar(
        "a bound that is no number",
        "if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):",
        "if isinstance(value, bool):",
        _LINE,
    ),
    _grammar("a bound that nothing compares with", " or not isfinite(value):", ":", _LINE),
    _grammar(
        "a threshold that Soda ignores",
        'if kind == "schema" and (threshold or body.get("filter")):',
        "if False:",
        _LINE,
    ),
    _grammar(
        "a range that holds nothing",
        "if (low[0] >= high[0]) if inside else (low[0] <= high[0]):",
        "if False:",
        _LINE,
    ),
    _grammar(
        "a check of validity that says nothing",
        'if kind == "invalid" and not any(key in body for key in _VALIDITY):',
        "if False:",
        _LINE,
    ),
    _grammar(
        "a key of no column",
        'if kind == "duplicate" and body.get("columns") == []:',
        "if False:",
        _LINE,
    ),
)
