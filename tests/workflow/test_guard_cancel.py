"""A cancel that comes while the saga waits to try again: what must be done is done all the same."""

import asyncio
import threading

import pytest

from tests.workflow.world import World
from wap.model import Ending


@pytest.fixture
def cancelled_in():
    """A world whose step is unavailable once, and a drive that cancels the run in that attempt."""

    def make(step, **more: list):
        inside, go_on = threading.Event(), threading.Event()

        def wait():
            inside.set()
            assert go_on.wait(20)

        async def drive(handle):
            assert await asyncio.to_thread(inside.wait, 20)
            await handle.cancel()
            go_on.set()

        faults = {step: [("before", "CatalogUnavailableError", 1)], **more}
        return World(faults=faults, during={step: wait}), drive

    return make


def test_an_undo_is_tried_again(saga, cancelled_in):
    world, drive = cancelled_in("drop_branch", audit=[("before", "EngineError", 1)])
    result, _ = saga(world, drive)
    assert result.ending is Ending.ROLLED_BACK
    assert result.incomplete == ()
    assert (world.main, world.branch) == (1, None)


def test_a_publish_is_tried_again(saga, cancelled_in):
    world, drive = cancelled_in("publish")
    result, _ = saga(world, drive)
    assert result.ending is Ending.PUBLISHED
    assert world.main == result.snapshot.after != 1
