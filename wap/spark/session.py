"""Spark's session: started when first needed, once a process, and ended with it.

What we rely on beyond PySpark's documented API, held by ``tests/integration/test_spark.py``:

- ``pyspark.java_gateway.launch_gateway`` with ``popen_kwargs``, so that the log goes to a file;
- ``SparkContext(gateway=…)``, which takes that gateway.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from checks.spark import is_gone
from wap.errors import EngineError, EngineUnavailableError, NotInstalledError
from wap.settings import SparkSection
from wap.spark.jars import AWS, ICEBERG, SQLITE, jar_paths

JAVA = 17

#: The same for every session of ours, also for those of a given server.
_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Else WHERE (flag) behind a table is an alias, WHERE, of its columns, and filters nothing.
    "spark.sql.ansi.enforceReservedKeywords": "true",
    # Rows are counted in the files, not in the metadata they are held against.
    "spark.sql.iceberg.aggregate-push-down.enabled": "false",
    "spark.sql.iceberg.check-nullability": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
_LOOPBACK = "127.0.0.1"
#: JDBC drivers read a timestamp without a zone by way of the JVM's, where some hours do not exist.
_IN_UTC = "-Duser.timezone=UTC"
_SCHEME = re.compile(r"^(s3[an]?)://")


@dataclass
class Spark:
    """One Spark: our own driver, or a Spark Connect server.

    Attributes:
        settings: ``[spark]`` of the project.
        state: where logs and spilled rows lie.
        warehouse: the catalog's location, which says what storage is needed.
    """

    settings: SparkSection
    state: Path
    warehouse: str = ""
    _context: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_remote(self) -> bool:
        """Whether the driver is another process, perhaps on another machine."""
        return self.settings.remote is not None

    @contextmanager
    def session(self, conf: Mapping[str, str]) -> Iterator[Any]:
        """A session of its own: settings and catalogs are seen by no other.

        Args:
            conf: on top of ours; it may hold secrets.

        Raises:
            NotInstalledError: no pyspark, no Java, no jar.
            EngineUnavailableError: the server or master does not answer.
            EngineError: Spark does not start.
        """
        with translated():
            session = self._connected() if self.is_remote else self._own().newSession()
        try:
            with translated():
                for key, value in {**_SESSION, **conf}.items():
                    session.conf.set(key, value)
            yield session
        finally:
            if self.is_remote:
                with translated():
                    session.stop()

    def stop(self) -> None:
        """End the driver, if it was started."""
        with self._lock:
            context, self._context = self._context, None
            if context is not None:
                context.stop()

    def _connected(self) -> Any:
        _need_pyspark()
        builder = import_module("pyspark.sql.connect.session").SparkSession.builder
        session = builder.remote(self.settings.remote).create()
        # By itself it would try a server that is away for ten minutes; our steps are tried again.
        policy = import_module("pyspark.sql.connect.client.retries").DefaultPolicy
        session.client.set_retry_policies([policy(max_retries=5, max_backoff=2000)])
        return session

    def _own(self) -> Any:
        with self._lock:
            if self._context is not None and not _answers(self._context):
                self._context = None
            if self._context is None:
                self._context = self._start()
            return import_module("pyspark.sql.session").SparkSession(self._context)

    def _start(self) -> Any:
        _need_pyspark()
        _need_java()
        pyspark = import_module("pyspark")
        # It would print every query that fails, with what it quotes of the rows.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        # PySpark reads it from here and nowhere else; a user's own choice stays.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        conf = pyspark.SparkConf(loadDefaults=False)
        for key, value in self._driver_conf().items():
            conf.set(key, value)
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "spark.log").open("ab") as log:
            gateway = import_module("pyspark.java_gateway").launch_gateway(
                conf, {"stdout": log, "stderr": log}
            )
        return pyspark.SparkContext(gateway=gateway, conf=conf)

    def _driver_conf(self) -> dict[str, str]:
        wanted = [ICEBERG, SQLITE, *([AWS] if _SCHEME.match(self.warehouse) else [])]
        memory = f"{self.settings.memory >> 20}m"
        return {
            "spark.master": self.settings.master,
            "spark.app.name": "wap",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": _LOOPBACK,
            "spark.driver.bindAddress": _LOOPBACK,
            "spark.driver.extraJavaOptions": _IN_UTC,
            "spark.executor.extraJavaOptions": _IN_UTC,
            "spark.driver.memory": memory,
            "spark.executor.memory": memory,
            "spark.jars": ",".join(jar_paths(wanted, self.settings.jars)),
            "spark.local.dir": str(self.state / "tmp"),
            "spark.sql.warehouse.dir": str(self.state / "tmp" / "spark-warehouse"),
            **self.settings.conf,
        }


@contextmanager
def interruptible(session: Any) -> Iterator[Callable[[], None]]:
    """Gives what ends all that this thread asks of a session meanwhile; for another thread."""
    tag = f"wap-{uuid.uuid4().hex}"
    if _is_connect(session):
        session.addTag(tag)
        try:
            yield lambda: session.interruptTag(tag)
        finally:
            session.removeTag(tag)
        return
    # A session's own tags are not seen from another thread; those of the driver are.
    context = session.sparkContext
    context.addJobTag(tag)
    try:
        yield lambda: context.cancelJobsWithTag(tag)
    finally:
        context.removeJobTag(tag)


def functions_of(session: Any) -> tuple[Any, Any]:
    """PySpark's module of functions and its class ``Observation``, as this session takes them."""
    inner = ".connect" if _is_connect(session) else ""
    observation = import_module(f"pyspark.sql{inner}.observation").Observation
    return import_module(f"pyspark.sql{inner}.functions"), observation


