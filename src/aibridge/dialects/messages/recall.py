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
from aibridge.dialects.reading import decoded, elements, mapping, text
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import JsonObject, NotAnObject

_HELD = msgspec.json.Decoder(HeldReply)


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
    used: set[bytes] = set()
    # From the end: of replies that look the same, the newest one belongs to the last place.
    for run in reversed(list(_runs(texts))):
        candidates = _candidates(run, hidden, used)
        if candidates:
            _put_back(run, candidates, texts, changed, used)
    if not changed:
        return messages
    # Messages of a run that became part of another are cut out of the text last, by their places in it.
    gone = [number for number, value in changed.items() if not value]
    if not gone:
        return array.replacing(changed)
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
    said = "".join(squeezed(text_of(mapping(block))) for block in blocks)
    results = (text(mapping(block).get("tool_use_id")) for block in blocks)
    return anchor("gist", "\n".join((said, *filter(None, results))).encode("utf-8", "replace"))


def _candidates(
    run: _Run, hidden: Mapping[Anchor, Sequence[Hidden]], used: set[bytes]
) -> list[tuple[bytes, HeldReply]]:
    """The held replies that this run may be, without doubles, newest first."""
    found: dict[bytes, HeldReply] = {}
    for name in run.anchors():
        for one in hidden.get(name, ()):
            if one.content not in used and one.content not in found:
                try:
                    found[one.content] = _HELD.decode(one.content)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # of another version of ours, perhaps
    return list(found.items())


def _put_back(
    run: _Run,
    candidates: list[tuple[bytes, HeldReply]],
    texts: Sequence[bytes],
    changed: dict[int, bytes],
    used: set[bytes],
) -> None:
    """Writes one run anew, with the hidden turns of the replies that it is."""
    place = _place_of(run, texts) if len(candidates) > 1 else None
    messages: list[bytes] = []
    results: Sequence[msgspec.Raw] = ()
    blocks = run.blocks
    while (best := _best(candidates, blocks, place)) is not None:
        number, found = best
        content, held = candidates.pop(number)
        used.add(content)
        for turn, own in zip(held.turns, found.turns, strict=False):
            messages += [user_message(map(bytes, results))] if results else []
            messages.append(assistant_message(own))
            results = turn.results
        blocks = found.rest
    if not messages:
        return
    if blocks:
        last = JsonObject.parse(texts[run.end - 1])
        content = b"[" + b",".join(block.raw for block in blocks) + b"]"
        messages += [user_message(map(bytes, results)), last.with_members({"content": content})]
    elif (joined := _joined(texts, run.end, results)) is not None:
        changed[run.end] = joined
    else:
        messages.append(user_message(map(bytes, results)))
    changed.update(dict.fromkeys(range(run.start, run.end), b""))
    changed[run.start] = b",".join(messages)


def _best(
    candidates: Sequence[tuple[bytes, HeldReply]], blocks: Sequence[SentBlock], place: Place | None
) -> tuple[int, Aligned] | None:
    """The reply that stands first in these blocks; of several, the one that is most like them, or the newest."""
    found: list[tuple[tuple[int, int, int], int, Aligned]] = []
    for number, (_, held) in enumerate(candidates):
        if (one := aligned(held, blocks)) is not None:
            elsewhere = (
                0 if place is None else (held.place.before != place.before) + (held.place.position != place.position)
            )
            found.append(((one.first, one.missing, elsewhere), number, one))
    if not found:
        return None
    _, number, best = min(found, key=lambda one: one[:2])
    return number, best


def _place_of(run: _Run, texts: Sequence[bytes]) -> Place:
    before = (mapping(decoded(one)) for one in reversed(texts[: run.start]))
    return Place(run.start, _gist(next((one for one in before if one.get("role") != "system"), {})))


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
