"""DataHub's names (URNs) for what a run touches; the same thing always has the same one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from datahub.emitter import mce_builder as build

from wap.model import CheckFact, RunFacts
from wap.pipeline import QUARANTINE
from wap.quarantine.table import REPLAY

ORCHESTRATOR = "temporal"
JOB = "write-audit-publish"

#: Object stores by URL scheme, as DataHub's own sources call them.
_STORES = {
    "s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "abs", "abfss": "abs",
}  # fmt: skip
#: Databases by what JDBC's URLs begin with, where DataHub calls them otherwise.
_DATABASES = {"postgresql": "postgres", "sqlserver": "mssql"}
_TOPIC = re.compile(r"kafka://[^/]+/(?P<name>.+)")
_DATABASE = re.compile(r"jdbc:(?P<kind>\w+)://[^/]+/(?P<name>.+)")


@dataclass(frozen=True, slots=True)
class Names:
    """URNs in one DataHub fabric.

    Attributes:
        env: the fabric, ``PROD``.
        platform_instance: DataHub's name for this catalog; None when it knows only one.
        source_platform: platform of inputs that lie in no object store.
    """

    env: str
    platform_instance: str | None
    source_platform: str

    def table(self, facts: RunFacts) -> str:
        """The published table, as DataHub's own Iceberg source names it."""
        return _dataset("iceberg", facts.result.table, self.platform_instance, self.env)

    def aside(self, facts: RunFacts) -> str:
        """The table that the published one's broken rows wait in."""
        name = f"{facts.result.table}{QUARANTINE}"
        return _dataset("iceberg", name, self.platform_instance, self.env)

    def source(self, facts: RunFacts) -> str:
        """What was read: a replay reads what waits."""
        if facts.source_kind == REPLAY:
            return self.aside(facts)
        platform, name = _platform_and_name(facts.source_location, self.source_platform)
        # An object store's names are global; a path means something in one project only.
        instance = self.platform_instance if platform == self.source_platform else None
        return _dataset(platform, name, instance, self.env)

    def flow(self, facts: RunFacts) -> str:
        """The pipeline."""
        flow = f"wap.{facts.result.pipeline}"
        return str(build.make_data_flow_urn(ORCHESTRATOR, flow, self.env, self.platform_instance))

    def job(self, facts: RunFacts) -> str:
        """What the pipeline does."""
        return str(build.make_data_job_urn_with_flow(self.flow(facts), JOB))

    def run(self, facts: RunFacts) -> str:
        """One execution of it."""
        key = {"cluster": self.env, "orchestrator": ORCHESTRATOR, "id": facts.run_id}
        return f"urn:li:dataProcessInstance:{build.datahub_guid(key)}"

    def check(self, facts: RunFacts, check: CheckFact) -> str:
        """A check, run after run."""
        key = {"platform": platform_of(check), "dataset": self.table(facts), "path": check.name}
        return f"urn:li:assertion:{build.datahub_guid(key)}"

    def incident(self, facts: RunFacts) -> str:
        """The rejection of one run."""
        key = {"dataset": self.table(facts), "run": facts.run_id}
        return f"urn:li:incident:{build.datahub_guid(key)}"


def platform_of(check: CheckFact) -> str:
    """Who evaluates a check: Soda, or ourselves."""
    return "wap" if check.name.startswith("wap:") else "soda"


def shown(location: str) -> str:
    """A location, or several, without what may be a secret: user, password and query string."""
    return ", ".join(map(_plain, location.split(", ")))


def _plain(location: str) -> str:
    parts = urlsplit(location)
    if not parts.netloc:
        return location
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _dataset(platform: str, name: str, instance: str | None, env: str) -> str:
    return str(build.make_dataset_urn_with_platform_instance(platform, name, instance, env))


def _platform_and_name(location: str, otherwise: str) -> tuple[str, str]:
    plain = shown(location)
    if topic := _TOPIC.fullmatch(plain):
        return "kafka", topic["name"]
    if table := _DATABASE.fullmatch(plain):
        platform = _DATABASES.get(table["kind"], table["kind"])
        return platform, table["name"].replace("/", ".")
    scheme, found, name = plain.partition("://")
    if found and scheme in _STORES:
        return _STORES[scheme], name
    return otherwise, plain
