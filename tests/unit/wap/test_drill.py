"""The crash that a drill orders: heeded by a scratch project's worker, and by no other."""

import shutil

import pytest

from wap.drill import crash
from wap.drill.crashes import places
from wap.drill.model import CrashDrill, Drill, GateDrill, Spoiled
from wap.drill.processes import environment
from wap.drill.routes import routes
from wap.drill.scratch import prove_scratch
from wap.errors import ConfigError
from wap.group_steps import GroupSteps
from wap.project import load_project
from wap.steps import Steps


def test_without_the_variable_nothing_crashes(tmp_path):
    crash.crash_at(tmp_path, "stage:after")
    crash.crash_from({}, tmp_path)("stage", "after", 1)


def test_an_order_is_heeded_in_its_scratch_project_at_its_boundary_on_the_first_attempt(tmp_path):
    order = crash.crash_at(tmp_path, "stage:after")
    found = crash.crash_from(order, tmp_path)
    assert found == crash.Crash("stage", "after")
    for step, when, attempt in (
        ("stage", "after", 2),
        ("stage", "before", 1),
        ("seal", "after", 1),
    ):
        found(step, when, attempt)


def test_two_orders_of_one_project_are_both_heeded(tmp_path):
    first, second = (crash.crash_at(tmp_path, at) for at in ("stage:after", "seal:before"))
    for order in (first, second):
        assert crash.crash_from(order, tmp_path)


def test_a_project_that_is_no_scratch_project_refuses_the_order(tmp_path):
    order = crash.crash_at(tmp_path / "scratch", "publish:after")
    (tmp_path / "real").mkdir()
    with pytest.raises(ConfigError, match="no scratch project"):
        crash.crash_from(order, tmp_path / "real")


def test_a_copied_scratch_project_is_none(tmp_path):
    order = crash.crash_at(tmp_path / "scratch", "publish:after")
    shutil.copytree(tmp_path / "scratch", tmp_path / "copy")
    with pytest.raises(ConfigError, match="no scratch project"):
        crash.crash_from(order, tmp_path / "copy")


@pytest.mark.parametrize("token", ["", "@", "@0000"])
def test_an_order_needs_the_projects_own_token(tmp_path, token):
    crash.crash_at(tmp_path, "publish:after")
    with pytest.raises(ConfigError, match="no scratch project"):
        crash.crash_from({crash.VARIABLE: f"publish:after{token}"}, tmp_path)


@pytest.mark.parametrize("text", ["nope", "", "[]", '{"root": 1}'])
def test_a_mark_that_cannot_be_read_is_none(tmp_path, text):
    order = crash.crash_at(tmp_path, "publish:after")
    (tmp_path / ".wap" / crash.MARK).write_text(text)
    with pytest.raises(ConfigError, match="no scratch project"):
        crash.crash_from(order, tmp_path)


@pytest.mark.parametrize("boundary", ["stage", "stage:later", "load:after"])
def test_what_is_no_boundary_is_refused(tmp_path, boundary):
    with pytest.raises(ConfigError, match="names no boundary"):
        crash.crash_at(tmp_path, boundary)


def test_every_step_has_a_scenario():
    drilled = {step for route in routes() for step in route.steps}
    assert drilled == Steps.__abstractmethods__
    of_groups = {step for route in routes(group=True) for step in route.steps}
    # A group is not held, waits in no queue and is staged again as a whole; that it sets rows
    # aside its own tests drill.
    never = {"publish", "hold", "quarantine", "enlist", "unite", "dissolve", "restage"}
    assert of_groups == (Steps.__abstractmethods__ - never) | GroupSteps.__abstractmethods__


def test_boundaries_are_chosen_by_step_or_by_moment():
    assert len(places(())) == 40
    assert [p.boundary for p in places(["hold"])] == ["hold:before", "hold:after"]
    assert [(p.route.name, p.boundary) for p in places(["close:after", "seal:before"])] == [
        ("published", "seal:before"), ("published", "close:after"), ("rejected", "close:after"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="names no boundary"):
        places(["shelve"])


def test_a_scratch_projects_doors_know_nothing_of_the_real_tables():
    real = {
        "WAP_CATALOG__URI": "postgresql://real/tables",
        "TEMPORAL_ADDRESS": "real:7233",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://real",
    }
    env = {"PATH": "/bin", "AWS_PROFILE": "x", **real}
    assert environment(env) == {"PATH": "/bin", "AWS_PROFILE": "x"}


@pytest.mark.parametrize(
    "settings",
    [
        '[catalog]\nuri = "sqlite:////tmp/real.db"',
        '[catalog]\nwarehouse = "s3://real/warehouse"',
        '[catalog]\nkind = "postgres"\nuri = "postgresql://real/tables"',
        '[ledger]\nurl = "sqlite:////tmp/real.db"',
        '[temporal]\naddress = "real:7233"',
        '[runs]\nlocation = "s3://real/runs"',
        '[lineage]\nkind = "datahub"\nurl = "http://real"',
    ],
)
def test_a_scratch_project_that_would_reach_further_is_refused(tmp_path, settings):
    root = tmp_path / "project"
    root.mkdir()
    (root / "wap.toml").write_text("")
    prove_scratch(load_project(root, {}), tmp_path)
    (root / "wap.toml").write_text(settings)
    with pytest.raises(ConfigError, match="other places than its own"):
        prove_scratch(load_project(root, {}), tmp_path)


def test_a_drill_of_nothing_is_not_well():
    assert not Drill(pipeline="p", table="n.t").ok
    assert not CrashDrill(rows=1, seconds=1, heartbeat_seconds=1, boundaries=()).ok
    assert not GateDrill(run_id="r", snapshot=1, rows=1, checks=1, spoilings=()).ok


def test_a_missed_spoiling_is_not_well_and_a_warned_one_is():
    def gate(**how: tuple[str, ...]):
        one = Spoiled(name="nulls", column="c", said="", rows=1, **how)
        return GateDrill(run_id="r", snapshot=1, rows=1, checks=1, spoilings=(one,))

    assert not gate().ok
    assert gate(caught=("c",)).ok
    assert gate(warned=("c",)).ok
    assert not gate(caught=("c",)).model_copy(update={"failing": ("d",)}).ok
