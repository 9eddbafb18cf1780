"""The client's end of an ASGI application: takes what is sent, and holds against it what ASGI forbids."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from aibridge.errors import Header
from tests.fakes.journal import Journal


class Client:
    """`full` holds back whoever sends while it is cleared; `fault` is raised instead of taking anything."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.status: int | None = None
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.fault: BaseException | None = None
        self.got = asyncio.Condition()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        await self.reads.wait()
        if self.fault is not None:
            raise self.fault
        assert not self.ended, f"{message['type']} after the end"
        if message["type"] == "http.response.start":
            assert self.status is None, "a second start"
            self.status = message["status"]
            self.headers = list(message["headers"])
            assert all(name == name.lower() for name, _ in self.headers)
            self._journal.note("client", "start")
        else:
            assert self.status is not None, "a body before the start"
            body = message.get("body", b"")
            if body:
                self.pieces.append(body)
            self.ended = not message.get("more_body", False)
            self._journal.note("client", "end" if self.ended else "piece")
        async with self.got:
            self.got.notify_all()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> bytes | None:
        found = [value for key, value in self.headers if key == name.encode()]
        assert len(found) <= 1, f"{name} occurs {len(found)} times"
        return found[0] if found else None

    async def until(self, size: int) -> None:
        """Returns when the body has come so far."""
        async with asyncio.timeout(5), self.got:
            await self.got.wait_for(lambda: len(self.body) >= size)
