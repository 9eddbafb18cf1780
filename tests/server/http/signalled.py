"""A server for the tests of signals, run as a program: prints its port, then each thing that happens to it.

Arguments: the drain time, the grace (seconds). `GET /stream` streams until the deadline tells it to end, or until it
is cancelled, `GET /endless` as fast as it may; anything else is answered at once, with 503 while draining.
"""

import asyncio
import sys

import uvloop

from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.serving import HttpServer, serve
from aibridge.server.http.sockets import bind


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201  the test reads it


async def main(drain_timeout: float, grace: float) -> None:
    deadline = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in ("/stream", "/endless"):
            status = 503 if server.is_draining else 200
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["path"] == "/endless":
            await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        try:
            await deadline.wait()
        except asyncio.CancelledError:
            say("cancelled")
            raise
        await send({"type": "http.response.body", "body": b"in our own words"})

    def on_deadline() -> None:
        say("deadline")
        if grace > 1:
            deadline.set()

    server = HttpServer(
        app,
        sockets=bind("127.0.0.1", 0),
        drain_timeout=drain_timeout,
        grace=grace,
        on_draining=lambda: say("draining"),
        on_deadline=on_deadline,
    )
    say(str(server.port))
    say(await serve(server))


asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main(float(sys.argv[1]), float(sys.argv[2])))
