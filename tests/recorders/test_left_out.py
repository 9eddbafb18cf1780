"""Which records the recorder says that it goes on without, so that nobody counts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from aibridge.recorders.sqlite import Content, SqliteRecorder
from aibridge.records import AnyRecord
from tests.durable import ended, interception, prompt, recording, thought, tool, usage

pytestmark = pytest.mark.anyio


async def test_content_that_is_switched_off_is_left_out_and_what_is_kept_is_not(tmp_path: Path) -> None:
    left_out: list[AnyRecord] = []
    async with recording(tmp_path) as at_work:
        recorder = SqliteRecorder(
            at_work.writer, boot_id="boot", content=Content(prompts=False, thoughts=False), left_out=left_out.append
        )
        start = interception()
        said, thinking = prompt(start.id), thought(start.id)
        await recorder.record_interception(start)
        await recorder.record_prompt_usage(said)
        await recorder.record_model_thought(thinking)
        await recorder.record_tool_usage(tool(start.id))
        await recorder.record_token_usage(usage(start.id))
        await recorder.record_interception_ended(ended(start.id))

    assert left_out == [said, thinking]


async def test_open_leaves_out_what_the_closed_writer_does_not_take(tmp_path: Path) -> None:
    left_out: list[AnyRecord] = []
    async with recording(tmp_path) as at_work:
        recorder = SqliteRecorder(at_work.writer, boot_id="boot", fail="open", left_out=left_out.append)
        await at_work.writer.close()
        start = interception()
        said, used, end = prompt(start.id), usage(start.id), ended(start.id)
        await recorder.record_interception(start)
        await recorder.record_prompt_usage(said)
        await recorder.record_token_usage(used)
        await recorder.record_interception_ended(end)

    assert left_out == [start, said, used, end]


async def test_a_record_that_the_database_refuses_is_left_out_before_the_end_is_durable(tmp_path: Path) -> None:
    left_out: list[AnyRecord] = []
    async with recording(tmp_path) as at_work:
        recorder = SqliteRecorder(at_work.writer, boot_id="boot", left_out=left_out.append)
        start = interception()
        await recorder.record_interception(start)
        good, bad = usage(start.id), replace(usage(start.id), created_at="never")
        await recorder.record_token_usage(good)
        await recorder.record_token_usage(bad)
        await recorder.record_interception_ended(ended(start.id))
        at_the_end = list(left_out)

    assert at_the_end == [bad]
