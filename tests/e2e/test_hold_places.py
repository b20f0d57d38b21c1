"""A held run that is approved where tables lie in S3, and where Spark writes and audits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.places import Settings, open_place
from tests.e2e.test_hold import CHECK, Counter, declare, stop
from tests.e2e.test_spark import SETTINGS
from tests.servers.spark import need_java

pytestmark = [pytest.mark.server, pytest.mark.slow]


class Elsewhere(Counter):
    """The counter with settings that every door of it is given."""

    settings: Settings

    def _call(self, args: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return super()._call(args, {**self.settings, **env})

    def query(self, sql: str) -> list[dict[str, Any]]:
        """By a door, which is given them."""
        done = self.wap("query", sql, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return list(json.loads(done.stdout))


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Elsewhere]:
    counter = Elsewhere(tmp_path / "shop")
    counter.settings = {}
    yield counter
    stop(counter)


def approved(counter: Elsewhere) -> None:
    """Readers see the held batch when a person has said so, and who that was."""
    counter.result("orders")
    file, held = counter.held()
    assert counter.sees(file) == 0
    told = counter.decide("approve", held["run_id"])
    assert (told["ending"], told["waiver"]["person"]) == ("published", "ann")
    assert told["waiver"]["checks"] == [CHECK]
    assert counter.sees(file) == 10
    assert json.loads(counter.wap("branches", "--json").stdout) == []
    assert counter.wap("verify").returncode == 0


def test_on_s3(counter, request):
    place = open_place(request, "sqlite-s3", counter.root)
    counter.settings = place.settings
    declare(counter)
    approved(counter)
    files = place.files()
    file, held = counter.held()
    assert counter.decide("reject", held["run_id"])["ending"] == "rejected"
    assert counter.sees(file) == 0
    assert place.files() == files


def test_on_spark(counter):
    need_java()
    declare(counter, SETTINGS)
    for name in ("orders", "notes"):
        pipeline = counter.root / "pipelines" / f"{name}.yml"
        pipeline.write_text(pipeline.read_text() + "\nengine: spark\n")
    counter.wap("up")  # one worker, and so one Spark, for all of it
    try:
        approved(counter)
    finally:
        counter.wap("down")
