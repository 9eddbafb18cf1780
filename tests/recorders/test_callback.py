"""One function gets every record; what it raises is the one thing that a recorder may raise."""

from __future__ import annotations

import pytest

from aibridge.errors import RecordingFailed
from aibridge.ports import Recorder
from aibridge.recorders.callback import CallbackRecorder
from aibridge.records import AnyRecord
from tests.durable import ended, interception, prompt, thought, tool, usage

pytestmark = pytest.mark.anyio


async def all_kinds(recorder: Recorder) -> list[AnyRecord]:
    start, words, tokens, call, idea, end = (
        interception("i"), prompt("i"), usage("i"), tool("i"), thought("i"), ended("i")
    )  # fmt: skip
    await recorder.record_interception(start)
    await recorder.record_prompt_usage(words)
    await recorder.record_token_usage(tokens)
    await recorder.record_tool_usage(call)
    await recorder.record_model_thought(idea)
    await recorder.record_interception_ended(end)
    return [start, words, tokens, call, idea, end]


async def test_a_function_is_called_with_every_record() -> None:
    seen: list[AnyRecord] = []

    assert await all_kinds(CallbackRecorder(seen.append)) == seen


async def test_a_coroutine_function_is_awaited() -> None:
    seen: list[AnyRecord] = []

    async def keep(record: AnyRecord) -> None:
        seen.append(record)

    assert await all_kinds(CallbackRecorder(keep)) == seen


async def test_what_the_function_raises_is_a_failed_recording_without_its_words() -> None:
    def keep(record: AnyRecord) -> None:
        raise ZeroDivisionError("the prompt was: secret")

    with pytest.raises(RecordingFailed, match=r"^the host's recorder failed: ZeroDivisionError$"):
        await CallbackRecorder(keep).record_interception(interception())
