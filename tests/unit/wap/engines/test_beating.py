"""A statement of DuckDB that is told to stop, whenever that comes."""

from __future__ import annotations

import threading

import duckdb
import pytest

from wap.engines.base import refuse_cancelled
from wap.engines.copy import beating

#: Takes long, but not for ever: a test that is not heard fails in place of hanging.
LONG = "SELECT sum(a.range + b.range) FROM range(100000) a, range(200000) b"


@pytest.mark.parametrize("early", [True, False])
def test_an_interrupt_is_heard_also_when_it_comes_before_the_statement(early):
    said = threading.Event()

    def beat(share: float) -> None:
        said.set()
        refuse_cancelled(lambda: True)

    with duckdb.connect() as con, beating(con, beat):
        if early:
            assert said.wait(60)
        with pytest.raises(duckdb.InterruptException):
            con.execute(LONG)
