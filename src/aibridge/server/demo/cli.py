"""`aibridge demo`: one process, one temporary folder, one loopback port; nothing of it is left afterwards."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from aibridge import __version__
from aibridge.clock import SystemClock, new_id
from aibridge.database.files import DatabaseFile
from aibridge.server.demo.assignment import Assignment
from aibridge.server.demo.helpdesk import served_helpdesk
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from aibridge.server.demo.staging import HOST, Stage, set_up
from aibridge.server.demo.table import print_calls, print_records
from aibridge.server.demo.to_paste import lines
from aibridge.server.filters import Filters
from aibridge.server.http.sockets import CannotListen, bind
from aibridge.server.logs import log_to_stderr
from aibridge.server.persons import NotPossible
from aibridge.server.process import serve_process
from aibridge.server.reading import Reading

PORT = 8787
_PACE = 0.02  # seconds between the events of a simulated stream: one sees that it streams
_KEPT_EXCHANGES = 10  # in the simulator's memory, where nobody reads them here
_FIRST_EXCHANGES = "aibridge.server.demo.first_exchanges"
_INTERRUPTED = 130  # the status after Ctrl-C, of one who was to end by itself
_PATIENCE = 120.0  # seconds for the first exchanges, which take two, on a very busy machine


def run(port: int | None, *, once: bool) -> int:
    """Runs the demo until it is told to stop, or with `once` until the table is printed; the exit status.

    Raises: NotPossible, CannotListen, DatabaseUnusable, PrivateFileUnusable.
    """
    for needed in ("anthropic", "openai", "mcp"):
        if importlib.util.find_spec(needed) is None:
            raise NotPossible(f"the demo needs the package {needed}: install aibridge[demo]")
    log_to_stderr("auto")
    logging.getLogger("aibridge").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the server takes them: end, and tidy up
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if port is None:
        port = 0 if once else PORT
    try:
        sockets = bind(HOST, port)
    except CannotListen as error:
        raise CannotListen(f"{error} (--port 0 takes a free one)") from None
    with tempfile.TemporaryDirectory(prefix="aibridge-demo-") as folder:
        return uvloop.run(_perform(Path(folder).resolve(), sockets, once=once))


async def _perform(folder: Path, sockets: list[socket.socket], *, once: bool) -> int:
    port: int = sockets[0].getsockname()[1]
    simulator = SimulatedProvider(pace=_PACE, keep=_KEPT_EXCHANGES)
    async with serve_simulator(simulator) as provider_url, served_helpdesk() as (helpdesk_url, helpdesk_answers):
        stage = await asyncio.to_thread(
            set_up,
            folder,
            provider_url=provider_url,
            helpdesk_url=helpdesk_url,
            port=port,
            clock=SystemClock(),
            ids=new_id,
        )
        performance = _Performance(stage, f"http://{HOST}:{port}", helpdesk_answers, once=once)
        status = await serve_process(stage.plan, sockets, performance.serving.set, until=performance.run)
    return status or performance.status


class _Performance:
    """What happens while the gateway serves: the first exchanges, the table, the lines to paste."""

    def __init__(self, stage: Stage, address: str, helpdesk_answers: asyncio.Event, *, once: bool) -> None:
        self.serving = asyncio.Event()
        self.status = _INTERRUPTED if once else 0
        self._stage = stage
        self._address = address
        self._helpdesk_answers = helpdesk_answers
        self._once = once

    async def run(self) -> None:
        """Returns when the gateway should end."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ended.set)  # the terminal was closed
        await self.serving.wait()
        _say(
            f"aibridge {__version__} serves at {self._address}, in front of a simulated provider: no real model is asked."
        )
        _say("Alice uses Anthropic's SDK and Bob uses OpenAI's, each with a key of their own ...")
        fault = await _first_exchanges(self._stage, self._address, self._helpdesk_answers)
        if fault is not None:
            print(f"aibridge: the first exchanges failed: {fault}", file=sys.stderr)  # noqa: T201  it speaks to a person
            self.status = 1
            return
        _say("... and this is what was recorded about them:\n")
        recorded = await asyncio.to_thread(_recorded, self._stage)
        print_records(recorded)
        _say("\nThe gateway ran some of these tools itself, which the clients neither have nor saw:\n")
        print_calls(recorded)
        if self._once:
            self.status = 0
            return
        _say("", *lines(self._address, self._stage.yours, self._stage.file))
        await ended.wait()


async def _first_exchanges(stage: Stage, address: str, begin: asyncio.Event) -> str | None:
    """Has them made by a process of its own, which starts at once and begins at that event; None, or what went wrong."""
    assignment = msgspec.json.encode(Assignment(address, stage.alice, stage.bob))
    folder = stage.file.parent
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _FIRST_EXCHANGES,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={"HOME": str(folder), **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}},
        start_new_session=True,  # Ctrl-C is for us; we end it
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            await begin.wait()
            _, complaint = await process.communicate(assignment)
    except TimeoutError:
        return f"they took longer than {_PATIENCE:.0f} seconds"
    except RuntimeError:
        # So uvloop says that a pipe is closed: Ctrl-C reaches a process that has no session of its own yet.
        return "their process has ended too early"
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if process.returncode == 0:
        return None
    words = complaint.decode(errors="replace").strip().splitlines()
    return words[-1] if words else f"exit status {process.returncode}"


def _recorded(stage: Stage) -> list[dict[str, Any]]:
    reading = Reading(DatabaseFile.at(stage.plan.configuration.database), SystemClock())
    try:
        return reading.interceptions(Filters()).results[::-1]
    finally:
        reading.close()


def _say(*words: str) -> None:
    print(*words, sep="\n", flush=True)  # noqa: T201  it speaks to a person
