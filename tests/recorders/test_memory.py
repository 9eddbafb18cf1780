"""The recorder in memory keeps everything by kind and in order."""

from __future__ import annotations

import pytest

from aibridge.ports import Recorder
from aibridge.recorders.memory import MemoryRecorder
from tests.durable import ended, interception, prompt, thought, tool, usage

pytestmark = pytest.mark.anyio


async def test_every_kind_has_its_list_and_all_have_one_order() -> None:
    recorder = MemoryRecorder()
    door: Recorder = recorder
    records = (interception("i"), prompt("i"), usage("i"), tool("i"), thought("i"), ended("i"))
    start, words, tokens, call, idea, end = records

    await door.record_interception(start)
    await door.record_prompt_usage(words)
    await door.record_token_usage(tokens)
    await door.record_tool_usage(call)
    await door.record_model_thought(idea)
    await door.record_interception_ended(end)

    assert recorder.records == list(records)
    assert (recorder.interceptions, recorder.prompts, recorder.token_usages) == ([start], [words], [tokens])
    assert (recorder.tool_usages, recorder.thoughts, recorder.ends) == ([call], [idea], [end])
