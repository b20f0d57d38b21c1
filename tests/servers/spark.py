"""Spark for tests: a driver of our own, and a Spark Connect server as a process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.servers.process import Server, free_ports, listens, unavailable
from wap.settings import SparkSection
from wap.spark.jars import ICEBERG, POSTGRES, SQLITE, jar_paths
from wap.spark.session import JAVA, Spark


def need_java() -> None:
    """End the test where Spark cannot be started."""
    java = shutil.which("java")
    said = (
        subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        if java
        else ""
    )
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA:
        unavailable("Spark", f"install OpenJDK {JAVA} or newer")


def local_spark(folder: Path) -> Spark:
    """A driver on two threads; nothing is started yet."""
    need_java()
    conf = {"spark.sql.shuffle.partitions": "2", "spark.default.parallelism": "2"}
    # With what S3 and a catalog on PostgreSQL need, so that one driver serves all tests.
    jars = jar_paths([POSTGRES], [])
    section = SparkSection(master="local[2]", memory="1GB", conf=conf, jars=jars)
    return Spark(section, folder, "s3://any")


class SparkConnect:
    """A Spark Connect server, as an operator starts it: with the jars that docs/server.md names."""

    def __init__(self, folder: Path) -> None:
        need_java()
        (self.port,) = free_ports(1)
        home = Path(str(find_spec("pyspark").origin)).parent  # type: ignore[union-attr]
        (folder / "local").mkdir(parents=True)
        settings = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.port),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.sql.shuffle.partitions": "2",
        }
        conf = [arg for key, value in settings.items() for arg in ("--conf", f"{key}={value}")]
        command = [
            str(home / "bin" / "spark-submit"), "--master", "local[2]", "--driver-memory", "1g",
            "--jars", ",".join(jar_paths([ICEBERG, SQLITE, POSTGRES], [])), *conf,
            "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
        ]  # fmt: skip
        env = {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable}
        self.server = Server("spark-connect", command, folder, lambda: listens(self.port), env)

    @property
    def remote(self) -> str:
        """Where it answers."""
        return f"sc://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.kill()
