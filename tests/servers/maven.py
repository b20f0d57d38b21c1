"""Servers that Maven Central has in many jars: fetched once, into a folder of their own."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import JARS, fetching, program, unavailable


def libraries(name: str, artifacts: Sequence[str]) -> Path:
    """The folder that holds these artifacts and all that they need.

    Args:
        name: of the folder, with the server's version.
        artifacts: ``group:artifact:version[:classifier]``.
    """
    folder = JARS / name
    with fetching():
        return folder if folder.exists() else _fetched(name, folder, artifacts)


def _fetched(name: str, folder: Path, artifacts: Sequence[str]) -> Path:
    new = folder.with_name(f"{folder.name}-{secrets.token_hex(4)}")
    new.mkdir(parents=True)
    (new / "pom.xml").write_text(_pom(artifacts))
    done = subprocess.run(
        [program("mvn", "maven"), "-q", "-B", "-f", str(new / "pom.xml"),
         "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
         "-DincludeScope=runtime", f"-DoutputDirectory={new}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        unavailable(name, f"Maven did not bring it: {done.stdout[-500:]}")
    return new.rename(folder)


def _pom(artifacts: Sequence[str]) -> str:
    names = ("groupId", "artifactId", "version", "classifier")
    dependencies = "".join(
        "<dependency>"
        + "".join(f"<{n}>{p}</{n}>" for n, p in zip(names, artifact.split(":"), strict=False))
        + "</dependency>"
        for artifact in artifacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>wap</groupId><artifactId>server</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
