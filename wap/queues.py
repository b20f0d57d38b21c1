"""The queues that runs and workers meet at, and whether anybody waits there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from wap.model import data_queue
from wap.project import Project

#: A worker asks the server for work at least once a minute; silent for longer, it is gone.
SILENT = timedelta(seconds=70)

#: What a door that does its run by itself is known as: it goes with the run, nobody counts on it.
DOOR = "door"

CONTROL, DATA = "control", "data"
ROLES = (CONTROL, DATA)


def queue_of(project: Project, role: str = CONTROL) -> str:
    """The queue of a role: ``control`` for sagas and short steps, ``data`` to move rows."""
    queue = f"wap-{project.id}"
    return data_queue(queue) if role == DATA else queue


async def is_served(client: Client, project: Project, role: str) -> bool:
    """Whether a worker waits at the role's queue, or did a moment ago; doors are none.

    Workers of every queue ask for sagas, too, though none comes to the data queue: a worker whose
    slots are all taken asks for no step, but is there.

    Raises:
        RPCError: the server does not tell.
    """
    told = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue_of(project, role)),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    since = datetime.now(UTC) - SILENT
    return any(
        p.last_access_time.ToDatetime(tzinfo=UTC) > since
        for p in told.pollers
        if not p.identity.startswith(f"{DOOR}-")
    )
