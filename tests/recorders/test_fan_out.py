"""Several recorders behind one: the first decides, the others never harm it or the request."""

from __future__ import annotations

import asyncio

import pytest

from aibridge.errors import RecordingFailed
from aibridge.recorders.callback import CallbackRecorder
from aibridge.recorders.fan_out import Delivery, FanOut
from aibridge.recorders.memory import MemoryRecorder
from aibridge.records import AnyRecord
from tests.durable import BOUND, ended, interception, prompt, thought, tool, usage

pytestmark = pytest.mark.anyio


def broken(record: AnyRecord) -> None:
    raise ConnectionError("the collector is down")


async def test_all_get_everything_in_order() -> None:
    first, second, third = MemoryRecorder(), MemoryRecorder(), MemoryRecorder()
    async with FanOut(first, second, third) as fan_out:
        await fan_out.record_interception(interception("i"))
        await fan_out.record_prompt_usage(prompt("i"))
        await fan_out.record_token_usage(usage("i"))
        await fan_out.record_tool_usage(tool("i"))
        await fan_out.record_model_thought(thought("i"))
        await fan_out.record_interception_ended(ended("i"))

    assert len(first.records) == 6
    assert second.records == first.records
    assert third.records == first.records
    assert fan_out.deliveries == [Delivery(delivered=6), Delivery(delivered=6)]


async def test_what_the_first_does_not_take_nobody_gets() -> None:
    second = MemoryRecorder()
    async with FanOut(CallbackRecorder(broken), second) as fan_out:
        with pytest.raises(RecordingFailed):
            await fan_out.record_interception(interception())

    assert second.records == []


async def test_a_later_recorder_that_fails_harms_nobody_and_is_counted() -> None:
    first, third = MemoryRecorder(), MemoryRecorder()
    async with FanOut(first, CallbackRecorder(broken), third) as fan_out:
        await fan_out.record_interception(interception("i"))
        await fan_out.record_interception_ended(ended("i"))

    assert len(first.records) == len(third.records) == 2
    assert fan_out.deliveries == [Delivery(failed=2), Delivery(delivered=2)]


async def test_a_later_recorder_that_hangs_holds_up_nobody_and_its_queue_is_bounded() -> None:
    first, third = MemoryRecorder(), MemoryRecorder()
    never = asyncio.Event()

    async def hang(record: AnyRecord) -> None:
        await never.wait()

    fan_out = FanOut(first, CallbackRecorder(hang), third, queue=3, closing=0.01)
    async with asyncio.timeout(BOUND), fan_out:
        for _ in range(10):
            await fan_out.record_token_usage(usage("i"))
            await asyncio.sleep(0)  # the others get their turn

    assert len(first.records) == len(third.records) == 10
    # One is in its hands, three wait, six found no room; closing gives the four up.
    assert fan_out.deliveries == [Delivery(dropped=9), Delivery(delivered=10)]


async def test_nothing_runs_between_records() -> None:
    fan_out = FanOut(MemoryRecorder(), MemoryRecorder())
    before = len(asyncio.all_tasks())

    await fan_out.record_interception(interception())
    await fan_out.close()
    await fan_out.record_interception(interception())
    await fan_out.close()

    assert len(asyncio.all_tasks()) == before
    assert fan_out.deliveries == [Delivery(delivered=2)]
