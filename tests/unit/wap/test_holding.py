"""When a waiver expires, and how a pipeline says that its runs are held."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wap.errors import ConfigError
from wap.holding import until_of
from wap.pipeline import parse_pipeline

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PIPELINE = """\
table: shop.orders
source: {kind: files, path: "data/*.csv", format: csv}
write: {mode: append}
contracts: [contracts/orders.yml]
"""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC)),
        ("2026-03-04", datetime(2026, 3, 4, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-03-04T05:06:07", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2026-03-04T05:06:07+02:00", datetime(2026, 3, 4, 3, 6, 7, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_day_counts_to_its_end_and_a_moment_is_utc(text, moment):
    assert until_of(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "friday", "2026-02-30", "31.12.2026"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ConfigError, match="no date"):
        until_of(text, NOW)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ("", None),
        ("on_failure: reject\n", None),
        ("on_failure: hold\n", 72 * 3600),
        ("on_failure: hold\nhold: {max_hours: 0.5}\n", 1800),
    ],
)
def test_how_long_a_run_is_held(lines, seconds):
    pipeline, _ = parse_pipeline(PIPELINE + lines, "orders", "pipelines/orders.yml")
    assert pipeline.hold_seconds == seconds
    assert type(pipeline).model_validate_json(pipeline.model_dump_json(by_alias=True)) == pipeline


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("hold: {max_hours: 2}\n", "hold belongs to on_failure: hold"),
        ("on_failure: hold\nhold: {max_hours: 0}\n", "max_hours"),
        ("on_failure: hold\nhold: {hours: 2}\n", "hours"),
        ("on_failure: wait\n", "on_failure"),
    ],
)
def test_a_slip_about_holding_is_refused(lines, said):
    with pytest.raises(ConfigError, match=said):
        parse_pipeline(PIPELINE + lines, "orders", "pipelines/orders.yml")
