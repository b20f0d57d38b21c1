"""The jars that Spark needs beside its own: where they are kept, and how they are fetched once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wap.errors import EngineError, NotInstalledError

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_COORDINATES = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+")
_CHUNK = 1 << 20
_FETCH_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact of Maven Central, pinned by what it holds.

    Attributes:
        coordinates: ``group:artifact:version``.
        sha256: hex, of the file; None: a user named it, and Maven's own checksum has to do.
    """

    coordinates: str
    sha256: str | None

    @property
    def file(self) -> str:
        """The file's name."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


ICEBERG = Jar(
    "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0",
    "3123c3798af642dd537230923548e013ef41cc28b6626e5225808cf5670a0f82",
)
#: The database of the tables that only one session knows, see :mod:`wap.spark.scratch`.
SQLITE = Jar(
    "org.xerial:sqlite-jdbc:3.50.3.0",
    "a3f53a2aa15ae9425a9e793bbe9c8e5288febeb4b65ef5c1a4e80d4c2045cf08",
)
#: S3 for Iceberg's own FileIO, only where the warehouse lies there.
AWS = Jar(
    "org.apache.iceberg:iceberg-aws-bundle:1.12.0",
    "dd7e49ffa4ac9b215bed846581991259e3aec9bb2fa08d6cec029c46cd66d957",
)
#: The driver of `jdbc:postgresql`, only where a pipeline reads from there.
POSTGRES = Jar(
    "org.postgresql:postgresql:42.7.8",
    "2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7",
)


def cache_folder() -> Path:
    """Where fetched jars stay, for all projects of a user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wap-lakehouse" / "jars"


def jar_paths(wanted: Sequence[Jar], given: Sequence[str]) -> list[str]:
    """Local paths of the jars to start Spark with.

    Args:
        wanted: fetched by Maven, with the user's own settings, unless they are there already.
        given: paths or coordinates that the user set; a file of a wanted jar's name takes its
            place.

    Raises:
        NotInstalledError: a jar is not there, and Maven is not either.
        EngineError: Maven does not bring it, or it is not the one that is pinned.
    """
    own = [str(_cached(Jar(one, None))) if _COORDINATES.fullmatch(one) else one for one in given]
    for path in own:
        if not Path(path).is_file():
            raise NotInstalledError(
                "a jar is not there", where=path, hint="check [spark] jars in wap.toml"
            )
    names = {Path(path).name for path in own}
    return [*own, *(str(_cached(jar)) for jar in wanted if jar.file not in names)]


def postgres_driver(given: Sequence[str]) -> str | None:
    """Path of PostgreSQL's driver; None where the user set one, of whatever version.

    Raises:
        NotInstalledError, EngineError: see :func:`jar_paths`.
    """
    if any("postgresql" in one.rpartition("/")[2] for one in given):
        return None
    return str(_cached(POSTGRES))


def _cached(jar: Jar) -> Path:
    path = cache_folder() / jar.file
    if not path.exists():
        _fetch(jar, path)
    if jar.sha256 is not None and _digest(path) != jar.sha256:
        raise EngineError(
            f"the jar {jar.file} is not the one that this version pins",
            where=str(path),
            hint="delete it, so that it is fetched anew; or name another under [spark] jars",
        )
    return path


def _fetch(jar: Jar, path: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NotInstalledError(
            f"Spark needs the jar {jar.coordinates}, and Maven, which would fetch it, is not there",
            where=str(path),
            hint="put the file there, name it under [spark] jars, or install Maven",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside its place and then moved: another process never meets half a jar.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
        done = subprocess.run(
            [maven, "-q", "-B", _COPY, f"-Dartifact={jar.coordinates}",
             f"-DoutputDirectory={folder}"],
            capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS,
        )  # fmt: skip
        found = Path(folder) / jar.file
        if done.returncode or not found.exists():
            said = (done.stdout + done.stderr).strip().splitlines()
            raise EngineError(
                f"Maven does not bring {jar.coordinates}: {said[0] if said else 'no reason given'}",
                hint="check Maven's settings and the network; or name the file under [spark] jars",
            )
        found.replace(path)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
