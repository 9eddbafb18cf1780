"""What a dialect does beyond one turn: offers injected tools, goes on after their results, remembers for the client.

The client of a reply over several turns sees one answer: no call of ours, one start, consecutive numbers, one stop.
What it did not see (the hidden turns) it cannot send back, so later requests get it put back from `Hidden`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import msgspec

from aibridge.dialects.base import Reply, Request, Turn
from aibridge.tools import ToolResult, Toolset

Anchor = str
"""Something visible of a reply by which it is known again in a later request's history: a call id, a reasoning id, a
digest of a signature or of the visible text, a response id. Opaque outside of its dialect; at most 128 characters."""


class Hidden(msgspec.Struct, frozen=True, gc=False):
    """What the client did not see of one reply. `content` is the dialect's own JSON, opaque to everybody else."""

    anchors: tuple[Anchor, ...]
    content: bytes
    upstream_id: tuple[str, str] | None = None
    """(first turn's id, last turn's id), where the client knows the reply by the former and the provider keeps the
    conversation under the latter (responses only)."""


class LoopingReply(Reply, Protocol):
    """A `Reply` that goes on after a turn with calls of ours. Made by a request that offers tools."""

    @property
    def turn(self) -> Reply:
        """The machine of the turn that is being received: whoever hands it chunk after chunk may go there straight."""

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        """The results of all of `turn.calls`, in their order. They are part of `hidden` from now on."""

    def next_turn(self) -> None:
        """The turn that ended was not the last: what was withheld of it is dropped, and the next one is received.

        To be called after `answer`, once the next turn's answer has begun.
        """

    def hidden(self) -> Hidden | None:
        """What the client has not seen up to now; None when that is nothing."""


class LoopingRequest(Request, Protocol):
    """A `Request` that can carry injected tools."""

    @property
    def client_tools(self) -> Sequence[str]:
        """Names of the client's own tools, as they stand in the body."""

    def client_tools_at_most(self, toolset: Toolset) -> int:
        """Not less than the number of `client_tools`, and counted faster: the toolset remembers it."""

    @property
    def brings_servers(self) -> bool:
        """The client names MCP servers for the provider to use (`mcp_servers`, tools of type `mcp`)."""

    @property
    def offers(self) -> bool:
        """Injected tools are in the body."""

    @property
    def loops(self) -> bool:
        """Its reply is a `LoopingReply`: it offers tools, or the model remembers some and may call them all the same."""

    @property
    def anchors(self) -> Sequence[Anchor]:
        """What in the history may stand for a reply with hidden turns, in the order of the history."""

    def offering(self, toolset: Toolset) -> Self:
        """A copy that offers the tools; itself where it must not carry any (a forced or forbidden choice, n > 1, ...).

        Raises: InvalidRequest, when a tool of the client's has our prefix (also where none is offered).
        """

    def recalling(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> Self:
        """A copy in which hidden turns stand where they were; itself when none belongs there.

        An anchor may stand for several replies (ids such as `call_0` repeat), newest first: content decides.
        """

    def renamed(self, upstream_id: str) -> Self:
        """A copy that goes on from `upstream_id` in place of its `previous_response_id` (responses only)."""

    def continued(self, turn: Turn, results: Sequence[ToolResult], *, last: bool = False) -> Self:
        """The next request: the turn exactly as it came, and the results. `last`: no more calls (tool_choice none)."""

    def reply(self, *, stream: bool) -> Reply:
        """A fresh machine for the answer; a `LoopingReply` where it `loops`."""
