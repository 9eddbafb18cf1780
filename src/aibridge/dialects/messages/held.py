"""What is held of a reply with hidden turns: our calls and results whole, of the rest what it is known again by.

Whatever a client saw stays the client's to send back, in its bytes; only what it never saw comes from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.dialects.turns import Anchor, Hidden

_THOUGHTS = ("signature:", "thought:")
_RESULT_OF = "result:"


class SeenBlock(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A block of a turn: a call of ours, whole; else how the client's copy is known: by a key, or by its text."""

    call: msgspec.Raw = msgspec.Raw()
    key: str = ""
    text: str = ""

    @property
    def ours(self) -> bool:
        return not self.key and not self.text

    @property
    def essential(self) -> bool:
        """No client leaves it out and goes on as if nothing were: not so thoughts."""
        return not self.key.startswith(_THOUGHTS)


class HeldTurn(msgspec.Struct, frozen=True):
    """One hidden turn: its blocks in their order, and the results of our calls in it."""

    blocks: Sequence[SeenBlock]
    results: Sequence[msgspec.Raw]


class Place(msgspec.Struct, frozen=True):
    """Where a reply stood: behind how many messages, and behind which. Tells replies apart that look the same."""

    position: int
    before: str


class HeldReply(msgspec.Struct, frozen=True):
    """`Hidden.content`, decoded. `last` is the turn that the client saw whole; none where the last one is mixed."""

    turns: Sequence[HeldTurn]
    last: Sequence[SeenBlock]
    mixed: bool
    place: Place


def seen_block(raw: bytes, ours: bool) -> SeenBlock:
    if ours:
        return SeenBlock(call=msgspec.Raw(raw))
    block = mapping(decoded(raw))
    return SeenBlock(key=key_of(block), text=text_of(block))


def text_of(block: Mapping[str, Any]) -> str:
    """The text of a text block; "" for others, and where there is no word in it."""
    said = text(block.get("text")) if block.get("type") == "text" else ""
    return said if said.strip() else ""


def key_of(block: Mapping[str, Any]) -> str:
    """What a block is known by, however it is re-encoded; "" for texts."""
    kind, block_id = text(block.get("type")), text(block.get("id"))
    if kind == "text":
        return ""
    if kind == "thinking" and not text(block.get("signature")):
        return anchor("thought", squeezed(text(block.get("thinking"))).encode("utf-8", "replace"))
    if kind in ("thinking", "redacted_thinking"):
        return anchor("signature", text(block.get("signature") or block.get("data")).encode("utf-8", "replace"))
    if kind.endswith("tool_use") and block_id:
        return anchor("call", block_id)
    if text(block.get("tool_use_id")):
        return anchor("result", text(block.get("tool_use_id")))
    plain = {name: value for name, value in block.items() if name != "cache_control"}
    return anchor("block", msgspec.json.encode(plain, order="deterministic"))


def squeezed(said: str) -> str:
    """A text without its spaces and line ends, which clients trim and join by."""
    return "".join(said.split())


def anchors_of(keys: Iterable[str], texts: Iterable[str]) -> Iterable[Anchor]:
    """What some blocks of one message are known by: each key and text, and all texts together."""
    yield from (key for key in keys if key and not key.startswith(_RESULT_OF))
    pieces = [squeezed(one) for one in texts if one]
    for piece in pieces:
        yield text_anchor(piece)
    if len(pieces) > 1:
        yield text_anchor("".join(pieces))


def text_anchor(said: str) -> Anchor:
    return anchor("text", said.encode("utf-8", "replace"))


def hidden_of(turns: Sequence[HeldTurn], last: Sequence[SeenBlock], *, mixed: bool, place: Place) -> Hidden:
    """What the store keeps of a reply up to now."""
    found: dict[Anchor, None] = {}
    seen: list[SeenBlock] = []
    for blocks in (*(turn.blocks for turn in turns), last):
        seen += (block for block in blocks if not block.ours)
        # A client that joins texts may have been gone before the next turn.
        found.update(dict.fromkeys(anchors_of((block.key for block in seen), (block.text for block in seen))))
    return Hidden(tuple(found), msgspec.json.encode(HeldReply(turns, last, mixed, place)))
