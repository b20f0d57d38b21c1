"""Which snapshots are a run's own, and where its chain ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog.history import chain_of, is_own


def snap(number: int, **summary: str) -> IcebergSnapshot:
    told = {f"wap.{key}": value for key, value in summary.items()}
    return IcebergSnapshot.model_validate(
        {
            "snapshot-id": number,
            "parent-snapshot-id": number - 1 or None,
            "timestamp-ms": 0,
            "manifest-list": "m",
            "summary": Summary(Operation.APPEND, **told),
        }
    )


@pytest.mark.parametrize("role", ["open", "stage", "rebase", "seal"])
def test_a_run_owns_its_steps(role):
    assert is_own(snap(2, run="a", role=role), "a")


@pytest.mark.parametrize(
    "summary",
    [{}, {"run": "a"}, {"role": "stage"}, {"run": "b", "role": "stage"},
     {"run": "a", "role": "bootstrap"}],
    ids=str,
)  # fmt: skip
def test_a_run_owns_what_it_made(summary):
    """Not what says half of it: anybody can write a summary, a run writes both."""
    assert not is_own(snap(2, **summary), "a")


def test_a_chain_ends_at_the_first_foreign_snapshot():
    mine = {"run": "a", "role": "stage"}
    log = [snap(1), snap(2, **mine), snap(3), snap(4, **mine)]
    chain = chain_of(SimpleNamespace(snapshots=log), log[-1], "a")
    assert chain is not None
    assert [s.snapshot_id for s in chain.own] == [4]
    assert chain.base == 3


def test_a_foreign_head_has_no_chain():
    log = [snap(1), snap(2, run="a", role="stage"), snap(3)]
    assert chain_of(SimpleNamespace(snapshots=log), log[-1], "a") is None
