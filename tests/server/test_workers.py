"""A supervisor and real worker processes: replaced when killed, drained by a signal, never left behind."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.http.raw import GET, RawClient, connected, within

pytestmark = pytest.mark.anyio

CHECKOUT = Path(__file__).resolve().parents[2]


class Program:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def line(self) -> str:
        assert self.process.stdout is not None
        data: bytes = await within(self.process.stdout.readline())
        return data.decode().strip()

    async def ask(self, path: str) -> int:
        """One answer, from whichever worker takes the connection."""
        async with connected(self.port) as client:
            await client.send(GET.replace(b"/x", path.encode()))
            return int((await client.reply()).body)

    async def workers(self, count: int, *, other_than: frozenset[int] = frozenset()) -> frozenset[int]:
        """The process ids of `count` serving workers; asks until it has met so many."""
        met: set[int] = set()
        async with asyncio.timeout(20):
            while len(met) < count:
                # Several at a time: one that is busy leaves the connection to the others.
                pids = await asyncio.gather(*(self.ask("/pid") for _ in range(20)))
                met.update(set(pids) - other_than)
        return frozenset(met)


@contextlib.asynccontextmanager
async def supervised(workers: int, mode: str = "serve") -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.worker_program",
        "supervise",
        str(workers),
        mode,
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    program = Program(process)
    try:
        program.port = int(await program.line())
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # The workers have inherited the pipe: its end is theirs too.
        assert process.stdout is not None
        await within(process.stdout.read())


async def streaming(program: Program, client: RawClient) -> int:
    """Begin a stream; returns its worker."""
    await client.send(GET.replace(b"/x", b"/stream"))
    await client.reply(to_head=True)
    return int(await client.chunk())


async def test_all_workers_serve_the_one_port() -> None:
    async with supervised(3) as program:
        assert len(await program.workers(3)) == 3


async def test_a_killed_worker_is_replaced_and_the_others_serve_on() -> None:
    async with supervised(2) as program:
        before = await program.workers(2)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        after = await program.workers(2, other_than=frozenset({victim}))

    assert len(after - before) == 1
    assert victim not in after


async def test_sigterm_drains_every_worker_and_the_exit_code_is_0() -> None:
    async with supervised(2) as program:
        await program.workers(2)
        async with connected(program.port) as client:
            await streaming(program, client)
            program.process.send_signal(signal.SIGTERM)
            assert await client.chunk() == b"to the end"
            assert await client.chunk() == b""
        assert await program.line() == "drained"
        assert await within(program.process.wait()) == 0
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", program.port)


async def test_control_c_in_a_terminal_reaches_a_worker_once_and_through_its_supervisor() -> None:
    # A terminal signals the whole foreground group; a worker in it would take the second one for "end now".
    async with supervised(1) as program:
        (worker,) = await program.workers(1)

        assert os.getpgid(worker) == worker
        assert os.getpgid(program.process.pid) != worker


async def test_a_hangup_reaches_every_worker_and_ends_none() -> None:
    async with supervised(2) as program:
        before = await program.workers(2)
        program.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while set(await asyncio.gather(*(program.ask("/reloads") for _ in range(20)))) != {1}:
                pass
        assert await program.workers(2) == before


async def test_a_hangup_while_the_workers_start_kills_none_of_them() -> None:
    async with supervised(2) as program:
        program.process.send_signal(signal.SIGHUP)  # the port is known before they serve
        pids = await program.workers(2)
        async with asyncio.timeout(10):
            while set(await asyncio.gather(*(program.ask("/reloads") for _ in range(20)))) != {1}:
                pass
        assert await program.workers(2) == pids


async def test_workers_that_never_start_are_given_up_with_one_line() -> None:
    began = time.monotonic()
    async with supervised(2, "fail") as program:
        assert await program.line() == ("the workers do not start: 5 in a row ended at once, the last with exit code 3")
        assert await within(program.process.wait()) == 1

    assert time.monotonic() - began < 10


async def test_workers_are_not_given_up_while_what_keeps_them_from_starting_is_being_mended() -> None:
    async with supervised(1, "mended") as program:
        assert len(await program.workers(1)) == 1


async def test_a_second_signal_ends_the_workers_now() -> None:
    async with supervised(2) as program:
        pids = await program.workers(2)
        async with connected(program.port) as client:
            drains = await streaming(program, client)
            (deaf,) = pids - {drains}
            os.kill(deaf, signal.SIGSTOP)  # this one will not hear of any drain
            program.process.send_signal(signal.SIGTERM)
            # The first one has arrived; two that are pending at once would be one.
            assert await client.chunk() == b"to the end"
            program.process.send_signal(signal.SIGTERM)
            assert await program.line() == "forced"
            assert await within(program.process.wait()) == 0


async def test_workers_end_when_their_supervisor_is_killed() -> None:
    async with supervised(2) as program:
        await program.workers(2)
        async with connected(program.port) as client:
            await streaming(program, client)
            program.process.kill()
            assert await client.chunk() == b"to the end"  # drained, not cut off
            assert await client.rest() == b"0\r\n\r\n"
        assert program.process.stdout is not None
        assert await within(program.process.stdout.read()) == b""  # nobody is left to hold the pipe open
