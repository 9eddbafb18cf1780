"""What the simulated provider received and answered, exchange by exchange, in the order of arrival.

An exchange is in the ledger from its arrival on and is replaced by its final line when it ends, so that a test can see
what is under way, and a killed gateway can be compared with what its provider saw.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO, Literal, TypeAlias

import msgspec

from aibridge.server.demo.simulator.exchange import Exchange, Incoming

Observer: TypeAlias = Callable[[int, Exchange], None]
"""Told of every exchange at its start and at its end, with its number (from 0)."""


class Ledger:
    """The exchanges; with ``keep`` only the last so many, for a process that runs for days."""

    __slots__ = ("_changed", "_dropped", "_keep", "_observe", "exchanges")

    def __init__(self, *, keep: int | None, observe: Observer | None) -> None:
        self.exchanges: list[Exchange] = []
        self._keep = keep
        self._observe = observe
        self._dropped = 0
        self._changed = asyncio.Event()

    def begin(self, incoming: Incoming) -> int:
        """Enter a request; returns the number of its exchange."""
        self.exchanges.append(
            Exchange(
                method=incoming.method,
                path=incoming.path,
                query=incoming.query,
                headers=incoming.headers,
                body=incoming.body,
                status=None,
                response_id=None,
                usage=None,
                completed=False,
                ended=False,
            )
        )
        number = self._dropped + len(self.exchanges) - 1
        self._tell(number, self.exchanges[-1])
        self._let_go()
        return number

    def answer(
        self, number: int, *, status: int | None, response_id: str | None, usage: Mapping[str, object] | None
    ) -> None:
        """Note what the answer to an exchange is about to be."""
        self._replace(number, lambda line: replace(line, status=status, response_id=response_id, usage=usage))

    def end(self, number: int, *, completed: bool) -> None:
        """Close an exchange; one that has ended stays as it ended."""
        self._replace(number, lambda line: line if line.ended else replace(line, completed=completed, ended=True))
        self._let_go()

    def _let_go(self) -> None:
        """Forgets the oldest beyond the bound, but only what has ended: the end of anything else is still to be told."""
        while self._keep is not None and len(self.exchanges) > self._keep and self.exchanges[0].ended:
            self._dropped += 1
            del self.exchanges[0]

    async def until(self, claim: Callable[[Sequence[Exchange]], bool]) -> None:
        """Wait until the claim holds of the exchanges. Bound it: ``async with asyncio.timeout(5): ...``."""
        while not claim(self.exchanges):
            await self._changed.wait()

    def _replace(self, number: int, change: Callable[[Exchange], Exchange]) -> None:
        index = number - self._dropped
        if index < 0:  # ended already, and let go of
            return
        changed = change(self.exchanges[index])
        if changed is not self.exchanges[index]:
            self.exchanges[index] = changed
            self._tell(number, changed)

    def _tell(self, number: int, line: Exchange) -> None:
        if self._observe is not None:
            self._observe(number, line)
        # Everyone who waits looks again; who comes later waits for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


class LedgerLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a ledger file.

    A ``start`` line is written before the answer is thought of, and carries the request's body (when it is JSON); an
    ``end`` line carries what became of it. Headers, and so credentials, are in neither.
    """

    at: Literal["start", "end"]
    exchange: int
    method: str
    path: str
    query: str = ""
    body_bytes: int = 0
    body: object = None
    status: int | None = None
    response_id: str | None = None
    usage: Mapping[str, object] | None = None
    completed: bool = False


def write_ledger(file: BinaryIO) -> Observer:
    """An observer that appends a JSON line for each start and each end, flushed, so that a kill loses none."""

    def observe(number: int, line: Exchange) -> None:
        if line.status is not None and not line.ended:
            return
        entry = LedgerLine(
            at="end" if line.ended else "start",
            exchange=number,
            method=line.method,
            path=line.path,
            query=line.query,
            body_bytes=len(line.body),
            body=None if line.ended else _decoded(line.body),
            status=line.status,
            response_id=line.response_id,
            usage=line.usage,
            completed=line.completed,
        )
        file.write(msgspec.json.encode(entry) + b"\n")
        file.flush()

    return observe


def _decoded(body: bytes) -> object:
    """A body as a value, so that it is one line again however it was spaced; None when it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
