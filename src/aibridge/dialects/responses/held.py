"""Held turns: all turns of a reply as they were, with what the client has of them, and with our results.

What the client sends again itself is kept only as far as it is needed to know it; the rest is kept in its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from aibridge.dialects.base import Turn
from aibridge.dialects.calls import anchor, in_words
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.items import Item, text_of
from aibridge.dialects.responses.known_items import SEPARATORS, Known, known, words_anchor
from aibridge.dialects.responses.turn_items import answer_of, call_id_of, is_our_call, our_calls
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.tools import ToolResult

_KEPT_WHOLE = ("message", "reasoning")  # of what the client has: it may send these in other pieces, or not at all
_IDENTITY = ("type", "id", "call_id", "name", "arguments", "input")


Items = Sequence[tuple[bytes, Item]]
"""Items with their bytes."""


class HeldTurn(msgspec.Struct):
    """A turn. `answers` are the results of our calls, as items."""

    items: list[msgspec.Raw]
    answers: list[msgspec.Raw]


class HeldReply(msgspec.Struct):
    """`waiting` is the turn whose answers the provider has not been given under the id that it knows last."""

    turns: list[HeldTurn]
    waiting: int | None = None
    in_conversation: bool = False
    stored: bool = True


_REPLY = msgspec.json.Decoder(HeldReply)


def held_reply(content: bytes) -> HeldReply | None:
    """What was held; None when it cannot be read."""
    return read(_REPLY, content)


def answers_to(turn: Turn, results: Sequence[ToolResult]) -> list[bytes]:
    """The items that answer a turn's calls of ours."""
    words = map(_in_words, results)
    return [_answer(call, said) for call, said in zip(our_calls(turn.said), words, strict=True)]


def _refusals(turn: Turn) -> list[bytes]:
    """Answers to calls that nobody ran: the provider refuses a call without one."""
    words = (call.unrunnable or "This call was not run." for call in turn.calls)
    return [_answer(call, said) for call, said in zip(our_calls(turn.said), words, strict=True)]


def _answer(call: Item, words: str) -> bytes:
    answer = {"type": answer_of(text_of(call, "type")), "call_id": call_id_of(call), "output": words}
    return msgspec.json.encode(answer)


def _in_words(result: ToolResult) -> str:
    words = in_words(result.content)
    # There is no member that says that a call failed: the words have to.
    return words if result.error is None else f"Error: {words.strip() or result.error}"


class HeldTurns:
    """What is held of a reply that is under way. `asked` gives the person's words that it answers."""

    __slots__ = ("_asked", "_in_conversation", "_last", "_stored", "_turns")

    def __init__(self, *, stored: bool, in_conversation: bool, asked: Callable[[], str]) -> None:
        self._stored = stored
        self._in_conversation = in_conversation
        self._asked = asked
        self._turns: list[tuple[Turn, Items, list[bytes]]] = []

    def answer(self, turn: Turn, items: Items, results: Sequence[ToolResult]) -> None:
        """`items` is what the turn holds."""
        self._turns.append((turn, items, answers_to(turn, results)))

    def hidden(self, first_id: str | None, last: Turn | None, items: Items) -> Hidden | None:
        """`last` is the turn that has ended and may not have been answered, `items` what it holds."""
        if not self._turns and (last is None or not last.calls):
            return None
        turns = [(said, answers) for _, said, answers in self._turns]
        answered = self._turns[-1][0] if self._turns else None
        upstream_id = answered.response_id if answered is not None else None
        waiting: int | None = len(turns) - 1
        if last is not None and last is not answered:
            is_whole = last.outcome == "complete"
            refusals = _refusals(last) if is_whole else []
            if is_whole:
                upstream_id, waiting = last.response_id, len(turns) if refusals else None
            if answered is None and not refusals:
                return None
            turns.append((items, refusals))
        elif answered is None:
            return None
        reply = HeldReply(
            [
                HeldTurn([_kept(raw, item) for raw, item in said], [*map(msgspec.Raw, answers)])
                for said, answers in turns
            ],
            waiting=waiting,
            in_conversation=self._in_conversation,
            stored=self._stored,
        )
        shown = [known(raw) for said, _ in turns for raw, item in said if not is_our_call(item)]
        moved = None
        if self._stored and first_id is not None and upstream_id is not None and upstream_id != first_id:
            moved = (first_id, upstream_id)
        return Hidden(
            anchors=tuple(dict.fromkeys(self._anchors(first_id, shown))),
            content=msgspec.json.encode(reply),
            upstream_id=moved,
        )

    def _anchors(self, first_id: str | None, shown: Sequence[Known]) -> list[Anchor]:
        asked = self._asked()
        anchors = [response_anchor(first_id)] if first_id else []
        for item in shown:
            anchors += item.anchors(asked)
        words = [item.words for item in shown if item.kind == "message" and item.words]
        if len(words) > 1:
            anchors += (words_anchor(separator.join(words), asked) for separator in SEPARATORS)
        return anchors


def response_anchor(response_id: str) -> Anchor:
    return anchor("response", response_id)


def _kept(raw: bytes, item: Item) -> msgspec.Raw:
    if is_our_call(item) or text_of(item, "type") in _KEPT_WHOLE:
        return msgspec.Raw(raw)
    return msgspec.Raw(msgspec.json.encode({name: item[name] for name in _IDENTITY if name in item}))
