"""By what an item of a conversation is known again: its ids, its call, its sealed thought, or the words that it says.

Clients write items anew: they leave out ids and thoughts, change the order of members, take one text for several.
Words alone are known only after the same words of the person: short answers repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.reading import decoded, mapping, text, tool_input
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.references import is_reference
from aibridge.dialects.turns import Anchor

SEPARATORS = ("", "\n", "\n\n", " ")
"""What clients put between the texts of several messages that they make into one."""


class _Item(msgspec.Struct):
    type: Any = None
    role: Any = None
    id: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None
    encrypted_content: Any = None
    content: msgspec.Raw = msgspec.Raw(b"null")


_ITEM = msgspec.json.Decoder(_Item)


class Known(msgspec.Struct, frozen=True):
    """An item as far as it matters here. `kind` is "" for what no model says."""

    kind: str = ""
    id: str = ""
    call_id: str = ""
    name: str = ""
    asked: str = ""  # the arguments of a call
    sealed: str = ""  # an encrypted thought
    words: str = ""  # of a message
    asks: bool = False  # a person's message, or a client's to the model: a reply never goes on behind it

    def anchors(self, after: str) -> Iterator[Anchor]:
        """What may stand for the reply that the item is of. `after`: the person's words before it."""
        if self.id:
            yield anchor("item", self.id)
        if self.call_id:
            yield anchor("call", self.call_id)
        if self.sealed:
            yield anchor("thought", self.sealed.encode("utf-8", "replace"))
        if self.kind == "message" and self.words:
            yield words_anchor(self.words, after)

    def is_same(self, sent: Known) -> bool:
        """Whether `sent`, out of a client's history, is this item."""
        if sent.kind == "item_reference":
            return self.id == sent.id != ""
        if self.kind != sent.kind or not self.kind:
            return False
        same_id = self.id == sent.id != ""
        if self.kind == "message":
            return self.words == sent.words != "" or (same_id and sent.words in self.words)
        if self.kind == "reasoning":
            return self.sealed == sent.sealed if self.sealed and sent.sealed else same_id
        if self.name or sent.name:
            return (self.call_id, self.name) == (sent.call_id, sent.name) and _same_arguments(self.asked, sent.asked)
        return same_id or self.call_id == sent.call_id != ""


def words_anchor(words: str, after: str) -> Anchor:
    return anchor("words", f"{after}\0{words}".encode("utf-8", "replace"))


def known(raw: bytes) -> Known:
    """The item in a JSON text."""
    item = read(_ITEM, raw)
    if item is None:
        return Known()
    if is_reference(item.type, item.role):
        return Known(kind="item_reference", id=text(item.id))
    kind = text(item.type)
    if kind in ("", "message"):
        if item.role != "assistant":
            return Known(words=_words(item.content) if item.role == "user" else "", asks=True)
        return Known(kind="message", id=text(item.id), words=_words(item.content))
    call_id = text(item.call_id)
    if kind.endswith("_output"):
        return Known(call_id=call_id)  # what a client says of a call
    return Known(
        kind=kind,
        id=text(item.id),
        call_id=call_id,
        name=text(item.name),
        asked=text(item.arguments) or text(item.input),
        sealed=text(item.encrypted_content) if kind == "reasoning" else "",
    )


def _words(content: msgspec.Raw) -> str:
    said = decoded(bytes(content))
    if isinstance(said, str):
        return said.strip()
    parts = map(mapping, said) if isinstance(said, list) else ()
    return "".join(text(part.get("text")) or text(part.get("refusal")) for part in parts).strip()


def _same_arguments(ours: str, theirs: str) -> bool:
    return ours == theirs or tool_input(ours) == tool_input(theirs)
