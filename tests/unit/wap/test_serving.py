"""What a worker has room for, and which settings of a cluster are refused."""

import os

import pytest

from wap.builds import deployment_of, own_build
from wap.errors import ConfigError, StoreUnavailableError
from wap.homes import open_home
from wap.model import Rows
from wap.project import load_project
from wap.runs import Books
from wap.serving import data_slots, machine_memory


def project(folder, text="", **env: str):
    (folder / "wap.toml").write_text(text)
    return load_project(folder, env)


@pytest.mark.parametrize(
    ("memory", "engine", "audit", "slots"),
    [("1GB", "300MB", "300MB", 2), ("1GB", "300MB", "640MB", 1), ("2GB", "100MB", "200MB", 8)],
)
def test_as_many_steps_as_the_larger_budget_fits(tmp_path, memory, engine, audit, slots):
    env = {"WAP_WORKER__MEMORY": memory, "WAP_ENGINE__MEMORY": engine, "WAP_AUDIT__MEMORY": audit}
    assert data_slots(project(tmp_path, **env)) == slots


def test_a_worker_without_room_for_one_step_does_not_start(tmp_path):
    with pytest.raises(ConfigError, match="has no room for one step of 400 MB") as caught:
        data_slots(project(tmp_path, WAP_WORKER__MEMORY="700MB"))
    assert caught.value.where == "[worker] memory"


def test_memory_is_that_of_the_machine_and_never_all_of_it():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine_memory() < total


def test_only_a_given_server_has_versions(tmp_path):
    named = '[worker]\ndeployment = "lake"\n'
    assert deployment_of(project(tmp_path, named)) is None
    given = deployment_of(project(tmp_path, named, TEMPORAL_ADDRESS="127.0.0.1:7233"))
    assert given is not None
    assert given.version.build_id == own_build()


def test_temporals_own_variables_are_heard(tmp_path):
    env = {
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/etc/wap/ca.pem",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": "/etc/wap/client.pem",
        "TEMPORAL_TLS_CLIENT_KEY_PATH": "/etc/wap/client.key",
        "TEMPORAL_TLS_SERVER_NAME": "temporal.test",
    }
    section = project(tmp_path, **env).temporal
    assert section.tls
    assert [section.tls_ca, section.tls_cert, section.tls_key, section.tls_server_name] == list(
        env.values()
    )[1:]


@pytest.mark.parametrize("location", ["runs", "file:///runs", "s3://key:word@bucket/runs"])
def test_runs_live_in_the_project_or_in_an_object_store(tmp_path, location):
    with pytest.raises(ConfigError, match="an object store's URL") as caught:
        project(tmp_path, WAP_RUNS__LOCATION=location)
    assert "word" not in str(caught.value)


def test_a_store_that_is_away_is_tried_again(tmp_path):
    text = """
[catalog.properties]
"s3.endpoint" = "http://127.0.0.1:1"
"s3.region" = "us-east-1"
"s3.access-key-id" = "a"
"s3.secret-access-key" = "b"
"s3.connect-timeout" = "1"
[runs]
location = "s3://lake/runs"
"""
    folder = open_home(project(tmp_path, text)).folder("orders-1")
    for ask in (
        lambda: folder.has_plan(0),
        lambda: folder.save_books(0, Books(rows=Rows(), files=0, bytes=0)),
    ):
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            ask()
