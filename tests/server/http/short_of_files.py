"""A server for the tests of file descriptors, run as a program.

It may open 96 files. Each line that it reads is a command, answered with one line: `take` opens files until there
are none left, `give` closes those, `cpu` gives the processor seconds used so far.
"""

import asyncio
import os
import resource
import sys
import time

import uvloop

from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.serving import HttpServer, running
from aibridge.server.http.sockets import bind
from tests.server.http.raw import respond


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"")


def answer(command: str, taken: list[int]) -> str:
    if command == "cpu":
        return str(time.process_time())
    if command == "give":
        while taken:
            os.close(taken.pop())
        return "given"
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return "taken"


async def main() -> None:
    taken: list[int] = []
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with running(HttpServer(app, sockets=bind("127.0.0.1", 0))) as server:
        print(server.port, flush=True)  # noqa: T201  the test reads it
        while line := await lines.readline():
            print(answer(line.decode().strip(), taken), flush=True)  # noqa: T201  the test reads it
        server.end_now()


resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
