"""The servers of ``docker-compose.yml`` as processes: its settings, on loopback, without Docker."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.servers.nessie import Nessie
from tests.servers.postgres import Postgres
from tests.servers.process import Server, free_ports, listens
from wap import runtime
from wap.spark.jars import AWS, ICEBERG, POSTGRES, SQLITE, jar_paths

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::\?[^}]*)?\}")


def services(variables: Mapping[str, str], file: Path = FILE) -> dict[str, dict[str, Any]]:
    """The services as Compose sees them, variables put in; a missing one is a ``KeyError``."""
    document = YAML(typ="safe").load(file)
    found: dict[str, dict[str, Any]] = _filled(document["services"], variables)
    return found


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, variables) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, variables) for v in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda m: variables[m[1]] if m[1] else "$", value)
    return value


class Composed:
    """PostgreSQL, Nessie on it, S3 with its bucket and policy, Temporal; and what runs on them."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        """Lay them out, not yet started.

        Args:
            folder: their state and logs; may hold what an earlier start left.
            variables: what ``.env`` holds.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.variables = dict(variables)
        self.services = services(variables)
        self.temporal_port, self.temporal_ui = free_ports(2)
        self.s3_port, *self._weed_ports = free_ports(8)
        env = self.services["postgres"]["environment"]
        user, password = env["POSTGRES_USER"], env["POSTGRES_PASSWORD"]
        self.postgres = Postgres(folder / "postgres", user=user, password=password)
        self.nessie = Nessie(folder / "nessie", env=self.environment("nessie"))
        self.seaweedfs = self._seaweedfs(folder / "seaweedfs")
        self.temporal = self._temporal(folder / "temporal")
        self.console_port, self.health_port, self.spark_port = free_ports(3)

    def _seaweedfs(self, folder: Path) -> Server:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        names = ("master", "volume", "filer", "s3")
        ports, grpc = [*self._weed_ports[:3], self.s3_port], self._weed_ports[3:]
        service = self.services["seaweedfs"]
        command = [
            *self._mounted("seaweedfs", [*service["entrypoint"], *service["command"]]),
            f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            *(f"-{n}.port={port}" for n, port in zip(names, ports, strict=True)),
            *(f"-{n}.port.grpc={port}" for n, port in zip(names, grpc, strict=True)),
        ]  # fmt: skip
        own = {"SEAWEEDFS_CONFIG": str(folder / "s3.json"), "PATH": _path()}
        env = {**service["environment"], **own}
        return Server("seaweedfs", command, folder, self._s3_answers, env)

    def _temporal(self, folder: Path) -> Server:
        """The development server in place of the cluster, with the cluster's dynamic settings."""
        settings = YAML(typ="safe").load(ROOT / "deploy" / "temporal.yaml")
        values = [f"{name}={entry[0]['value']}" for name, entry in settings.items()]
        command = [
            runtime.binary(), "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "error",
            "--port", str(self.temporal_port), "--ui-port", str(self.temporal_ui),
            "--db-filename", str(folder / "temporal.db"),
            *(part for value in values for part in ("--dynamic-config-value", value)),
        ]  # fmt: skip
        return Server("temporal", command, folder, lambda: listens(self.temporal_port))

    def worker(self, project: Path) -> Server:
        """Our worker, on a project, as the file's service of that name; not yet started."""
        return self._ours("worker", project, f"http://127.0.0.1:{self.health_port}")

    def console(self, project: Path) -> Server:
        """Our console, likewise."""
        return self._ours("console", project, f"http://127.0.0.1:{self.console_port}/health")

    def _ours(self, service: str, project: Path, health: str) -> Server:
        # The image's entry point, which a test of the Dockerfile holds.
        program = Path(sysconfig.get_path("scripts")) / "wap"
        env = {
            **self.environment(service), "WAP_PROJECT": str(project), "PATH": _path(),
            "WAP_API__HOST": "127.0.0.1", "WAP_API__PORT": str(self.console_port),
        }  # fmt: skip
        command = [str(program), *self.services[service]["command"]]
        return Server(service, command, self.folder / service, lambda: _is_well(health), env)

    def spark(self) -> Server:
        """Spark Connect as the file starts it, with the jars that our own driver takes."""
        home = Path(str(find_spec("pyspark").origin)).parent  # type: ignore[union-attr]
        folder = self.folder / "spark"
        (folder / "local").mkdir(parents=True, exist_ok=True)
        told: list[str] = self.services["spark"]["command"]
        packages = told[told.index("--packages") + 1]
        jars = [ICEBERG, AWS, SQLITE, POSTGRES]
        if packages != ",".join(jar.coordinates for jar in jars):
            msg = f"docker-compose.yml has {packages}"
            raise RuntimeError(msg)
        here = {
            packages: ",".join(jar_paths(jars, [])), "--packages": "--jars",
            "spark.jars.ivy=/ivy": f"spark.jars.ivy={folder / 'ivy'}",
            "spark.local.dir=/spark": f"spark.local.dir={folder / 'local'}",
        }  # fmt: skip
        only_here = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.spark_port),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
        }
        command = [
            str(home / "bin" / "spark-submit"), "--master", "local[2]",
            *(arg for key, value in only_here.items() for arg in ("--conf", f"{key}={value}")),
            *(here.get(word, word) for word in told),
        ]  # fmt: skip
        own = {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable}
        env = {**self.environment("spark"), **own}
        return Server("spark", command, folder, lambda: listens(self.spark_port), env)

    def start(self) -> None:
        """Start the servers; what must be made once is made, as the one-time services do."""
        with ThreadPoolExecutor(3) as side_by_side:
            parts = (self._start_catalog, self._start_lake, self._start_temporal)
            for started in [side_by_side.submit(part) for part in parts]:
                started.result()

    def _start_catalog(self) -> None:
        self.postgres.start()
        if self.postgres.is_new:
            self._once("postgres", ["sh", str(ROOT / "deploy" / "postgres.sh")])
        self.nessie.start()

    def _start_lake(self) -> None:
        self.seaweedfs.start()
        self._once("lake", [sys.executable, str(ROOT / "deploy" / "lake.py")])

    def _start_temporal(self) -> None:
        self.temporal.start()
        self._once("temporal-namespace", ["sh", str(ROOT / "deploy" / "temporal-namespace.sh")])

    def stop(self) -> None:
        """Stop those that were started; SeaweedFS, which takes 15 s to leave, by a kill."""
        self.seaweedfs.kill()
        for server in (self.temporal, self.nessie.server):
            server.stop()
        self.postgres.close()

    def environment(self, service: str) -> dict[str, str]:
        """A service's environment, with the addresses that hold here."""
        texts = self._mounted(service, map(str, self.services[service]["environment"].values()))
        values = [self._local(text) for text in texts]
        return dict(zip(self.services[service]["environment"], values, strict=True))

    def project_environment(self, role: str = "engineer") -> dict[str, str]:
        """What a project needs in its environment: the worker's, with the role's own keys.

        Whoever only reads has no ledger and no Temporal.
        """
        env = self.environment("worker")
        del env["WAP_WORKER__HEALTH"], env["WAP_SPARK__REMOTE"]
        if role != "engineer":
            env["WAP_CATALOG__PROPERTIES__TOKEN"] = self.variables[f"NESSIE_{role.upper()}_TOKEN"]
            env["WAP_CATALOG__PROPERTIES__S3__ACCESS_KEY_ID"] = role
            secret = self.variables[f"S3_{role.upper()}_SECRET"]
            env["WAP_CATALOG__PROPERTIES__S3__SECRET_ACCESS_KEY"] = secret
            del env["WAP_LEDGER__URL"], env["TEMPORAL_ADDRESS"]
        return env

    def file_io(self, role: str) -> dict[str, str]:
        """Properties of pyiceberg's FileIO with a role's keys."""
        return {
            "s3.endpoint": self.s3_endpoint,
            "s3.region": "us-east-1",
            "s3.access-key-id": role,
            "s3.secret-access-key": self.variables[f"S3_{role.upper()}_SECRET"],
        }

    @property
    def s3_endpoint(self) -> str:
        """Where S3 answers."""
        return f"http://127.0.0.1:{self.s3_port}"

    def _local(self, text: str) -> str:
        here = {"temporal:7233": self.temporal_port, "seaweedfs:8333": self.s3_port}
        if hasattr(self, "spark_port"):
            here |= {"spark:15002": self.spark_port, "127.0.0.1:8687": self.health_port}
        if hasattr(self, "postgres"):
            here["postgres:5432"] = self.postgres.port
        if hasattr(self, "nessie"):
            here["nessie:19120"] = self.nessie.port
        for there, port in here.items():
            text = text.replace(there, f"127.0.0.1:{port}")
        return text

    def _mounted(self, service: str, texts: Any) -> list[str]:
        """Paths in the container as those of the files that are mounted there."""
        mounts = [m.split(":") for m in self.services[service].get("volumes", ())]
        files = {there: str(ROOT / here) for here, there, *_ in mounts if here.startswith("./")}
        return [files.get(text, text) for text in texts]

    def _once(self, service: str, command: list[str]) -> None:
        env = {
            **os.environ, **self.environment(service), "PATH": _path(),
            "PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port),
            "PGPASSWORD": self.variables["POSTGRES_PASSWORD"], "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            msg = f"{service}: {done.stdout}{done.stderr}"
            raise RuntimeError(msg)

    def _s3_answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            # The administrator's keys work once the filer behind S3 does: 403 without any.
            return httpx.get(f"{self.s3_endpoint}/healthz", timeout=2).status_code == httpx.codes.OK
        return False


def _is_well(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=4).status_code == httpx.codes.OK
    return False


def _path() -> str:
    """PATH with the programs that our packages bring."""
    return f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"


@contextlib.contextmanager
def composed(folder: Path, variables: Mapping[str, str]) -> Iterator[Composed]:
    """All of them, stopped at the end, also when one does not start."""
    servers = Composed(folder, variables)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
