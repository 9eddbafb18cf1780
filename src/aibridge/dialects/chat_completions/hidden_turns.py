"""The turns of a chat reply that the client did not see, as they are held, and by what the reply is known again.

Chat has no ids of replies in its history. What stands there is the ids of the client's own calls, the text, and what
the reply answered to: each becomes an anchor. Whether a reply that an anchor names is the one in the history, its
content decides (see `history`).
"""

from __future__ import annotations

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.chat_completions.calls import Called
from aibridge.dialects.reading import tool_input
from aibridge.dialects.turns import Anchor


class SeenCall(msgspec.Struct, frozen=True, gc=False):
    """A call of the client's own. `digest` is of its name and its arguments, however they are spelled."""

    id: str
    digest: str

    @classmethod
    def of(cls, called: Called) -> SeenCall:
        return cls(called.id or "", call_digest(called.name, called.written))


class Step(msgspec.Struct, frozen=True):
    """One hidden turn: the message, its results, and where its text stands in what the client saw."""

    said: msgspec.Raw
    results: tuple[msgspec.Raw, ...]
    begins: int
    ends: int
    mixed: bool = False


class HiddenTurns(msgspec.Struct, frozen=True, kw_only=True):
    """What `Hidden.content` holds."""

    after: str  # what the reply answers to, as a digest
    text: str  # what the client saw
    begins: int  # where the text of the last turn begins
    calls: tuple[SeenCall, ...]
    complete: bool  # the last turn came to its end
    steps: tuple[Step, ...]

    def anchors(self) -> tuple[Anchor, ...]:
        return anchors_of(tuple(call.id for call in self.calls), self.text, self.after)


def anchors_of(call_ids: tuple[str, ...], text: str, after: str) -> tuple[Anchor, ...]:
    """By calls a reply is known better than by its text, which clients trim; by what it answers to, where it broke off."""
    named = [anchor("call", call_id) for call_id in call_ids if call_id]
    if not named and text.strip():
        named = [anchor("text", text.strip().encode("utf-8", "replace"))]
    return (*named, anchor("after", after))


def call_digest(name: str, arguments: str) -> str:
    value = tool_input(arguments)
    canonical = msgspec.json.encode([name, value], order="sorted")
    return anchor("digest", canonical)
