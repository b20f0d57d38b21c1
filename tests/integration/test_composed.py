"""What compose runs on its servers, run without Docker: worker, console and Spark Connect."""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from deploy.make_env import Issuer
from tests.e2e.conftest import CONTRACT, PIPELINE, Shop
from tests.servers.__main__ import running

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    """A project with one pipeline on each engine."""
    shop = Shop(tmp_path_factory.mktemp("composed") / "shop")
    shop.write("wap.toml", '[project]\nname = "shop"\n')
    shop.write("contracts/orders.yml", CONTRACT)
    small = PIPELINE.format(write="{mode: append}", on_change="strict")
    shop.write("pipelines/orders.yml", small)
    large = small.replace("shop.orders", "shop.sparked").replace("contracts/orders", "contracts/s")
    shop.write("pipelines/sparked.yml", large + "engine: spark\n")
    shop.write("contracts/s.yml", CONTRACT.replace("shop/orders", "shop/sparked"))
    shop.orders("orders-1.csv", range(100))
    return shop


@pytest.fixture(scope="module")
def composed(issuer: Issuer, shop: Shop):
    """All that compose starts, with the profile ``spark``; other tests put odd tables in theirs."""
    with (
        tempfile.TemporaryDirectory(prefix="wap-composed-") as folder,
        running(Path(folder), issuer) as servers,
        ExitStack() as stack,
    ):
        for server in (servers.spark(), servers.worker(shop.root), servers.console(shop.root)):
            stack.callback(server.stop)
            server.start()
        yield servers


@pytest.mark.parametrize("pipeline", ["orders", "sparked"])
def test_a_door_beside_compose_leaves_its_run_to_the_worker(composed, shop, pipeline):
    env = {**composed.project_environment(), "WAP_WORKER__DOOR": "never"}
    result = shop.result(pipeline, **env)
    assert (result["ending"], result["rows"]["published"]) == ("published", 100)
    asked = f"http://127.0.0.1:{composed.console_port}/runs/{result['run_id']}"
    token = composed.variables["WAP_API_AUDITOR_TOKEN"]
    told = httpx.get(asked, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert told.raise_for_status().json()["result"]["ending"] == "published", told.text
    assert httpx.get(asked, timeout=30).status_code == 401


@pytest.mark.parametrize("name", ["worker", "console", "spark"])
def test_health_checks_of_what_runs_on_the_servers(composed, name):
    ports = {"worker": "8687", "console": "8686", "spark": "15002"}
    here = {
        "worker": composed.health_port,
        "console": composed.console_port,
        "spark": composed.spark_port,
    }
    _, *command = composed.services[name]["healthcheck"]["test"]

    def asked(port: int) -> int:
        words = [word.replace(ports[name], str(port)) for word in command]
        words = [sys.executable if word == "python" else word for word in words]
        return subprocess.run(words, check=False, capture_output=True, timeout=30).returncode

    assert asked(here[name]) == 0
    assert asked(1) != 0
