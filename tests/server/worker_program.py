"""A supervisor and its workers for test_workers, run as a program.

`worker_program supervise N MODE` prints the port when it takes signals and starts its first worker, later how it
ended. MODE is `serve` or `fail` (every worker ends at once).
A worker answers `/pid`, counts SIGHUPs under `/reloads`, and `/stream` streams until the client says a byte more.
"""

import asyncio
import os
import signal
import sys

from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.serving import HttpServer, serve
from aibridge.server.http.sockets import bind, inherited
from aibridge.server.workers import Inherited, Supervisor, WorkersFailed, tell_ready, watch_supervisor
from tests.server.http.raw import respond


def command(got: Inherited) -> list[str]:
    fds = ",".join(str(descriptor) for descriptor in got.listening)
    return [sys.executable, "-m", "tests.server.worker_program", "work", fds, str(got.supervisor)]


def failing(got: Inherited) -> list[str]:
    return [sys.executable, "-c", "raise SystemExit(3)"]


async def supervise(workers: int, mode: str) -> int:
    sockets = bind("127.0.0.1", 0)
    port: list[int] = [sockets[0].getsockname()[1]]
    starts: list[int] = []

    def starting(got: Inherited) -> list[str]:
        if port:
            print(port.pop(), flush=True)  # noqa: T201  the test reads it
        starts.append(got.worker)
        fails = mode == "fail" or (mode == "mended" and len(starts) < 4)
        return failing(got) if fails else command(got)

    try:
        attempts = 1 if mode == "mended" else 5
        supervisor = Supervisor(
            starting,
            workers=workers,
            sockets=sockets,
            attempts=attempts,
            kill_after=0.5,
            is_patient=lambda: mode == "mended",
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.reload)
        ending = await supervisor.run()
    except WorkersFailed as error:
        print(error, flush=True)  # noqa: T201  the test reads it
        return 1
    print(ending, flush=True)  # noqa: T201  the test reads it
    return 0


async def work(listening: list[int], supervisor: int) -> None:
    reloads = 0

    def reload() -> None:
        nonlocal reloads
        reloads += 1

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/stream":
            await respond(send, b"%d" % (reloads if scope["path"] == "/reloads" else os.getpid()))
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % os.getpid(), "more_body": True})
        await draining.wait()
        await send({"type": "http.response.body", "body": b"to the end"})

    draining = asyncio.Event()
    server = HttpServer(app, sockets=inherited(listening), drain_timeout=30, on_draining=draining.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)

    async def ready() -> None:
        await server.started.wait()
        tell_ready(supervisor)

    async with asyncio.TaskGroup() as group:
        group.create_task(ready())
        await serve(server, until=watch_supervisor(supervisor), supervised=True)


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        raise SystemExit(asyncio.run(supervise(int(sys.argv[2]), sys.argv[3])))
    asyncio.run(work([int(number) for number in sys.argv[2].split(",")], int(sys.argv[3])))
