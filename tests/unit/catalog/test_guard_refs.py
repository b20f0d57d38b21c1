"""A seal is one only with the role and the five facts, each without the other being nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from catalog import Seal, Snapshot, TableName
from catalog.errors import UnsealedError

FACTS = Seal("r", 7, "c", "d", "s").to_summary()


@pytest.mark.parametrize("lacking", sorted(FACTS.keys() - {"wap.role"}))
def test_the_word_seal_alone_is_no_seal(lacking):
    summary = {k: v for k, v in FACTS.items() if k != lacking}
    when = datetime(2026, 1, 1, tzinfo=UTC)
    snapshot = Snapshot(TableName.parse("ns.t"), 8, 7, when, "append", 0, summary)
    assert not snapshot.is_sealed


@pytest.mark.parametrize("role", ["stage", "rebase", "", None])
def test_another_role_is_not_read_as_a_seal(role):
    summary = {k: v for k, v in {**FACTS, "wap.role": role}.items() if v is not None}
    with pytest.raises(UnsealedError, match=r"wap\.role"):
        Seal.from_summary(summary)
