"""The turns of a chat reply that the client did not see, as they are held, and by what the reply is known again.

Chat has no ids of replies in its history. What stands there is the ids of the client's own calls, the text, and what
the reply answered to: each becomes an anchor. Whether a reply that an anchor names is the one in the history, its
content decides (see `standing`).
"""

from __future__ import annotations

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.chat_completions.calls import Called
from aibridge.dialects.reading import decoded, mapping, tool_input
from aibridge.dialects.turns import Anchor

_TOLD_APART = frozenset({"role", "content", "tool_calls"})


class SeenCall(msgspec.Struct, frozen=True, gc=False):
    """A call of the client's own. `digest` is of its name and its arguments, however they are spelled."""

    id: str
    digest: str

    @classmethod
    def of(cls, called: Called) -> SeenCall:
        return cls(called.id or "", call_digest(called.name, called.written))


class Step(msgspec.Struct, frozen=True):
    """One hidden turn: the message, its results, and where its text ends in what the client saw."""

    said: msgspec.Raw
    results: tuple[msgspec.Raw, ...]
    ends: int
    mixed: bool = False


class HiddenTurns(msgspec.Struct, frozen=True, kw_only=True):
    """What `Hidden.content` holds."""

    after: str  # what the reply answers to, as a digest
    text: str  # what the client saw
    begins: int  # where the text of the last turn that it saw begins
    calls: tuple[SeenCall, ...]
    complete: bool  # the last turn came to its end
    last_seen: bool  # the last turn is one that the client saw; else the reply broke off behind a hidden one
    others: msgspec.Raw  # the other members of the last turn's message; null where that was not seen
    steps: tuple[Step, ...]

    def anchors(self) -> tuple[Anchor, ...]:
        return anchors_of([call.id for call in self.calls], self.text, self.after)


def anchors_of(call_ids: list[str], text: str, after: str) -> tuple[Anchor, ...]:
    """A reply is known by its calls better than by its text; where it broke off, by what it answers to."""
    named = [anchor("call", call_id) for call_id in call_ids if call_id]
    if not named and (words := squeezed(text)):
        named = [anchor("text", words.encode("utf-8", "replace"))]
    return (*named, anchor("after", after))


def squeezed(words: str) -> str:
    """A text without its spaces and line ends, which clients trim and join by."""
    return "".join(words.split())


def call_digest(name: str, arguments: str) -> str:
    return anchor("digest", msgspec.json.encode([name, tool_input(arguments)], order="sorted"))


def others_in(message: bytes) -> bytes:
    """The members of an assistant message that are neither text nor calls: reasoning, signatures, and what is to come."""
    found = mapping(decoded(message))
    return msgspec.json.encode({name: value for name, value in found.items() if name not in _TOLD_APART})
