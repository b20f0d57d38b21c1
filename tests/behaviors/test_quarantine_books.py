"""Whatever is delivered: each row is published, or waits with its reasons, or nothing changes."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.behaviors.quarantined import Shop
from wap.model import Ending, Replay

#: Each example is a batch of its own in the same table: its keys are in a range of its own.
FIRST = itertools.count(0, 1000)

ROW = st.tuples(
    st.one_of(st.none(), st.integers(0, 12)),
    st.sampled_from(["a", "b", ""]),
    st.integers(-2, 5),
    st.sampled_from(["2026-01-01", "1999-12-31"]),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("books") / "shop", limits="max_percent: 100")
    shop.rows("begin", "999999,a,1.00,2026-01-01")
    shop.run("begin")
    return shop


def breaks(row: tuple[int | None, str, int, str], times: Counter[int | None]) -> bool:
    """What the contracts say, said once more."""
    id_, mail, amount, placed = row
    return id_ is None or not mail or amount < 0 or placed < "2000" or times[id_] > 1


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_the_books_close_over_both_tables(shop, rows):
    first = next(FIRST)
    # Of the null keys one alone is no duplicate: each is missing anyway.
    times = Counter(id_ for id_, *_ in rows)
    lines = [
        f"{'' if id_ is None else first + id_},{mail},{amount}.00,{placed}"
        for id_, mail, amount, placed in rows
    ]
    run = f"run-{first}"
    shop.rows(str(first), *lines)
    before = shop.see("select count(*) from shop.orders")[0][0]
    result = shop.run(run, inputs=(str(shop.root / f"data/orders-{first}.csv"),))
    bad = sum(breaks(row, times) for row in rows)
    now = shop.see("select count(*) from shop.orders")[0][0]
    assert result.rows.balanced
    if bad == len(rows):
        assert (result.ending, now) == (Ending.REJECTED, before)
        return
    assert result.ending is Ending.PUBLISHED
    assert (result.rows.read, result.rows.staged, result.rows.quarantined) == (
        len(rows), len(rows) - bad, bad,
    )  # fmt: skip
    assert now == before + len(rows) - bad
    if not bad:
        return
    aside = shop.see(f"select count(*) from shop.orders__quarantine where wap_run = '{run}'")
    assert aside == [(bad,)]
    again = shop.run(f"again-{first}", replay=Replay(run=run))
    assert again.rows.balanced
    assert again.rows.read == bad
    total = shop.see("select count(*) from shop.orders")[0][0]
    assert total == now + again.rows.published


def test_the_tables_are_proved_whatever_was_delivered(shop: Shop, tmp_path: Path) -> None:
    del tmp_path
    for proof in shop.prove():
        assert (proof.unsealed, proof.notes) == ((), ()), proof.table
