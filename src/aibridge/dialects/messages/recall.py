"""Hidden turns put back into a history, where they were: the same history and the same held turns, the same bytes.

Where nothing is known again for certain, the history stays as the client sent it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aibridge.dialects.calls import anchor
from aibridge.dialects.messages.aligned import Aligned, SentBlock, aligned
from aibridge.dialects.messages.held import HeldReply, Place, anchors_of, key_of, squeezed, text_of
from aibridge.dialects.messages.tools import assistant_message, user_message
from aibridge.dialects.prompt import own_words
from aibridge.dialects.reading import decoded, elements, mapping, text
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import JsonObject, NotAnObject

_HELD = msgspec.json.Decoder(HeldReply)


_MOST_ALIKE = 16  # replies in the same words that are compared with one place: each costs time
_NOWHERE_NEAR = 2  # neither behind the message that was answered, nor as far into the history


class _Role(msgspec.Struct):
    role: Any = None


_ROLE = msgspec.json.Decoder(_Role)


@dataclass(frozen=True, slots=True)
class _Run:
    """Messages of the assistant that follow each other: for the provider, and for us, they are one."""

    start: int
    end: int
    blocks: Sequence[SentBlock]

    def anchors(self) -> dict[Anchor, None]:
        return dict.fromkeys(anchors_of((one.key for one in self.blocks), (one.text for one in self.blocks)))


def anchors(messages: bytes | None) -> Sequence[Anchor]:
    """What in a history may stand for a reply with hidden turns, in its order."""
    found: dict[Anchor, None] = {}
    for run in _runs(elements(messages)):
        found.update(run.anchors())
    return tuple(found)


def place_behind(messages: Sequence[msgspec.Raw], last: Mapping[str, Any]) -> Place:
    """The place of the answer to these messages; `last` is the last that is not an aside."""
    return Place(len(messages), _gist(last))


def with_hidden_turns(messages: bytes, hidden: Mapping[Anchor, Sequence[Hidden]]) -> bytes:
    """The history with what clients did not see of it; the very object that was given where nothing belongs in."""
    array = JsonArray.parse(messages)
    if array is None:
        return messages
    texts = array.elements()
    changed: dict[int, bytes] = {}
    for run, found in _known_again(list(_runs(texts)), hidden, texts):
        _write(run, found, texts, changed)
    if not changed:
        return messages
    if all(changed.values()):
        return array.replacing(changed)
    # Of several messages of one run the first became all of it.
    pieces = (changed.get(number, one) for number, one in enumerate(texts))
    return b"[" + b",".join(piece for piece in pieces if piece) + b"]"


def _runs(messages: Sequence[msgspec.Raw] | Sequence[bytes]) -> Iterator[_Run]:
    start = -1
    blocks: list[SentBlock] = []
    for number, message in enumerate(messages):
        if _role(message) == "assistant":
            start = number if start < 0 else start
            blocks += _sent(bytes(message))
        elif start >= 0:
            yield _Run(start, number, blocks)
            start, blocks = -1, []
    if start >= 0:
        yield _Run(start, len(messages), blocks)


def _role(message: msgspec.Raw | bytes) -> object:
    try:
        return _ROLE.decode(message).role
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text(mapping(decoded(bytes(message))).get("role"))


def _sent(message: bytes) -> list[SentBlock]:
    """The blocks of a message, a plain string as one."""
    try:
        content = JsonObject.parse(message).raw("content") or b""
    except NotAnObject:
        return []
    if content[:1] == b'"':
        block = {"type": "text", "text": text(decoded(content))}
        return [SentBlock(b'{"type":"text","text":' + content + b"}", "", text_of(block))]
    raws = [bytes(raw) for raw in elements(content)]
    seen = [mapping(decoded(raw)) for raw in raws]
    return [SentBlock(raw, key_of(block), text_of(block)) for raw, block in zip(raws, seen, strict=True)]


def _gist(message: Mapping[str, Any]) -> str:
    """What a message says, however it is re-encoded."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    said = "".join(squeezed(own_words(text_of(mapping(block))) or "") for block in blocks)
    results = (text(mapping(block).get("tool_use_id")) for block in blocks)
    return anchor("gist", "\n".join((said, *filter(None, results))).encode("utf-8", "replace"))


