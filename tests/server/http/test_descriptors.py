"""Running out of file descriptors: clients wait, nobody is cut off, and the processor stays idle."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aibridge.server.http.sockets import descriptors_are_scarce
from tests.server.http.raw import GET, RawClient, connected, within

pytestmark = pytest.mark.anyio

CHECKOUT = Path(__file__).resolve().parents[3]


class Program:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        data: bytes = await within(self.process.stdout.readline())
        return data.decode().strip()

    async def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        return await self.line()


async def started(stack: AsyncExitStack) -> tuple[Program, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.http.short_of_files",
        cwd=CHECKOUT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    program = Program(process)
    return program, int(await program.line())


async def answered(client: RawClient) -> bool:
    """False when no answer comes for a while."""
    try:
        async with asyncio.timeout(0.3):
            return (await client.reply()).status == 200
    except TimeoutError:
        return False


async def test_more_connections_than_descriptors_wait_their_turn() -> None:
    async with AsyncExitStack() as stack:
        program, port = await started(stack)
        clients = [await stack.enter_async_context(connected(port)) for _ in range(150)]
        for client in clients:
            await client.send(GET)
        first: list[RawClient] = []
        while more := await answered_at_once([client for client in clients if client not in first]):
            first += more
        before = float(await program.ask("cpu"))
        waiting = [client for client in clients if client not in first]
        assert not await answered(waiting[0])
        assert not await answered(waiting[0])
        used = float(await program.ask("cpu")) - before

        for client in first:
            client.close()
        late = [await client.reply() for client in waiting[:60]]

    assert 20 < len(first) < 90
    assert used < 0.2  # of 0.6 seconds; a loop that spins uses them all
    assert {reply.status for reply in late} == {200}  # none was cut off


async def answered_at_once(clients: list[RawClient]) -> list[RawClient]:
    results = await asyncio.gather(*(answered(client) for client in clients))
    return [client for client, got in zip(clients, results, strict=True) if got]


async def test_descriptors_taken_by_others_pause_accepting_until_they_are_back() -> None:
    async with AsyncExitStack() as stack:
        program, port = await started(stack)
        kept = await stack.enter_async_context(connected(port))
        await kept.send(GET)
        assert (await kept.reply()).status == 200
        assert await program.ask("take") == "taken"
        assert not await answered(kept)  # a few ticks go by
        waiting = await stack.enter_async_context(connected(port))
        await waiting.send(GET)
        before = float(await program.ask("cpu"))
        assert not await answered(waiting)
        used = float(await program.ask("cpu")) - before
        await kept.send(GET)
        assert (await kept.reply()).status == 200  # those that are in go on

        assert await program.ask("give") == "given"
        assert (await waiting.reply()).status == 200

    assert used < 0.1


def test_a_roomy_table_is_not_scarce() -> None:
    assert not descriptors_are_scarce(16)
