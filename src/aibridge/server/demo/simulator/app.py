"""The ASGI application: a request in, the scripted or built-in answer out, both in the ledger."""

import time
import uuid
from collections.abc import Callable, Sequence

from aibridge.server.demo.simulator.built_in import BuiltInProvider
from aibridge.server.demo.simulator.delivery import Line, Receive, Scope, Send, deliver
from aibridge.server.demo.simulator.exchange import Answer, Clock, Exchange, Ids, Incoming, ScriptedAnswer
from aibridge.server.demo.simulator.ledger import Ledger, Observer
from aibridge.server.demo.simulator.scripts import Scripts

HANG_UP = "simulator.hang_up"
"""The name of the ASGI extension with which a server lets the application break a connection off."""


def random_id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex


class SimulatedProvider:
    """Anthropic, OpenAI and Copilot, all at once, on one address.

    ``pace`` is the time in seconds between the events of a built-in stream. ``keep`` bounds the ledger to the last so
    many exchanges (None: all of them); ``observe`` is told of every start and end. Without a script the built-in
    behaviour answers.
    """

    def __init__(
        self,
        *,
        ids: Ids = random_id,
        clock: Clock = time.time,
        pace: float = 0.0,
        keep: int | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._pace = pace
        self._ledger = Ledger(keep=keep, observe=observe)
        self._scripts = Scripts()
        self._built_in = BuiltInProvider(ids=ids, clock=clock)

    @property
    def ledger(self) -> list[Exchange]:
        """The exchanges, in the order in which their requests arrived."""
        return self._ledger.exchanges

    def script(self, rule: ScriptedAnswer) -> None:
        """Answer the next request that matches with exactly this. Rules are tried in the order in which they came."""
        self._scripts.add(rule)

    async def until(self, claim: Callable[[Sequence[Exchange]], bool]) -> None:
        """Wait until the claim holds of the ledger; bound it with ``asyncio.timeout``."""
        await self._ledger.until(claim)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._exchange(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1008})

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body_of(receive)
        if body is None:
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        incoming = Incoming(
            method=scope["method"],
            path=raw_path.decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=[(bytes(name), bytes(value)) for name, value in scope["headers"]],
            body=body,
        )
        number = self._ledger.begin(incoming)
        hang_up = (scope.get("extensions") or {}).get(HANG_UP)
        line = Line(receive, send, hang_up, lambda: self._ledger.end(number, completed=True))
        try:
            answer = self._answer(incoming)
            self._ledger.answer(number, status=answer.status, response_id=answer.response_id, usage=answer.usage)
            await deliver(answer, line, self._pace)
        finally:
            self._ledger.end(number, completed=False)

    def _answer(self, incoming: Incoming) -> Answer:
        scripted = self._scripts.take(incoming)
        return self._built_in.answer(incoming) if scripted is None else scripted


async def _body_of(receive: Receive) -> bytes | None:
    """The whole request body, or None when the client went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
