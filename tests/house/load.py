"""Clients that ask in all three dialects, streaming and not, over sockets of their own, and note what reached them.

Every request has a model's name of its own: it is in the provider's ledger and on the interception from its first
moment, so that both can be compared however early somebody died.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from tests.house.product import BOUND

Dialect = Literal["messages", "chat_completions", "responses"]
DIALECTS: tuple[Dialect, ...] = ("messages", "chat_completions", "responses")
_PATHS = {
    "messages": "/anthropic/v1/messages",
    "chat_completions": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
}
TERMINAL = {
    "messages": b"event: message_stop\n",
    "chat_completions": b"data: [DONE]\n",
    "responses": b"event: response.completed\n",
}
ERROR = {
    "messages": b"event: error\n",
    "chat_completions": b'data: {"error"',
    "responses": b"event: error\n",
}


@dataclass
class Asked:
    """One request, and as much of its answer as reached the client."""

    model: str
    dialect: Dialect
    streaming: bool
    padding: int = 0  # characters of the prompt that only make it long
    stored: bool = True  # at the provider, as responses are by default
    status: int = 0
    headers: bytes = b""
    body: bytes = b""
    whole: bool = False  # the framing came to its end

    @property
    def failed_in_its_words(self) -> bool:
        """The stream ended cleanly, with an error event of its dialect as the last and no terminal event."""
        last = self.body.rpartition(b"\n\n")[0].rpartition(b"\n\n")[2]
        return self.whole and TERMINAL[self.dialect] not in self.body and last.startswith(ERROR[self.dialect])

    @property
    def settled(self) -> bool:
        """The client has a good answer to the end: its last byte, or a stream's terminal event."""
        return self.status == 200 and ((self.whole and not self.streaming) or TERMINAL[self.dialect] in self.body)


def request(asked: Asked, key: str, words: int) -> bytes:
    """The bytes of a request for an answer of about so many words."""
    prompt = f"{asked.model}: simulate {words} words" + " x" * (asked.padding // 2)
    said = [{"role": "user", "content": prompt}]
    body: dict[str, object] = {"model": asked.model, "stream": asked.streaming}
    match asked.dialect:
        case "messages":
            body |= {"max_tokens": 20_000, "messages": said}
        case "chat_completions":
            body |= {"messages": said}
        case "responses":
            body |= {"input": prompt, "store": asked.stored}
    content = msgspec.json.encode(body)
    head = (
        f"POST {_PATHS[asked.dialect]} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(
        self, asked: Asked, key: str, words: int = 20, *, on_bytes: Callable[[], None] = lambda: None
    ) -> Asked:
        """Sends the request and reads the answer into `asked`, as far as it comes. Raises: OSError, EOFError."""
        self._writer.write(request(asked, key, words))
        await self._read(asked, on_bytes)
        return asked

    async def get(self, path: str) -> int:
        """The status of a page."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())
        asked = Asked("", "messages", streaming=False)
        await self._read(asked, lambda: None)
        return asked.status

    async def _read(self, asked: Asked, on_bytes: Callable[[], None]) -> None:
        head = await self._reader.readuntil(b"\r\n\r\n")
        asked.status, asked.headers = int(head[9:12]), head.lower()
        on_bytes()
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if length:
            asked.body = await self._reader.readexactly(int(length))
        else:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                asked.body += (await self._reader.readexactly(size + 2))[:-2]
                on_bytes()
            await self._reader.readexactly(2)
        asked.whole = True


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def page(port: int, path: str) -> int:
    """The status of a page, as soon as somebody serves it."""
    async with asyncio.timeout(BOUND), connected(port) as connection:
        return await connection.get(path)


async def ready(port: int, process: asyncio.subprocess.Process) -> None:
    """Returns when a gateway serves and says that it is ready. Fails when its process ends instead."""
    asked = asyncio.create_task(page(port, "/readyz"))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (asked, ended):
        if not task.done():
            task.cancel()
    assert asked.done(), f"the gateway ended with status {process.returncode}: see its log"
    assert asked.result() == 200


@asynccontextmanager
async def streams(port: int, key: str, words: int) -> AsyncIterator[list[asyncio.Task[Asked]]]:
    """A stream of each dialect, of which something has reached the client; their ends are the tasks' results."""

    async def stream(asked: Asked, begun: asyncio.Event) -> Asked:
        async with connected(port) as connection:
            try:
                await connection.ask(asked, key, words, on_bytes=begun.set)
            except (OSError, EOFError):
                begun.set()
        return asked

    begun = {dialect: asyncio.Event() for dialect in DIALECTS}
    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(stream(Asked(f"stream-{dialect}", dialect, streaming=True), begun[dialect]))
            for dialect in DIALECTS
        ]
        for each in begun.values():
            await each.wait()
        yield tasks


async def one(port: int, key: str, asked: Asked) -> Asked:
    """Asks once, on a connection of its own."""
    async with asyncio.timeout(BOUND), connected(port) as connection:
        return await connection.ask(asked, key)


@dataclass
class Load:
    """Users who ask one thing after the other until they are told to stop."""

    port: int
    key: str
    chance: random.Random
    words: tuple[int, int] = (1, 40)  # of an answer
    name: str = "model"  # the beginning of each model's name
    asked: list[Asked] = field(default_factory=list)
    answered: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _users: list[asyncio.Task[None]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def users(self, count: int) -> AsyncIterator[None]:
        """So many users inside the block; leaving it waits until each has come to the end of what it asked."""
        async with asyncio.timeout(None) as bound, asyncio.TaskGroup() as group:
            for _ in range(count):
                self._users.append(group.create_task(self._user()))
            yield
            self._stopping.set()
            bound.reschedule(asyncio.get_running_loop().time() + BOUND)

    def leave(self) -> None:
        """Users give up what they wait for: nobody serves any more."""
        self._stopping.set()
        for user in self._users:
            user.cancel()

    async def more_answers(self, count: int) -> None:
        """Returns when so many more requests have been answered to the end."""
        goal = self.answered + count
        async with asyncio.timeout(BOUND):
            while self.answered < goal:
                await self._changed.wait()

    def next(self) -> Asked:
        """The next request, of a dialect and mode that come in turn."""
        number = next(self._numbers)
        asked = Asked(f"{self.name}-{number:06}", DIALECTS[number % 3], streaming=number % 2 == 0)
        self.asked.append(asked)
        return asked

    async def _user(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError, EOFError):  # the gateway died; the next one takes the next connection
                async with connected(self.port) as connection:
                    # Not for ever on one connection: with several workers each is to get some.
                    for _ in range(self.chance.randint(1, 10)):
                        if self._stopping.is_set():
                            break
                        await connection.ask(self.next(), self.key, self.chance.randint(*self.words))
                        self.answered += 1
                        self._changed.set()
                        self._changed = asyncio.Event()
