"""The recorder of the server: what a method's return promises, what gives way, and what each policy does."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from aibridge.errors import RecordingFailed
from aibridge.recorders.rows import Limits
from aibridge.recorders.sqlite import RESERVE, Content, Fail, NotRecorded
from aibridge.records import InterceptionRecord
from tests.durable import (
    BOUND,
    Recording,
    ended,
    interception,
    prompt,
    recording,
    rows,
    thought,
    tool,
    until,
    usage,
)

pytestmark = pytest.mark.anyio

KIB = 1024
STATE = "SELECT state FROM aibridge_interceptions WHERE id = ?"


async def begun(at_work: Recording, record: InterceptionRecord | None = None) -> str:
    record = record or interception()
    await at_work.recorder.record_interception(record)
    return record.id


async def full(at_work: Recording) -> None:
    """Fills the disk, and returns when the writer has noticed."""
    at_work.writer._connection.execute("PRAGMA max_page_count = 1")
    await at_work.recorder.record_token_usage(usage("somebody"))
    with closing(at_work.file.connection()) as connection:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
    number = 0
    while at_work.writer.why_unhealthy is None:
        number += 1
        assert number < 10_000, f"{pages} pages and still not full"
        await at_work.recorder.record_token_usage(replace(usage("somebody"), extra={"note": "x" * 400}))
        await asyncio.sleep(0)


async def test_a_start_is_durable_when_the_method_returns(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)

        assert at_work.rows(STATE, found) == [(None,)]


async def test_an_end_and_everything_before_it_is_durable_when_the_method_returns(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)
        await at_work.recorder.record_prompt_usage(prompt(found))
        await at_work.recorder.record_token_usage(usage(found))
        await at_work.recorder.record_tool_usage(tool(found, arguments={"path": "/a"}))
        await at_work.recorder.record_model_thought(thought(found))
        await at_work.recorder.record_interception_ended(ended(found))

        counted = " + ".join(
            f"(SELECT count(*) FROM aibridge_{table} WHERE interception_id = '{found}')"
            for table in ("token_usages", "user_prompts", "tool_usages", "model_thoughts")
        )
        assert at_work.rows(f"SELECT {counted}") == [(4,)]
        assert at_work.rows(STATE, found) == [("completed",)]
        assert at_work.writer.statistics().reserved == 0


def only_row(at_work: Recording, table: str) -> dict[str, object]:
    """The one row of a table, without what counts its arrival."""
    with closing(sqlite3.connect(at_work.file.path)) as connection:
        connection.row_factory = sqlite3.Row
        [row] = connection.execute(f"SELECT * FROM aibridge_{table}").fetchall()
    return {name: value for name, value in dict(row).items() if name != "arrival"}


async def test_every_field_of_an_interception_is_kept(tmp_path: Path) -> None:
    start = replace(interception("i1", session="s1", carries="toolu_0"), agent_id="agent", parent_agent_id="parent")
    end = replace(ended("i1"), error_type="e", error_message="m", credential_hint="sk-b...wxyz", served_by="spare")
    async with recording(tmp_path) as at_work:
        await at_work.recorder.record_interception(start)
        await at_work.recorder.record_interception_ended(end)

        assert only_row(at_work, "interceptions") == {
            "id": "i1",
            "boot_id": "boot",
            "initiator_id": "alice",
            "metadata": '{"username":"alice"}',
            "model": "claude-sonnet-4-5",
            "provider": "anthropic",
            "provider_name": "anthropic",
            "dialect": "messages",
            "route": "/v1/messages",
            "streaming": 1,
            "started_at": "2026-11-20 12:00:00.000000",
            "client": "Claude Code",
            "client_session_id": "s1",
            "agent_id": "agent",
            "parent_agent_id": "parent",
            "user_agent": "claude-cli/2.0",
            "correlating_tool_call_id": "toolu_0",
            "credential_kind": "centralized",
            "credential_hint": "sk-b...wxyz",
            "upstream_user": "alice",
            "ended_at": "2026-11-20 12:00:05.000000",
            "state": "completed",
            "http_status": 200,
            "error_type": "e",
            "error_message": "m",
            "time_to_first_byte": 0.25,
            "served_by": "spare",
            "thread_parent_id": None,
            "thread_root_id": None,
            "session_id": "s1",
        }


async def test_every_field_of_what_belongs_to_an_interception_is_kept(tmp_path: Path) -> None:
    called = replace(
        tool("i1"), id="t1", input=[1.0, "x"], injected=True, server_url="https://s", invocation_error="no"
    )
    async with recording(tmp_path) as at_work:
        await at_work.recorder.record_interception(interception("i1"))
        await at_work.recorder.record_token_usage(
            replace(usage("i1"), id="u1", partial=True, model="claude-opus-4-1-20250805")
        )
        await at_work.recorder.record_tool_usage(called)
        await at_work.recorder.record_prompt_usage(replace(prompt("i1"), id="p1"))
        await at_work.recorder.record_model_thought(replace(thought("i1"), id="m1"))
        await at_work.recorder.record_interception_ended(ended("i1"))

        of_i1 = {"interception_id": "i1", "provider_response_id": "msg_1"}
        start, second_later = "2026-11-20 12:00:00.000000", "2026-11-20 12:00:01.000000"
        assert only_row(at_work, "token_usages") == of_i1 | {
            "id": "u1",
            "input_tokens": 12,
            "output_tokens": 61,
            "cache_read_tokens": 2000,
            "cache_write_tokens": 100,
            "extra": '{"cache_ephemeral_5m_input":100}',
            "partial": 1,
            "model": "claude-opus-4-1-20250805",
            "cost": None,
            "created_at": second_later,
        }
        assert only_row(at_work, "tool_usages") == of_i1 | {
            "id": "t1",
            "initiator_id": "alice",
            "tool_call_id": "toolu_1",
            "tool": "Read",
            "input": '[1.0,"x"]',
            "injected": 1,
            "server_url": "https://s",
            "invocation_error": "no",
            "created_at": second_later,
        }
        words = "please mend the parser"
        assert only_row(at_work, "user_prompts") == of_i1 | {"id": "p1", "prompt": words, "created_at": start}
        assert only_row(at_work, "model_thoughts") == {
            "id": "m1",
            "interception_id": "i1",
            "content": "the parser splits too early",
            "source": "thinking",
            "created_at": start,
        }


async def test_the_credential_hint_of_the_start_stays_where_the_end_has_none(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)
        await at_work.recorder.record_interception_ended(ended(found))

        assert at_work.rows("SELECT credential_hint FROM aibridge_interceptions") == [("sk-a...efgh",)]


async def test_fifty_requests_at_once_share_their_commits(tmp_path: Path) -> None:
    async def one(at_work: Recording) -> None:
        found = await begun(at_work)
        await at_work.recorder.record_token_usage(usage(found))
        await at_work.recorder.record_interception_ended(ended(found))

    async with recording(tmp_path) as at_work:
        await asyncio.gather(*(one(at_work) for _ in range(50)))

        # Two waits for each of the fifty; together they need two commits, and a few where they drift apart.
        assert at_work.writer.statistics().commits <= 20
        assert at_work.rows("SELECT count(*) FROM aibridge_interceptions WHERE state = 'completed'") == [(50,)]


async def test_of_two_ends_on_their_way_at_once_the_first_counts(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)
        await asyncio.gather(
            at_work.recorder.record_interception_ended(ended(found, "client_gone")),
            at_work.recorder.record_interception_ended(ended(found, "completed")),
        )

        assert at_work.rows(STATE, found) == [("client_gone",)]


async def test_content_is_cut_and_says_so(tmp_path: Path) -> None:
    async with recording(tmp_path, limits=Limits(each=KIB, per_interception=2 * KIB)) as at_work:
        found = await begun(at_work)
        await at_work.recorder.record_prompt_usage(prompt(found, "é" * 5000))
        await at_work.recorder.record_tool_usage(tool(found, arguments={"text": "x" * 5000}))
        await at_work.recorder.record_model_thought(thought(found, "z" * 5000))
        await at_work.recorder.record_interception_ended(ended(found))

        [(kept,)] = at_work.rows("SELECT prompt FROM aibridge_user_prompts")
        [(arguments,)] = at_work.rows("SELECT input FROM aibridge_tool_usages")
        [(content,)] = at_work.rows("SELECT content FROM aibridge_model_thoughts")
        assert kept.endswith("é [cut: 10000 bytes]")
        assert KIB - 2 <= len(kept.encode()) <= KIB
        assert json.loads(arguments).startswith('{"text":"xxx')
        assert json.loads(arguments).endswith("xxx [cut: 5011 bytes]")
        assert len(content) <= 2  # the two before it took all that one interception may have


async def test_content_that_is_switched_off_is_not_kept_and_the_rest_is(tmp_path: Path) -> None:
    content = Content(prompts=False, tool_arguments=False, thoughts=False)
    async with recording(tmp_path, content=content) as at_work:
        found = await begun(at_work)
        await at_work.recorder.record_prompt_usage(prompt(found))
        await at_work.recorder.record_tool_usage(tool(found, arguments={"secret": "word"}))
        await at_work.recorder.record_model_thought(thought(found))
        await at_work.recorder.record_token_usage(usage(found))
        await at_work.recorder.record_interception_ended(ended(found))

        assert at_work.rows("SELECT count(*) FROM aibridge_user_prompts") == [(0,)]
        assert at_work.rows("SELECT count(*) FROM aibridge_model_thoughts") == [(0,)]
        assert at_work.rows("SELECT tool, input FROM aibridge_tool_usages") == [("Read", None)]
        assert at_work.rows("SELECT output_tokens FROM aibridge_token_usages") == [(61,)]


async def test_strings_of_the_clients_choosing_are_short_and_clean(tmp_path: Path) -> None:
    start = replace(
        interception("i"),
        model="m" * 2000,
        user_agent="a\0b",
        client_session_id="\ud83d\ude00 \ud800",
        metadata={"k" * 600: "v" * 600},
    )
    async with recording(tmp_path) as at_work:
        await at_work.recorder.record_interception(start)

        assert at_work.rows(
            "SELECT length(model), user_agent, client_session_id, metadata FROM aibridge_interceptions"
        ) == [(512, "a\ufffdb", "\U0001f600 \ufffd", json.dumps({"k" * 512: "v" * 512}, separators=(",", ":")))]


async def test_numbers_that_no_counter_holds_do_not_keep_usage_out(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)
        await at_work.recorder.record_token_usage(
            replace(usage(found), input_tokens=2**80, output_tokens=-1, extra={"total_tokens": 2**80})
        )
        await at_work.recorder.record_interception_ended(ended(found))

        assert at_work.rows("SELECT input_tokens, output_tokens, extra FROM aibridge_token_usages") == [
            (2**53 - 1, 0, f'{{"total_tokens":{2**80}}}')
        ]


async def test_room_is_reserved_for_every_end_and_a_full_queue_refuses_starts_only(tmp_path: Path) -> None:
    async with recording(tmp_path, capacity=16 * KIB, patience=BOUND) as at_work:
        first = await begun(at_work)
        with ExitStack() as stack:
            lock = stack.enter_context(closing(at_work.file.write_lock()))
            stack.enter_context(lock)  # nothing is written for a while
            await at_work.recorder.record_prompt_usage(prompt(first, "x" * 8 * KIB))
            await at_work.recorder.record_model_thought(thought(first, "z" * 8 * KIB))  # no room: content gives way
            with pytest.raises(RecordingFailed, match="full"):
                await begun(at_work)
            for _ in range(20):
                await at_work.recorder.record_token_usage(usage(first))  # usage goes in whatever happens
            end = asyncio.create_task(at_work.recorder.record_interception_ended(ended(first)))
            await asyncio.sleep(0)
        await asyncio.wait_for(end, BOUND)
        second = await begun(at_work)

        assert at_work.recorder.not_recorded == NotRecorded(content=1)
        assert at_work.rows("SELECT count(*) FROM aibridge_token_usages") == [(20,)]
        assert at_work.rows("SELECT count(*) FROM aibridge_model_thoughts") == [(0,)]
        assert at_work.rows(STATE, first) == [("completed",)]
        assert at_work.rows(STATE, second) == [(None,)]
        assert at_work.writer.statistics().reserved == RESERVE


async def test_a_start_that_takes_too_long_is_refused_and_ended_when_it_is_written_after_all(tmp_path: Path) -> None:
    async with recording(tmp_path, patience=0.01) as at_work:
        start = interception()
        with closing(at_work.file.write_lock()) as lock, lock, pytest.raises(RecordingFailed, match="not durable"):
            await at_work.recorder.record_interception(start)
        await until(lambda: at_work.rows(STATE, start.id) == [("gateway_aborted",)])

        assert at_work.writer.statistics().reserved == 0


async def test_a_start_whose_request_was_cancelled_is_ended(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        start = interception()
        with closing(at_work.file.write_lock()) as lock, lock:
            task = asyncio.create_task(at_work.recorder.record_interception(start))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: at_work.rows(STATE, start.id) == [("gateway_aborted",)])


async def test_an_end_whose_task_was_cancelled_is_kept(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        found = await begun(at_work)
        with closing(at_work.file.write_lock()) as lock, lock:
            task = asyncio.create_task(at_work.recorder.record_interception_ended(ended(found)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: at_work.rows(STATE, found) == [("completed",)])


async def test_closed_refuses_starts_at_once_while_the_disk_is_full_and_takes_them_again_afterwards(
    tmp_path: Path,
) -> None:
    async with recording(tmp_path, fail="closed") as at_work:
        found = await begun(at_work)
        await full(at_work)
        with pytest.raises(RecordingFailed, match="full"):
            await begun(at_work)
        end = asyncio.create_task(at_work.recorder.record_interception_ended(ended(found)))
        at_work.writer._connection.execute("PRAGMA max_page_count = 100000")
        await asyncio.wait_for(end, BOUND)

        assert at_work.rows(STATE, found) == [("completed",)]
        await begun(at_work)


async def test_open_serves_on_while_the_disk_is_full_and_keeps_what_it_can_later(tmp_path: Path) -> None:
    async with recording(tmp_path, fail="open") as at_work:
        await full(at_work)
        found = await asyncio.wait_for(begun(at_work), BOUND)
        await at_work.recorder.record_token_usage(usage(found))
        await asyncio.wait_for(at_work.recorder.record_interception_ended(ended(found)), BOUND)
        at_work.writer._connection.execute("PRAGMA max_page_count = 100000")
        await until(lambda: at_work.writer.why_unhealthy is None)

        assert at_work.rows(STATE, found) == [("completed",)]
        assert at_work.recorder.not_recorded == NotRecorded()


async def test_usage_only_gives_up_content_while_the_disk_is_full(tmp_path: Path) -> None:
    async with recording(tmp_path, fail="usage-only") as at_work:
        found = await begun(at_work)
        await full(at_work)
        await at_work.recorder.record_prompt_usage(prompt(found))
        await at_work.recorder.record_token_usage(usage(found))
        end = asyncio.create_task(at_work.recorder.record_interception_ended(ended(found)))
        await until(lambda: at_work.writer.statistics().content_given_up == 1)
        at_work.writer._connection.execute("PRAGMA max_page_count = 100000")
        await asyncio.wait_for(end, BOUND)

        assert at_work.rows("SELECT count(*) FROM aibridge_user_prompts") == [(0,)]
        assert at_work.rows("SELECT count(*) FROM aibridge_token_usages WHERE interception_id = ?", found) == [(1,)]


@pytest.mark.parametrize("fail", ["closed", "usage-only", "open"])
async def test_a_recorder_that_is_closed_says_so_as_its_policy_is(tmp_path: Path, fail: Fail) -> None:
    async with recording(tmp_path, fail=fail) as at_work:
        recorder = at_work.recorder
        found = await begun(at_work)
    outcomes = [
        type(outcome)
        for outcome in await asyncio.gather(
            recorder.record_interception(interception()),
            recorder.record_interception_ended(ended(found)),
            recorder.record_token_usage(usage(found)),
            recorder.record_prompt_usage(prompt(found)),
            recorder.record_tool_usage(tool(found)),
            recorder.record_model_thought(thought(found)),
            return_exceptions=True,
        )
    ]

    raised, kept = RecordingFailed, type(None)
    assert (
        outcomes
        == {
            "closed": [raised] * 6,
            "usage-only": [raised, raised, raised, kept, kept, kept],
            "open": [kept] * 6,
        }[fail]
    )
    assert (
        recorder.not_recorded
        == {
            "closed": NotRecorded(),
            "usage-only": NotRecorded(content=3),
            "open": NotRecorded(interceptions=1, ends=1, usages=1, content=3),
        }[fail]
    )
    assert rows(at_work.file, STATE, found) == [(None,)]


def test_limits_that_cannot_be_are_refused() -> None:
    for each, per_interception in [(10, 1000), (1000, 100)]:
        with pytest.raises(ValueError, match="recording limits"):
            Limits(each=each, per_interception=per_interception)
