"""The one place where ports meet adapters: builds a project's steps and the worker for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from temporalio.client import Client
from temporalio.worker import Worker

from catalog.base import BranchCatalog
from catalog.file_io import prove_warehouse
from checks.base import Auditor
from checks.soda import SodaAuditor
from wap.attempts import AttemptInterceptor
from wap.builds import build_of, deployment_of
from wap.drill.crash import crash_from
from wap.engines.arrow import ArrowEngine
from wap.engines.spark import SparkEngine
from wap.group_activities import GroupActivities
from wap.group_workflow import PublishTogether
from wap.homes import open_home
from wap.keeper import TableKeeper
from wap.lineage import open_lineage
from wap.ports import open_ports
from wap.project import Project
from wap.quarantine.emptying import Emptying
from wap.spark.ports import SparkPorts
from wap.spark.relations import spark_relation
from wap.spark.session import Spark
from wap.workflow import WriteAuditPublish

#: Short steps of many runs may overlap; rows are streamed, so memory grows by budget only.
PARALLEL_STEPS = 4
#: A door that leaves has seen its runs end; whatever else it does is soon over.
GRACEFUL_SECONDS = 5.0


def auditor_of(project: Project) -> Auditor:
    """What evaluates the project's contracts."""
    return SodaAuditor(sample_rows=project.audit.sample_rows)


def emptying_of(project: Project, catalog: BranchCatalog) -> Emptying:
    """What empties quarantine tables of the project."""
    return Emptying(
        catalog=catalog,
        auditor=auditor_of(project),
        home=open_home(project),
        memory_limit=project.audit.memory,
        temp_directory=project.state / "tmp",
    )


@contextmanager
def open_activities(project: Project) -> Iterator[GroupActivities]:
    """The steps of a project over its configured adapters."""
    with open_ports(project) as ports, _spark(project) as spark:
        if project.catalog.kind != "rest":  # a server may hand out keys table by table
            prove_warehouse(project.catalog_properties)
        arrow = ArrowEngine(
            memory_budget=project.engine.memory, temp_directory=project.state / "tmp"
        )
        yield GroupActivities(
            project=project,
            catalog=ports.catalog,
            ledger=ports.ledger,
            engine=arrow,
            spark=SparkPorts(
                SparkEngine(spark, arrow), partial(spark_relation, spark=spark), spark
            ),
            auditor=auditor_of(project),
            lineage=open_lineage(project.lineage, project.root),
            home=open_home(project),
            memory_limit=project.audit.memory,
        )


@contextmanager
def _spark(project: Project) -> Iterator[Spark]:
    """Spark as the project says, started by the first run that needs it."""
    spark = Spark(project.spark, project.state, project.catalog.warehouse)
    try:
        yield spark
    finally:
        spark.stop()


def make_worker(
    client: Client,
    queue: str,
    activities: GroupActivities,
    *,
    slots: int = PARALLEL_STEPS,
    graceful_seconds: float = GRACEFUL_SECONDS,
    identity: str | None = None,
) -> Worker:
    """A worker for the project; run it with ``async with``.

    Args:
        queue: the project's, or that of its data steps.
        slots: how many steps it does at once.
        graceful_seconds: so long a step may go on when the worker is told to stop.
        identity: what the server knows it as; by default process and host.
    """
    deployment = deployment_of(activities.project)
    crash = crash_from(os.environ, activities.project.root)
    return Worker(
        client,
        task_queue=queue,
        identity=identity,
        workflows=[WriteAuditPublish, TableKeeper, PublishTogether],
        activities=activities.all(),
        activity_executor=ThreadPoolExecutor(slots, "wap-step"),
        max_concurrent_activities=slots,
        interceptors=[AttemptInterceptor(activities.home.begin, activities.record, crash)],
        # A dead worker's private queue is given up soon, so that the next one can take over.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(milliseconds=500),
        graceful_shutdown_timeout=timedelta(seconds=graceful_seconds),
        deployment_config=deployment,
        # Else the SDK makes one of the code of every module there is, which takes seconds.
        build_id=None if deployment else build_of(activities.project),
    )


def warm(activities: GroupActivities) -> None:
    """Import and open now what the first run would otherwise wait for."""
    activities.auditor.warm()
    activities.catalog.tables()
