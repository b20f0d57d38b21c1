"""Rendered access: what is allowed is spelled out, and nothing else is."""

import json
import re

import pytest
from typer.testing import CliRunner

from wap.access import Role, bucket_policy, identity_policy, nessie_rules
from wap.cli.commands import app
from wap.errors import ConfigError

LAKE = "s3://lake/warehouse"


def test_a_consumer_may_get_objects_of_the_warehouse_and_nothing_else():
    (only,) = json.loads(identity_policy(LAKE, Role.CONSUMER))["Statement"]
    assert only == {
        "Sid": "ConsumerObjects", "Effect": "Allow", "Action": ["s3:GetObject"],
        "Resource": "arn:aws:s3:::lake/warehouse/*",
    }  # fmt: skip


def test_who_reads_writes_nothing():
    for role in (Role.CONSUMER, Role.AUDITOR):
        statements = json.loads(identity_policy(LAKE, role))["Statement"]
        assert {a for s in statements for a in s["Action"]} <= {"s3:GetObject", "s3:ListBucket"}


@pytest.mark.parametrize(
    ("warehouse", "resource", "prefix"),
    [
        (LAKE, "lake/warehouse/*", "warehouse/*"),
        ("s3://lake/warehouse/", "lake/warehouse/*", "warehouse/*"),
        ("s3a://lake/a/b", "lake/a/b/*", "a/b/*"),
        ("s3://lake", "lake/*", "*"),
    ],
)
def test_a_policy_ends_where_the_warehouse_does(warehouse, resource, prefix):
    objects, listing = json.loads(identity_policy(warehouse, Role.AUDITOR))["Statement"]
    assert objects["Resource"] == f"arn:aws:s3:::{resource}"
    assert listing["Resource"] == "arn:aws:s3:::lake"
    assert listing["Condition"] == {"StringLike": {"s3:prefix": [prefix]}}


def test_a_buckets_policy_names_who_it_is_for():
    policy = bucket_policy(LAKE, {Role.AUDITOR: ["a"], Role.CONSUMER: ["c", "d"]})
    whom = [(s["Sid"], s["Principal"]["AWS"]) for s in json.loads(policy)["Statement"]]
    assert whom == [
        ("AuditorObjects", ["a"]),
        ("AuditorList", ["a"]),
        ("ConsumerObjects", ["c", "d"]),
    ]


def test_the_same_is_rendered_the_same():
    one = bucket_policy(LAKE, {Role.AUDITOR: ["a"], Role.CONSUMER: ["c"]})
    assert one == bucket_policy(LAKE, {Role.CONSUMER: ["c"], Role.AUDITOR: ["a"]})
    assert nessie_rules() == nessie_rules()


@pytest.mark.parametrize(
    "warehouse", ["warehouse", "gs://lake/w", "s3:///w", "s3://lake/a*", "s3://lake/${x}"]
)
def test_what_no_policy_can_hold_is_refused(warehouse):
    with pytest.raises(ConfigError, match=r"Hint:"):
        identity_policy(warehouse, Role.CONSUMER)


def test_a_bucket_policy_for_nobody_is_refused():
    with pytest.raises(ConfigError, match="for somebody"):
        bucket_policy(LAKE, {Role.AUDITOR: []})


def test_a_consumers_rule_is_for_main_and_not_for_its_log():
    rules = dict(line.split("=", 1) for line in nessie_rules().splitlines() if line[0] != "#")
    consumer = rules["nessie.server.authorization.rules.consumer"]
    assert consumer.endswith("] && ref == 'main'")
    assert "LOG" not in consumer
    assert all(op.startswith(("VIEW_", "READ_")) for op in re.findall(r"'([A-Z_]+)'", consumer))


@pytest.fixture
def render(tmp_path):
    (tmp_path / "wap.toml").write_text(f'[catalog]\nwarehouse = "{LAKE}"\n')

    def call(*arguments: str):
        return CliRunner().invoke(app, ["access", "render", *arguments])

    def s3(*arguments: str):
        return call("s3", "--project", str(tmp_path), *arguments)

    return call, s3


def test_the_door_prints_what_is_rendered(render):
    call, s3 = render
    assert call("nessie").stdout == nessie_rules()
    assert s3("--role", "auditor").stdout == identity_policy(LAKE, Role.AUDITOR)
    named = s3("--consumer", "c", "--consumer", "d", "--engineer", "e").stdout
    assert named == bucket_policy(LAKE, {Role.CONSUMER: ["c", "d"], Role.ENGINEER: ["e"]})


@pytest.mark.parametrize("arguments", [(), ("--role", "auditor", "--auditor", "a")])
def test_a_policy_is_for_a_role_or_for_somebody(render, arguments):
    _, s3 = render
    assert isinstance(s3(*arguments).exception, ConfigError)
