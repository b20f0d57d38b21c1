"""Following a run: what an ended workflow says is waited for, never guessed."""

import asyncio

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from wap.client import follow
from wap.model import Ending, ExitCode, Progress, RunRequest, RunResult
from wap.watched import Watched

REQUEST = RunRequest(project="p", pipeline="orders")
ROLLED_BACK = RunResult(
    run_id="orders-1", pipeline="orders", table="", ending=Ending.ROLLED_BACK, reason="no file"
)


class Ended:
    """A workflow that has failed, and whose worker is busy for the first few questions."""

    id = "wap-p-orders"

    def __init__(self, cause: BaseException, busy: int) -> None:
        self.cause, self.busy, self.asked = cause, busy, 0

    async def result(self) -> RunResult:
        raise WorkflowFailureError(cause=self.cause)

    async def query(self, *_: object, **__: object) -> Progress:
        self.asked += 1
        if self.asked <= self.busy:
            raise RPCError("query timed out", RPCStatusCode.DEADLINE_EXCEEDED, b"")
        return Progress(run_id="orders-1", result=ROLLED_BACK)

    async def describe(self) -> object:
        raise RPCError("busy", RPCStatusCode.UNAVAILABLE, b"")


def followed(handle: Ended) -> RunResult:
    return asyncio.run(follow(handle, Watched(REQUEST), lambda: None))


def test_busy_worker_is_asked_again_how_the_run_ended():
    failed = ApplicationError("rolled back: no file", type="RolledBack")
    assert followed(Ended(failed, busy=3)) == ROLLED_BACK


@pytest.mark.parametrize("busy", [0, 1000])
def test_terminated_run_is_incomplete_whatever_it_answers(busy):
    result = followed(Ended(TerminatedError("by hand"), busy))
    assert result.exit_code is ExitCode.INCOMPLETE
    assert "terminated" in result.reason


def test_a_terminated_group_tells_its_members_all_the_same():
    handle = Ended(TerminatedError("by hand"), 1000)
    request = RunRequest(project="p", pipeline="both", members=("names", "orders"))
    result = asyncio.run(follow(handle, Watched(request), lambda: None))
    assert result.exit_code is ExitCode.INCOMPLETE
    assert [(m.pipeline, m.ending) for m in result.members] == [
        ("names", Ending.ROLLED_BACK), ("orders", Ending.ROLLED_BACK),
    ]  # fmt: skip