def _known_again(
    runs: Sequence[_Run], hidden: Mapping[Anchor, Sequence[Hidden]], texts: Sequence[bytes]
) -> Sequence[tuple[_Run, Sequence[tuple[HeldReply, Aligned]]]]:
    """The held replies that each run is, in their order there. Each of them is one place's, the one that it fits best."""
    replies: dict[bytes, HeldReply | None] = {}
    claims: list[tuple[tuple[int, int, int, int, int], int, bytes]] = []
    for at, run in enumerate(runs):
        for age, (elsewhere, content) in enumerate(_candidates(run, hidden, texts, replies)):
            held = replies[content]
            found = aligned(held, run.blocks) if held is not None else None
            if found is not None and (found.certain or elsewhere < _NOWHERE_NEAR):
                claims.append(((found.missing, elsewhere, found.first, age, -at), at, content))
    taken: set[bytes] = set()
    known: dict[int, list[tuple[HeldReply, Aligned]]] = {}
    for _, at, content in sorted(claims):
        held = replies[content]
        if content not in taken and held is not None:
            before = known.get(at)
            found = aligned(held, before[-1][1].rest if before else runs[at].blocks)
            if found is not None:
                taken.add(content)
                known.setdefault(at, []).append((held, found))
    return [(runs[at], found) for at, found in known.items()]


def _candidates(
    run: _Run,
    hidden: Mapping[Anchor, Sequence[Hidden]],
    texts: Sequence[bytes],
    replies: dict[bytes, HeldReply | None],
) -> Sequence[tuple[int, bytes]]:
    """What may be this run: how far from its place each was, and its content; the nearest first, of them the newest."""
    found = dict.fromkeys(one.content for name in run.anchors() for one in hidden.get(name, ()))
    if not found:
        return ()
    place = _place_of(run, texts)
    near: list[tuple[int, bytes]] = []
    for content in found:
        if content not in replies:
            replies[content] = _held(content)
        held = replies[content]
        if held is not None:
            at = held.place
            near.append(((at.before != place.before) + (not run.start <= at.position <= run.end), content))
    return sorted(near, key=lambda one: one[0])[:_MOST_ALIKE]


def _held(content: bytes) -> HeldReply | None:
    try:
        return _HELD.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # of another version of ours, perhaps


def _place_of(run: _Run, texts: Sequence[bytes]) -> Place:
    before = (mapping(decoded(one)) for one in reversed(texts[: run.start]))
    return Place(run.start, _gist(next((one for one in before if one.get("role") != "system"), {})))


def _write(
    run: _Run, found: Sequence[tuple[HeldReply, Aligned]], texts: Sequence[bytes], changed: dict[int, bytes]
) -> None:
    """Writes one run anew, with the hidden turns of the replies that it is."""
    messages: list[bytes] = []
    results: Sequence[msgspec.Raw] = ()
    for held, known in found:
        for turn, own in zip(held.turns, known.turns, strict=False):
            messages += [user_message(map(bytes, results))] if results else []
            messages.append(assistant_message(own))
            results = turn.results
    rest = found[-1][1].rest
    if rest:
        last = JsonObject.parse(texts[run.end - 1])
        content = b"[" + b",".join(block.raw for block in rest) + b"]"
        messages += [user_message(map(bytes, results)), last.with_members({"content": content})]
    elif (joined := _joined(texts, run.end, results)) is not None:
        changed[run.end] = joined
    else:
        messages.append(user_message(map(bytes, results)))
    changed.update(dict.fromkeys(range(run.start, run.end), b""))
    changed[run.start] = b",".join(messages)


def _joined(texts: Sequence[bytes], number: int, results: Sequence[msgspec.Raw]) -> bytes | None:
    """The user's message that follows, with the results of our calls before everything else, as the API wants them."""
    if number >= len(texts) or _role(texts[number]) != "user":
        return None
    message = JsonObject.parse(texts[number])
    content = message.raw("content") or b""
    ours = b",".join(map(bytes, results))
    if content[:1] == b'"':
        words = b"" if not text(decoded(content)).strip() else b',{"type":"text","text":' + content + b"}"
        return message.with_members({"content": b"[" + ours + words + b"]"})
    array = JsonArray.parse(content)
    return message.with_members({"content": array.inserting({0: ours})}) if array is not None else None
