"""Runs that began under an earlier version go on: the saved history of each ending replays."""

import asyncio
import base64
import json

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.workflow.record import FOLDER, IDENTITY, SCENES
from wap.group_workflow import PublishTogether
from wap.keeper import TableKeeper
from wap.workflow import WriteAuditPublish

SAVED = sorted(path.stem for path in FOLDER.glob("*.json"))


def replay(text: str) -> None:
    replayer = Replayer(
        workflows=[WriteAuditPublish, PublishTogether, TableKeeper],
        data_converter=pydantic_data_converter,
    )
    asyncio.run(replayer.replay_workflow(WorkflowHistory.from_json("wap-saved", text)))


def saved(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text()


def test_every_ending_has_a_history():
    assert set(SAVED) >= set(SCENES)


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_run_goes_on(name):
    replay(saved(name))


@pytest.mark.parametrize(("one", "other"), [("seal", "reconcile"), ("audit", "stage")])
def test_another_order_of_steps_is_noticed(one, other):
    text = saved("published")
    swapped = {f'"name": "{one}"': f'"name": "{other}"', f'"name": "{other}"': f'"name": "{one}"'}
    for name in (one, other):
        assert text.count(f'"name": "{name}"') == 1
    first, second = swapped
    changed = text.replace(first, "@").replace(second, first).replace("@", second)
    with pytest.raises(NondeterminismError):
        replay(changed)


@pytest.mark.parametrize(
    ("name", "times"), [("queued_and_redone", 1), ("group_rebased", 2), ("group_abreast", 1)]
)
def test_a_run_that_was_planned_anew_by_an_earlier_worker_stays_so(name, times):
    """A step of this version may have told a saga of an earlier one that there is another way."""
    document, told = json.loads(saved(name)), 0
    for payload in (p for ps in values(document, "payloads") for p in ps):
        found = json.loads(base64.b64decode(payload.get("data", "bnVsbA==")))
        if isinstance(found, dict) and found.get("redo"):
            payload["data"] = base64.b64encode(json.dumps({**found, "restages": True}).encode())
            payload["data"], told = payload["data"].decode(), told + 1
    assert told == times
    replay(json.dumps(document))


def values(value, key):
    """All values of a key, however deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and key in value:
        yield value[key]
    for one in inner:
        yield from values(one, key)


@pytest.mark.parametrize("name", SAVED)
def test_no_machine_is_named(name):
    document = json.loads(saved(name))
    # The server itself hands on what one workflow signals to another.
    assert set(values(document, "identity")) <= {IDENTITY, "history-service"}
    assert not list(values(document, "stackTrace"))


def test_the_run_of_a_group_is_found_by_its_name():
    upserted = values(json.loads(saved("group_in_a_cluster")), "indexedFields")
    told = {name for fields in upserted for name in fields}
    assert told == {"WapGroup", "WapStatus"}
