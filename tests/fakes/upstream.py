"""A way out to a provider that answers what a test has written, step by step."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

from aibridge.errors import Header
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from tests.fakes.journal import Journal

Step: TypeAlias = bytes | asyncio.Event | Exception
"""Bytes are read in one piece, an event holds the reader until it is set, an exception is raised."""

EVENT_STREAM: Header = (b"content-type", b"text/event-stream; charset=utf-8")
JSON: Header = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Scripted:
    """An answer: `before` comes before its head. The body is over after the last step."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Sequence[Header] = (EVENT_STREAM,)
    before: Sequence[Step] = ()


@dataclass
class ScriptedUpstream:
    """Gives the answers in their order. `cut` counts those that were left before their end."""

    journal: Journal
    answers: list[Scripted] = field(default_factory=list)
    requests: list[UpstreamRequest] = field(default_factory=list)
    timeouts: list[UpstreamTimeouts] = field(default_factory=list)
    decoded: list[bool] = field(default_factory=list)
    cut: int = 0
    running: int = 0
    closed: bool = False

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> "Opening":
        self.requests.append(request)
        self.timeouts.append(timeouts)
        self.decoded.append(decode)
        return Opening(self, self.answers.pop(0))

    async def close(self) -> None:
        self.closed = True


class Opening:
    def __init__(self, upstream: ScriptedUpstream, scripted: Scripted) -> None:
        self._upstream = upstream
        self._scripted = scripted
        self._response = Response(upstream.journal, scripted)

    async def __aenter__(self) -> "Response":
        self._upstream.journal.note("provider", "asked")
        await asyncio.sleep(0)
        for step in self._scripted.before:
            await _taken(step)
        self._upstream.running += 1
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._upstream.running -= 1
        self._upstream.cut += not self._response.at_end


class Response:
    def __init__(self, journal: Journal, scripted: Scripted) -> None:
        self._journal = journal
        self._steps = list(scripted.steps)
        self.status = scripted.status
        self.headers = scripted.headers

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        while self._steps:
            data = await _taken(self._steps[0])
            del self._steps[0]
            if data:
                self._journal.note("provider", "sent")
                return data
        return b""

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        """Half of what is scripted goes this way, as a busy connection does it."""
        while len(self._steps) > 1 and isinstance(step := self._steps[0], bytes):
            await asyncio.sleep(0)
            del self._steps[0]
            self._journal.note("provider", "sent")
            if not take(step):
                return

    @property
    def at_end(self) -> bool:
        return not self._steps


async def _taken(step: Step) -> bytes:
    match step:
        case bytes():
            return step
        case asyncio.Event():
            await step.wait()
            return b""
        case Exception():
            raise step
