"""What a step costs follows its run: what the table held before is not read."""

from __future__ import annotations

import pytest


@pytest.mark.kinds("sqlite", "portable", "postgres", "rest", "nessie")
@pytest.mark.parametrize("rebased", [False, True])
def test_dropping_a_run_reads_no_manifest_from_before_it(lake, flights, rebased):
    lake.publish([0])
    table = lake.plain.load_table(flights.identifier)
    before = {m.manifest_path for s in table.snapshots() for m in s.manifests(table.io)}
    run = lake.run()
    run.open()
    run.stage([1])
    if rebased:
        lake.publish([2])
        run.rebase()
    for manifest in before:
        lake.where.delete(manifest)
    assert run.drop().files > 0
    assert not [name for name in lake.where.names() if run.branch.run_id in name]


@pytest.mark.kinds("sqlite", "portable", "postgres", "rest", "nessie")
@pytest.mark.parametrize("rebased", [False, True])
def test_clearing_behind_a_publish_reads_no_manifest_from_before_the_run(lake, flights, rebased):
    lake.publish([0])
    table = lake.plain.load_table(flights.identifier)
    before = {m.manifest_path for s in table.snapshots() for m in s.manifests(table.io)}
    run = lake.run()
    run.open()
    run.write([7], "died")  # by an attempt that died
    run.stage([1])
    if rebased:
        lake.publish([2])
        run.rebase()
    run.finish()
    for manifest in before:
        lake.where.delete(manifest)
    assert run.drop().files == 1
