"""What one interception does between two turns: the calls are run and on record, then what the client did not see is held.

Nothing of a further turn is asked for, and no end of a reply goes out, before that is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from aibridge.asked import Asked
from aibridge.dialects.base import Fact, Reply, Request, Turn
from aibridge.dialects.turns import Hidden, LoopingReply, LoopingRequest
from aibridge.keep_alive import KeepAlive
from aibridge.offers import Offering
from aibridge.ports import Clock, ConversationStore, HeldFor
from aibridge.reply_writer import Interrupted, Interruption, ReplyWriter
from aibridge.tool_calls import ToolCalls
from aibridge.tools import ToolResult


class Keep(Protocol):
    """What makes records of facts. Raises: RecordingFailed."""

    async def __call__(self, facts: Sequence[Fact], *, last: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Ways:
    """What an inner loop may do with the interception that it is a part of."""

    keep: Keep
    writer: ReplyWriter
    interruption: Interruption


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with what its client does not know of, and who works on its reply."""

    request: Request
    loop: InnerLoop | None  # None: no call of ours can come
    alive: KeepAlive | None


async def prepared(
    offering: Offering, asked: Asked, request: Request, interception_id: str, clock: Clock, ways: Ways
) -> Prepared:
    """Puts back what the client did not see of earlier replies, and offers tools. Raises: Refused, by a rule of ours."""
    identity, dialect, settings = asked.identity, asked.dialect, offering.settings
    provider = asked.route.provider
    looping, toolset = await offering.prepared(request, provider, dialect.name, identity)
    loop, alive = None, None
    if looping.loops:
        calls = ToolCalls(offering.toolbox, identity, toolset, settings, clock)
        held_for = HeldFor(identity.actor.id, provider.name, dialect.name)
        loop = InnerLoop(calls, offering.conversations, held_for, interception_id, ways)
    if looping.streaming and (settings.keepalive == "always" or (settings.keepalive == "tools" and loop is not None)):
        alive = KeepAlive(ways.writer, dialect.keepalive, settings.keepalive_interval)
    return Prepared(looping, loop, alive)


class InnerLoop:
    """Of a reply whose request offers tools. All of it runs within the interruption, or after that has ended."""

    __slots__ = ("_calls", "_conversations", "_held", "_held_for", "_reply_id", "_ways")

    def __init__(
        self, calls: ToolCalls, conversations: ConversationStore, held_for: HeldFor, reply_id: str, ways: Ways
    ) -> None:
        self._calls = calls
        self._conversations = conversations
        self._held_for = held_for
        self._reply_id = reply_id
        self._ways = ways
        self._held: Hidden | None = None

    def goes_on(self, turn: Turn) -> bool:
        """Whether the provider is to be asked again after this turn."""
        return self._calls.goes_on(turn)

    async def next_request(self, request: Request, reply: Reply, turn: Turn) -> Request:
        """Runs the calls of a turn; the request with their results. Raises: RecordingFailed, ToolsTookTooLong."""
        results = await self._answer(reply, turn)
        self._calls.check_time()
        if self._ways.writer.gone:
            raise Interrupted("client_gone")
        return cast("LoopingRequest", request).continued(turn, results, last=self._calls.is_last)

    async def end(self, reply: Reply, turn: Turn) -> None:
        """The reply ends with this turn. Calls of ours in it stand beside the client's own, or must not be run.

        Raises: RecordingFailed.
        """
        if turn.calls and turn.runnable and not self._calls.is_last:
            await self._answer(reply, turn, last=True)
        elif turn.calls:
            await self._ways.keep(self._calls.told(turn), last=True)
        await self.hold(reply)

    def told(self, turn: Turn, why: str) -> Sequence[Fact]:
        """For the record: the calls of a turn after which something went wrong, if nobody has told of them yet."""
        return self._calls.told(turn, why)

    async def hold(self, reply: Reply) -> None:
        """Makes durable what the client has not seen up to now. Raises: RecordingFailed."""
        hidden = cast("LoopingReply", reply).hidden()
        if hidden is not None and hidden != self._held:
            armed = self._ways.interruption.hold()
            await self._conversations.hold(self._held_for, self._reply_id, hidden)
            self._held = hidden
            self._ways.interruption.release(armed)

    async def _answer(self, reply: Reply, turn: Turn, *, last: bool = False) -> Sequence[ToolResult]:
        writer, interruption = self._ways.writer, self._ways.interruption
        if writer.gone:  # nobody waits for what the tools would do
            raise Interrupted("client_gone")
        # Also where a client that hung up is read on for: that is for the provider's numbers, and tools have none.
        writer.on_leave = partial(interruption.interrupt, "client_gone")
        try:
            results = await self._calls.run(turn)
        finally:
            writer.on_leave = None
        await self._ways.keep(self._calls.told(turn), last=last)
        cast("LoopingReply", reply).answer(turn, results)
        await self.hold(reply)
        return results
