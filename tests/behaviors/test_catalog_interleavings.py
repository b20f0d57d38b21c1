"""Any interleaving of runs, crashes, zombies, operators and other writers, on every catalog."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.behaviors.conftest import new_lake
from tests.soak.machine import Interleavings, Tally
from tests.soak.readers import reader_of

STEPS = 40
#: Of a default run; ``make soak`` plays hundreds on each.
BY_DEFAULT = {"memory": 40, "sqlite": 4, "portable": 2, "postgres": 2, "rest": 2, "nessie": 2}


@pytest.mark.timeout(0)  # of a soak nobody knows how long it takes; Hypothesis has no deadline
@pytest.mark.by_default(*BY_DEFAULT)
def test_main_is_whole_whatever_is_interleaved(kind, request, tmp_path, capsys):
    asked, tally, numbers = request.config.getoption("--sequences"), Tally(), itertools.count()

    def machine() -> Interleavings:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        lake = new_lake(kind, folder, request)
        return Interleavings(lake, reader_of(lake), tally)

    run_state_machine_as_test(machine, settings=_settings(asked or BY_DEFAULT.get(kind, 4), asked))
    if asked:
        with capsys.disabled():
            sys.stdout.write(f"\n{kind}: {tally}\n")


def _settings(sequences: int, asked: int) -> settings:
    """The same sequences each time by default, others in a soak.

    What fails is not made smaller: each sequence takes a second, so that would take an hour.
    """
    return settings(
        max_examples=sequences,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not asked,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