def _is_connect(session: Any) -> bool:
    return ".connect." in type(session).__module__


@contextmanager
def translated(where: str = "") -> Iterator[None]:
    """Spark's own errors as ours.

    Raises:
        EngineUnavailableError: Spark has gone, or does not answer.
        EngineError: everything else that it complains about.
    """
    try:
        yield
    except Exception as exc:
        found = _ours(exc, where)
        if found is None:
            raise
        raise found from exc


def _ours(exc: Exception, where: str) -> EngineError | None:
    module = type(exc).__module__.partition(".")[0]
    if module not in ("pyspark", "py4j", "grpc") and not isinstance(exc, ConnectionError):
        return None
    said = _said(exc)
    if is_gone(exc):
        return EngineUnavailableError(
            f"Spark does not answer: {said}", where=where, hint="see spark.log in the state folder"
        )
    return EngineError(f"Spark: {said}", where=where, hint="see spark.log in the state folder")


def _said(exc: Exception) -> str:
    """What went wrong, in one line: the innermost cause's, without a trace."""
    java = getattr(exc, "java_exception", None)
    text = str(java.toString()) if java is not None else str(exc)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by:")]
    return (causes[-1] if causes else lines[0] if lines else type(exc).__name__)[:500]


def _answers(context: Any) -> bool:
    """Whether the driver lives; it may have been killed, or run out of memory."""
    try:
        return not context._jsc.sc().isStopped()  # noqa: SLF001 - PySpark has no other way to ask
    except Exception:  # noqa: BLE001 - whatever it is, there is no driver to talk to
        return False


def _need_pyspark() -> None:
    if find_spec("pyspark") is None:
        raise NotInstalledError(
            "engine: spark needs the package pyspark",
            hint="pip install 'wap-lakehouse[spark]'",
        )


def _need_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    hint = f"install OpenJDK {JAVA}, or say JAVA_HOME; or name a server under [spark] remote"
    if java is None or not Path(java).exists():
        raise NotInstalledError("Spark needs Java, and there is none", where=home or "", hint=hint)
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    if found is None or int(found[1]) < JAVA:
        version = found[0] if found else "no version"
        raise NotInstalledError(f"Spark needs Java {JAVA} or newer: {version}", where=java,
                                hint=hint)  # fmt: skip
