"""Every row of the tables of guards names a text that is there once, and a test that exists."""

import re
from pathlib import Path

import pytest

from tests.mutation.guard import Guard
from tests.mutation.test_guards import GUARDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_a_row_names_what_is_there(guard: Guard):
    assert (ROOT / guard.file).read_text().count(guard.text) == 1
    path, _, test = guard.test.partition("::")
    name = test.partition("[")[0]
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
