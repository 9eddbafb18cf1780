"""The one place that sends, and the block that can be ended from outside: exactly once, and never by mistake."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from aibridge.reply_writer import (
    WRITE_NOW,
    Interrupted,
    Interruption,
    InterruptReason,
    ReplyWriter,
    watch_disconnect,
)
from tests.waiting import settled, until

pytestmark = pytest.mark.anyio


class Taken(list[MutableMapping[str, Any]]):
    """An ASGI `send` that keeps what it is given."""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.append(message)


# -- the writer -----------------------------------------------------------------------------------------


async def test_a_whole_answer_has_one_length_the_right_one() -> None:
    taken = Taken()
    writer = ReplyWriter(taken.send)
    await writer.answer(404, [(b"Content-Length", b"99"), (b"x-a", b"1")], b"gone")

    assert list(taken) == [
        {"type": "http.response.start", "status": 404, "headers": [(b"x-a", b"1"), (b"content-length", b"4")]},
        {"type": "http.response.body", "body": b"gone", "more_body": False},
    ]
    assert (writer.status, writer.ended, writer.gone) == (404, True, False)


async def test_bytes_are_written_at_once_only_where_nobody_stands_between_the_server_and_the_bridge() -> None:
    class Server(Taken):
        def write_now(self, data: bytes) -> bool:
            self.append({"at once": data})
            return True

    server, middleware = Server(), Taken()
    direct = ReplyWriter(server.send, {WRITE_NOW: server.write_now})
    behind = ReplyWriter(middleware.send, {WRITE_NOW: server.write_now})
    assert (direct.writes_now, behind.writes_now) == (False, False)  # no answer has begun
    await direct.start(200, [])
    await behind.start(200, [])

    assert (direct.writes_now, direct.write_now(b"piece")) == (True, True)
    assert (behind.writes_now, behind.write_now(b"piece")) == (False, False)
    assert server[1:] == [{"at once": b"piece"}]


async def test_an_empty_piece_is_not_sent_and_an_empty_end_is() -> None:
    taken = Taken()
    writer = ReplyWriter(taken.send)
    await writer.start(200, [])
    await writer.send(b"")
    await writer.send(b"piece")
    await writer.end()

    assert [(message.get("body"), message.get("more_body")) for message in taken[1:]] == [
        (b"piece", True),
        (b"", False),
    ]


async def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    taken = Taken()
    writer = ReplyWriter(taken.send)
    await writer.start(200, [])
    writer.abandon()
    await writer.send(b"piece")
    await writer.end(b"last")

    assert [message["type"] for message in taken] == ["http.response.start"]
    assert writer.gone


async def test_an_os_error_of_the_server_says_that_the_client_is_gone() -> None:
    calls = 0

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError

    writer = ReplyWriter(send)
    await writer.start(200, [])
    await writer.send(b"piece")
    await writer.end()

    assert (calls, writer.gone) == (1, True)


async def test_any_other_error_of_the_server_is_not_swallowed() -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        raise RuntimeError("a second start")

    with pytest.raises(RuntimeError):
        await ReplyWriter(send).start(200, [])


async def test_a_start_that_was_interrupted_while_it_waited_was_not_sent() -> None:
    taken = Taken()
    full = True

    async def send(message: MutableMapping[str, Any]) -> None:
        if full:
            await asyncio.Event().wait()
        await taken.send(message)

    writer = ReplyWriter(send)
    starting = asyncio.create_task(writer.start(200, []))
    await settled()
    starting.cancel()
    await asyncio.wait([starting])
    assert writer.status is None

    full = False
    await writer.answer(503, [], b"no")
    assert [message.get("status") for message in taken] == [503, None]


async def test_a_full_client_holds_back_who_sends() -> None:
    reads = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        await reads.wait()

    sending = asyncio.create_task(ReplyWriter(send).send(b"piece"))
    await settled()
    assert not sending.done()
    reads.set()
    await asyncio.wait_for(sending, 1)


# -- hearing of a disconnect ----------------------------------------------------------------------------


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, BrokenPipeError()])
async def test_a_disconnect_is_heard_once_however_the_server_says_it(last: object) -> None:
    messages: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}, last]
    heard = []

    async def receive() -> Any:
        message = messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    await watch_disconnect(receive, lambda: heard.append(True))
    assert heard == [True]


# -- interruptions --------------------------------------------------------------------------------------


async def waits(interruption: Interruption) -> None:
    async with interruption:
        await asyncio.Event().wait()


@pytest.mark.parametrize("reason", ["client_gone", "gateway_aborted"])
async def test_whoever_waits_in_the_block_is_ended_with_the_reason(reason: InterruptReason) -> None:
    interruption = Interruption()
    task = asyncio.create_task(waits(interruption))
    await settled()
    interruption.interrupt(reason)
    with pytest.raises(Interrupted) as ended:
        await task

    assert ended.value.reason == reason
    assert task.cancelling() == 0


async def test_the_first_reason_counts() -> None:
    interruption = Interruption()
    task = asyncio.create_task(waits(interruption))
    await settled()
    interruption.interrupt("client_gone")
    interruption.interrupt("gateway_aborted")
    with pytest.raises(Interrupted) as ended:
        await task

    assert ended.value.reason == interruption.reason == "client_gone"


async def test_a_block_is_not_entered_once_there_is_a_reason() -> None:
    interruption = Interruption()
    interruption.interrupt("gateway_aborted")
    entered = False
    with pytest.raises(Interrupted):
        async with interruption:
            entered = True

    assert not entered


async def test_between_two_blocks_a_reason_waits_for_the_second() -> None:
    interruption = Interruption()
    async with interruption:
        await asyncio.sleep(0)
    interruption.interrupt("client_gone")
    await settled()
    with pytest.raises(Interrupted):
        async with interruption:
            await asyncio.sleep(0)


async def test_a_block_that_ends_in_the_very_moment_is_not_ended_twice() -> None:
    interruption = Interruption()
    async with interruption:
        await asyncio.sleep(0)
        interruption.interrupt("client_gone")
    await settled()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_disarmed_it_changes_nothing_but_the_reason() -> None:
    interruption = Interruption()
    async with interruption:
        interruption.disarm()
        interruption.disarm()
        interruption.interrupt("client_gone")
        await settled()
    assert interruption.reason == "client_gone"


async def test_disarmed_after_the_reason_came_in_the_same_moment_it_changes_nothing() -> None:
    interruption = Interruption()
    async with interruption:
        interruption.interrupt("client_gone")
        interruption.disarm()
        await settled()


async def test_a_cancellation_by_the_host_stays_one_also_when_both_come_at_once() -> None:
    for order in ("host first", "host last"):
        interruption = Interruption()
        task = asyncio.create_task(waits(interruption))
        await settled()
        if order == "host first":
            task.cancel()
        interruption.interrupt("client_gone")
        if order == "host last":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), order


async def test_an_error_in_the_block_stays_what_it_is() -> None:
    interruption = Interruption()
    with pytest.raises(TimeoutError, match="another one"):
        async with interruption:
            raise TimeoutError("another one")

    async def fails_when_cancelled() -> None:
        async with interruption:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    task = asyncio.create_task(fails_when_cancelled())
    await settled()
    interruption.interrupt("client_gone")
    with pytest.raises(ZeroDivisionError):
        await task


async def test_a_deadline_inside_the_block_is_a_deadline() -> None:
    interruption = Interruption()
    with pytest.raises(TimeoutError):
        async with interruption, asyncio.timeout(0.01):
            await asyncio.Event().wait()
    assert interruption.reason is None


async def test_a_deadline_around_the_block_is_a_deadline() -> None:
    interruption = Interruption()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waits(interruption), 0.01)
    assert interruption.reason is None


async def test_many_interruptions_end_each_their_own_block() -> None:
    interruptions = [Interruption() for _ in range(10)]
    tasks = [asyncio.create_task(waits(interruption)) for interruption in interruptions]
    await settled()
    interruptions[3].interrupt("client_gone")
    await until(tasks[3].done)

    assert [task.done() for task in tasks].count(True) == 1
    for interruption in interruptions:
        interruption.interrupt("gateway_aborted")
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, Interrupted) for end in ended)


async def test_held_it_waits_until_what_is_under_way_is_done() -> None:
    interruption = Interruption()
    done = []

    async def works() -> None:
        async with interruption:
            armed = interruption.hold()
            interruption.interrupt("client_gone")
            await settled()
            done.append("what was under way")
            interruption.release(armed)
            done.append("more")

    with pytest.raises(Interrupted):
        await works()
    assert done == ["what was under way"]


async def test_released_it_strikes_again() -> None:
    interruption = Interruption()

    async def works() -> None:
        async with interruption:
            interruption.release(interruption.hold())
            await asyncio.Event().wait()

    task = asyncio.create_task(works())
    await settled()
    interruption.interrupt("gateway_aborted")
    with pytest.raises(Interrupted):
        await task


async def test_what_was_disarmed_before_is_not_armed_by_a_release() -> None:
    interruption = Interruption()
    async with interruption:
        interruption.disarm()
        interruption.release(interruption.hold())
        interruption.interrupt("client_gone")
        await settled()
    outside = Interruption()
    outside.release(outside.hold())
    outside.interrupt("client_gone")
    await settled()
