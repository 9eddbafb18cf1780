"""Clients of the Messages API as they are: each re-encodes what it saw in its own way before it sends it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.dialects.messages.loops import Block

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a client does to the content of an answer."""

    drops_thoughts: bool = False
    trims: bool = False
    joins_texts: bool = False
    cuts_texts: bool = False
    writes_strings: bool = False
    one_message_a_block: bool = False
    marks_for_the_cache: bool = False
    reorders: bool = False

    def assistant(self, content: Iterable[Block]) -> list[Message]:
        """An answer as this client sends it back: one message, as a rule."""
        blocks = [dict(block) for block in content if block["type"] != "text" or block["text"].strip()]
        if self.drops_thoughts:
            blocks = [block for block in blocks if "thinking" not in block["type"]]
        if self.trims:
            blocks = [{**one, "text": one["text"].strip()} if one["type"] == "text" else one for one in blocks]
        if self.joins_texts:
            blocks = list(_joined(blocks))
        if self.cuts_texts:
            blocks = [piece for block in blocks for piece in _cut(block)]
        if self.reorders:
            blocks = [dict(reversed(block.items())) for block in blocks]
        if not blocks:
            return []
        if self.writes_strings and all(block["type"] == "text" for block in blocks) and len(blocks) == 1:
            return [{"role": "assistant", "content": blocks[0]["text"]}]
        if self.one_message_a_block:
            return [{"role": "assistant", "content": [block]} for block in blocks]
        return [{"role": "assistant", "content": blocks}]

    def marked(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with a cache breakpoint on the last."""
        if not (self.marks_for_the_cache and messages and isinstance(messages[-1]["content"], list)):
            return list(messages)
        *before, last = messages
        *blocks, end = last["content"]
        return [*before, {**last, "content": [*blocks, {**end, "cache_control": {"type": "ephemeral"}}]}]


def _joined(blocks: Sequence[Block]) -> Iterable[Block]:
    kept: Block | None = None
    for block in blocks:
        if kept is not None and kept["type"] == block["type"] == "text":
            kept = {**block, "text": kept["text"] + block["text"]}
        else:
            if kept is not None:
                yield kept
            kept = block
    if kept is not None:
        yield kept


def _cut(block: Block) -> list[Block]:
    said = block.get("text", "")
    half = len(said) // 2
    pieces = [said[:half], said[half:]]
    if block["type"] != "text" or not all(piece.strip() for piece in pieces):
        return [block]
    return [{**block, "text": piece} for piece in pieces]


# Who joins texts does not cut them: of a space at the cut nobody could say to which side it belongs.
habits = st.builds(Habits, *(st.booleans() for _ in range(8))).filter(
    lambda drawn: not (drawn.joins_texts and drawn.cuts_texts)
)


def in_plain_form(messages: Sequence[Message]) -> list[Message]:
    """The messages as a provider understands them: strings are texts, neighbours of one role and adjacent texts one."""
    plain: list[Message] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if plain and plain[-1]["role"] == message["role"]:
            plain[-1]["content"] += blocks
        else:
            plain.append({"role": message["role"], "content": blocks})
    return [{**message, "content": list(_joined(message["content"]))} for message in plain]
