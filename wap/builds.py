"""Worker versioning: which build a worker is, and which one takes new runs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from wap.errors import ConfigError, TemporalUnavailableError
from wap.model import Build
from wap.project import Project

#: The packages whose files make a build what it is.
_PACKAGES = ("wap", "catalog", "checks")


@cache
def own_build() -> str:
    """The version and a digest of the program's files: another program is another build."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{metadata.version('wap-lakehouse')}-{digest.hexdigest()[:12]}"


def build_of(project: Project) -> str:
    """The build that workers of this program are."""
    return project.worker.build or own_build()


def deployment_of(project: Project) -> WorkerDeploymentConfig | None:
    """How workers tell the server their build; None: they are not versioned.

    A saga is pinned: it stays with the build that began it, to its end.
    The project's own server has the door for its worker, so there is nothing to deploy.
    """
    name = project.worker.deployment
    if name is None or project.temporal.address is None:
        return None
    version = WorkerDeploymentVersion(deployment_name=name, build_id=build_of(project))
    # Here and not at the workflow: a worker without versions may not speak of it.
    pinned = VersioningBehavior.PINNED
    return WorkerDeploymentConfig(version, True, default_versioning_behavior=pinned)


async def builds(client: Client, deployment: str) -> list[Build]:
    """The builds the server has seen, newest first; [] before the first worker came.

    Raises:
        TemporalUnavailableError: the server does not tell.
    """
    found = await _described(client, deployment)
    if found is None:
        return []
    info = found.worker_deployment_info
    current = info.routing_config.current_deployment_version.build_id
    seen = sorted(info.version_summaries, key=lambda s: s.create_time.ToNanoseconds(), reverse=True)
    return [
        Build(
            build=s.deployment_version.build_id,
            state=_state(s.status, s.deployment_version.build_id == current),
        )
        for s in seen
    ]


def _state(status: WorkerDeploymentVersionStatus.ValueType, current: bool) -> str:
    if current:
        return "current"
    name = WorkerDeploymentVersionStatus.Name(status)
    return name.removeprefix("WORKER_DEPLOYMENT_VERSION_STATUS_").lower()


async def make_current(client: Client, deployment: str, build: str, *, only_first: bool) -> bool:
    """Let new runs go to a build; those at work stay with theirs.

    Args:
        only_first: leave it when another build is current already.

    Returns:
        Whether the build is current now because of this call.

    Raises:
        ConfigError: no worker of the build was ever seen.
        TemporalUnavailableError: the server refuses.
    """
    found = await _described(client, deployment)
    known = found.worker_deployment_info if found else None
    current = known.routing_config.current_deployment_version.build_id if known else ""
    if current == build or (only_first and current):
        return False
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=deployment, build_id=build,
        identity=client.identity, conflict_token=found.conflict_token if found else b"",
    )  # fmt: skip
    try:
        await client.workflow_service.set_worker_deployment_current_version(request)
    except RPCError as exc:
        if exc.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
            raise ConfigError(
                f"the build {build!r} cannot take new runs: {exc.message}",
                where=f"deployment {deployment}",
                hint="start its workers first: wap worker",
            ) from exc
        raise _unanswered(exc, deployment) from exc
    return True


async def _described(client: Client, deployment: str) -> DescribeWorkerDeploymentResponse | None:
    request = DescribeWorkerDeploymentRequest(
        namespace=client.namespace, deployment_name=deployment
    )
    try:
        return await client.workflow_service.describe_worker_deployment(request)
    except RPCError as exc:
        if exc.status is RPCStatusCode.NOT_FOUND:
            return None
        raise _unanswered(exc, deployment) from exc


def _unanswered(exc: RPCError, deployment: str) -> TemporalUnavailableError:
    busy = exc.status is RPCStatusCode.RESOURCE_EXHAUSTED
    return TemporalUnavailableError(
        f"the server does not take the deployment: {exc.message}",
        where=f"deployment {deployment}",
        hint="try again in a minute: it takes few changes of a deployment at a time"
        if busy
        else "worker deployments need Temporal 1.28 or newer, with versioning enabled",
    )
