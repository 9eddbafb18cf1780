"""What connections cost that do nothing, or take nothing: measured in a process of its own, by the kernel."""

import asyncio
import resource
import socket
import sys
from pathlib import Path

import pytest

from tests.server.http.raw import GET, within

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

CHECKOUT = Path(__file__).resolve().parents[3]


def resident(pid: int) -> int:
    """Proportional set size in bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


async def started(*, files: int) -> tuple[asyncio.subprocess.Process, int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < files:
        pytest.skip(f"this system allows {hard} open files, {files} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))  # inherited
    command = [sys.executable, "-m", "tests.server.http.signalled", "0", "0"]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, int(await within(process.stdout.readline()))


async def ask(sock: socket.socket, path: bytes) -> None:
    """One request, and the beginning of its answer."""
    loop = asyncio.get_running_loop()
    await within(loop.sock_sendall(sock, GET.replace(b"/x", path)))
    assert (await within(loop.sock_recv(sock, 1024))).startswith(b"HTTP/1.1 200 ")


async def connections(port: int, count: int, *, receive_buffer: int | None = None) -> list[socket.socket]:
    opened = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await within(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)))
        opened.append(sock)
    return opened


async def end(process: asyncio.subprocess.Process, clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()
    process.kill()
    await process.wait()


async def test_ten_thousand_idle_connections_cost_at_most_16_kib_each() -> None:
    process, port = await started(files=11_000)
    clients = await connections(port, 1)
    try:
        await ask(clients[0], b"/warm")
        before = resident(process.pid)
        clients += await connections(port, 10_000)
        for client in clients[1:]:
            await ask(client, b"/once")
        cost = (resident(process.pid) - before) / 10_000
        await ask(clients[0], b"/still")
    finally:
        await end(process, clients)

    print(f"{cost:.0f} bytes for an idle connection")  # noqa: T201  the figure, with -s
    assert cost <= 16 * 1024


async def test_two_hundred_slow_readers_of_endless_streams_cost_at_most_1_mib_each() -> None:
    process, port = await started(files=1_000)
    clients = await connections(port, 1)
    try:
        await ask(clients[0], b"/warm")
        before = resident(process.pid)
        clients += await connections(port, 200, receive_buffer=4096)
        for client in clients[1:]:
            await ask(client, b"/endless")
        for _ in range(20):
            for client in clients[1:]:
                await within(asyncio.get_running_loop().sock_recv(client, 1000))
        cost = (resident(process.pid) - before) / 200
        await ask(clients[0], b"/still")
    finally:
        await end(process, clients)

    print(f"{cost:.0f} bytes for a slow reader")  # noqa: T201  the figure, with -s
    assert cost <= 512 * 1024  # the kernel's send buffer is as much again
