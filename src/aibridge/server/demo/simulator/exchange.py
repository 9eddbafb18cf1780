"""What passes between a client and the simulated provider: a request, an answer, and the ledger's line about both.

Values only: nothing here knows a dialect or does I/O.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

HeaderPairs: TypeAlias = list[tuple[bytes, bytes]]

Step: TypeAlias = bytes | asyncio.Event | Literal["cut", "reset"]
"""One step of an answer's body: bytes go out in one ASGI send, an event holds the answer until it is set,
``"cut"`` ends the connection in the middle (a plain FIN), ``"reset"`` with a TCP reset."""

Ids: TypeAlias = Callable[[str], str]
"""Makes a new id that starts with the given prefix; no two are the same."""

Clock: TypeAlias = Callable[[], float]
"""The time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as it came in. Path and query are exactly as they were on the wire, still percent-encoded."""

    method: str
    path: str
    query: str
    headers: HeaderPairs
    body: bytes

    def header(self, name: str) -> str | None:
        return _header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status and headers at once, then the steps, with the pace between them when it is a stream."""

    status: int
    headers: HeaderPairs
    steps: Iterable[Step]
    response_id: str | None = None
    usage: Mapping[str, object] | None = None
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """An exact answer for the first request that matches.

    Without a gate or an end as its first step, the head goes out before the first step; an empty ``b""`` as the first
    step therefore sends the head alone. ``times`` is how many matching requests it serves, ``None`` for all of them.
    """

    status: int = 200
    headers: HeaderPairs | None = None
    steps: Iterable[Step] = ()
    matches: Callable[[Incoming], bool] = lambda _incoming: True
    times: int | None = 1
    response_id: str | None = None
    usage: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """The ledger's line: the request, and what became of it.

    While the exchange is under way ``status`` is ``None``. ``completed`` says that the last byte of the answer was
    handed over to a client that was still there.
    """

    method: str
    path: str
    query: str
    headers: HeaderPairs
    body: bytes
    status: int | None
    response_id: str | None
    usage: Mapping[str, object] | None
    completed: bool
    ended: bool

    def header(self, name: str) -> str | None:
        return _header(self.headers, name)

    def json(self) -> object:
        """The request's body, decoded."""
        return msgspec.json.decode(self.body)


def _header(headers: HeaderPairs, name: str) -> str | None:
    """The first value of a header, or None; names compare without regard to case."""
    wanted = name.lower().encode()
    return next((value.decode("latin-1") for key, value in headers if key.lower() == wanted), None)
