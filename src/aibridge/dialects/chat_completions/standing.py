"""Where replies stand in the history of a chat request, and whether one of them is a reply that is held.

A reply stands there as one or more assistant messages in a row: some clients send text and calls apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.chat_completions.assistant import said_in
from aibridge.dialects.chat_completions.hidden_turns import HiddenTurns, SeenCall, anchors_of, call_digest, squeezed
from aibridge.dialects.prompt import own_words
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.dialects.turns import Anchor

# Shorter ids are counted by some servers ("call_0"), shorter texts are said in many conversations ("Done."): such a
# reply is only taken for a held one where it also answers to the same.
_DISTINCTIVE_ID = 16
_DISTINCTIVE_TEXT = 64


class Message(msgspec.Struct):
    """What is read of a message, whatever it is."""

    role: Any = None
    content: Any = None
    tool_calls: Any = None
    tool_call_id: Any = None


_MESSAGE = msgspec.json.Decoder(Message)


class SentCall(msgspec.Struct, frozen=True, gc=False):
    """A call of the client's own, as it sent it back."""

    id: str
    name: str
    arguments: str

    def seen(self) -> SeenCall:
        return SeenCall(self.id, call_digest(self.name, self.arguments))


@dataclass(frozen=True, slots=True)
class Standing:
    """One reply in a history: assistant messages from `start` to `end`, and what they say together."""

    start: int
    end: int
    messages: Sequence[Message]
    text: str
    calls: Sequence[SentCall]
    after: str  # what it answers to, as a digest

    def anchors(self) -> tuple[Anchor, ...]:
        return anchors_of([call.id for call in self.calls], self.text, self.after)


def standings(messages: Sequence[bytes]) -> Iterator[Standing]:
    """The replies in a history, and one without messages for the reply that is asked for."""
    before: list[str] = []  # the reply before, and what has been said since
    run: list[Message] = []
    for number, raw in enumerate(messages):
        message = _read(raw)
        if message.role == "assistant":
            run.append(message)
            continue
        if run:
            reply = _standing(number, run, before)
            yield reply
            before, run = [_gist_of_reply(reply)], []
        before += _gist(message)
    if run:
        yield _standing(len(messages), run, before)
    else:
        yield _standing(len(messages), [], before)


Likeness = tuple[bool, bool, bool]


def likeness(reply: Standing, held: HiddenTurns) -> tuple[Literal["whole", "begun"], Likeness] | None:
    """Whether a reply is the held one, or the beginning of it, and how much alike they are; None: another one."""
    same_place = reply.after == held.after
    said, known = squeezed(reply.text), squeezed(held.text)
    if reply.calls:
        ids = {call.id for call in held.calls}
        # Clients may send the calls of one answer one by one, each with its result: the first stands for all.
        if not held.calls or reply.calls[0].id != held.calls[0].id or any(call.id not in ids for call in reply.calls):
            return None
        same_calls = all(call.seen() in held.calls for call in reply.calls)
        if not (same_place and same_calls) and len(reply.calls[0].id) < _DISTINCTIVE_ID:
            return None
        return "whole", (same_calls, same_place, said == known)
    if said == known and not held.calls and (same_place or len(said) >= _DISTINCTIVE_TEXT):
        return "whole", (True, same_place, True)
    # A client that hung up has a part of it, and perhaps more than was held by then.
    begun = bool(said) and (known.startswith(said) or (not held.complete and known and said.startswith(known)))
    return ("begun", (False, True, False)) if begun and same_place else None


def _standing(end: int, run: list[Message], before: list[str]) -> Standing:
    calls = [
        SentCall(text(call.get("id")), text(named.get("name")), text(named.get("arguments")))
        for message in run
        if isinstance(message.tool_calls, list)
        for call in map(mapping, message.tool_calls)
        if (named := mapping(call.get("function")) or _custom(call))
    ]
    after = anchor("gist", "\n".join(before).encode("utf-8", "replace"))
    return Standing(end - len(run), end, run, "".join(said_in(message.content) for message in run), calls, after)


def _custom(call: dict[str, Any]) -> dict[str, Any]:
    custom = mapping(call.get("custom"))
    return {"name": custom.get("name"), "arguments": custom.get("input")} if custom else {}


def _gist_of_reply(reply: Standing) -> str:
    return "\n".join(("assistant", squeezed(reply.text), *(call.id for call in reply.calls)))


def _gist(message: Message) -> list[str]:
    """What a message says, however it is encoded. Results are known by their call: clients clear old ones."""
    match message.role:
        case "tool":
            return [f"tool {text(message.tool_call_id)}"]
        case "user":
            said = said_in(message.content)
            return [f"user {squeezed(own_words(said) or '')}"]
        case _:
            return []  # instructions come and go


def _read(raw: bytes) -> Message:
    try:
        return _MESSAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = mapping(decoded(raw))
        return Message(*(found.get(name) for name in ("role", "content", "tool_calls", "tool_call_id")))
