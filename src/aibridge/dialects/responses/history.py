"""A client's history, and where in it the hidden turns of earlier replies stand.

What the client sends keeps its bytes and its order. Where it is not certain which reply an item is of, or the reply is
no longer in the history, nothing is put in. Put back are our calls and their results, and the thoughts of the same
turns that the client left out: the provider wants to see a call behind the thought that led to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aibridge.dialects.reading import decoded, text
from aibridge.dialects.responses.held import HeldReply, held_reply, response_anchor
from aibridge.dialects.responses.known_items import SEPARATORS, Known, known
from aibridge.dialects.responses.turn_items import is_our_call, is_unreadable, items_in
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.wire.json_array import JsonArray

_MOST_STARTS = 64  # places of a history at which one held reply is looked for: each costs a walk
_LONGEST_WALK = 512  # items of a history among which those of one reply are looked for


class History:
    """The items of `input`, read."""

    def __init__(self, given: bytes | None) -> None:
        self.array = JsonArray.parse(given) if given is not None and given[:1] == b"[" else None
        self.items = [known(raw) for raw in self.array.elements()] if self.array is not None else []
        self._anchors = [tuple(item.anchors(after)) for item, after in zip(self.items, self._asked(), strict=True)]

    def _asked(self) -> Iterator[str]:
        """For every item the person's words before it."""
        words = ""
        for item in self.items:
            yield words
            if item.asks and item.words:
                words = item.words

    def anchors(self, *, in_conversation: bool) -> Iterator[Anchor]:
        """`in_conversation`: the provider has the calls, and the history only their answers."""
        for item, anchors in zip(self.items, self._anchors, strict=True):
            if item.kind or in_conversation:
                yield from anchors

    def recalling(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> bytes | None:
        """The text with hidden turns where they were; None when none belongs there."""
        if self.array is None:
            return None
        edits = _Edits()
        taken: set[int] = set()
        places: list[tuple[list[_Match], list[_Line]]] = []
        for one in self._candidates(hidden):
            reply = held_reply(one.content)
            if reply is None:
                continue
            if reply.in_conversation:
                self._answer(reply, edits)
                continue
            lines = _lines(reply)
            found = self._find(lines, set(one.anchors), taken)
            if found:
                taken.update(place for place, _, _ in found)
                places.append((found, lines))
        for found, lines in sorted(places, key=lambda one: one[0]):
            edits.put(lines, found)
        return edits.applied(self.array)

    def _candidates(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> list[Hidden]:
        """Newest first, as far as that is known: those of the last items, and of an anchor in the given order."""
        found: dict[tuple[tuple[Anchor, ...], bytes], Hidden] = {}
        for anchors in reversed(self._anchors):
            for anchor in anchors:
                for one in hidden.get(anchor, ()):
                    found.setdefault((one.anchors, one.content), one)
        return list(found.values())

    def _find(self, lines: Sequence[_Line], anchors: set[Anchor], taken: set[int]) -> list[_Match]:
        """Where the visible items of a reply stand: the most of them, close together, and the last such place."""
        best: list[_Match] = []
        walked: set[int] = set()
        starts = [
            place for place, own in enumerate(self._anchors) if place not in taken and not anchors.isdisjoint(own)
        ]
        for start in starts[-_MOST_STARTS:]:
            if start in walked:
                continue
            found = self._walk(lines, start, taken)
            walked.update(place for place, _, _ in found)
            if found and _worth(found) >= _worth(best):
                best = found
        return best

    def _walk(self, lines: Sequence[_Line], start: int, taken: set[int]) -> list[_Match]:
        """The items from `start` on that are the reply's, in its order."""
        found: list[_Match] = []
        line = 0
        for place in range(start, min(start + _LONGEST_WALK, len(self.items))):
            sent = self.items[place]
            if sent.asks:
                break
            if not sent.kind or place in taken:
                continue
            match = _match(lines, line, place, sent)
            if match is None and found and _is_piece(lines[found[-1][2]], sent):
                match = (place, found[-1][2], found[-1][2])
            if match is not None:
                found.append(match)
                line = match[2] + 1
        return found

    def _answer(self, reply: HeldReply, edits: _Edits) -> None:
        """The provider has the turn with our calls; our answers go before the client's."""
        if reply.waiting is None or self.array is None:
            return
        turn = reply.turns[reply.waiting]
        calls = {item.call_id for raw in turn.items if (item := known(bytes(raw))).call_id}
        first = next((place for place, item in enumerate(self.items) if not item.kind and item.call_id in calls), None)
        if first is not None:
            edits.before.setdefault(first, []).extend(map(bytes, turn.answers))


def asked_in(given: bytes | None) -> str:
    """The person's last words in `input`, as `History` knows them."""
    if given is not None and given[:1] == b'"':
        return text(decoded(given)).strip()
    history = History(given)
    return next((item.words for item in reversed(history.items) if item.asks and item.words), "")


def appended(given: bytes | None, items: Sequence[bytes]) -> bytes:
    """`input` with further items at its end."""
    array = JsonArray.parse(_as_items(given))
    return array.inserting({len(array): b",".join(items)}) if array is not None else b"[" + b",".join(items) + b"]"


def prepended(given: bytes | None, items: Sequence[bytes]) -> bytes:
    """`input` with further items before its own."""
    array = JsonArray.parse(_as_items(given))
    return array.inserting({0: b",".join(items)}) if array is not None else b"[" + b",".join(items) + b"]"


def _as_items(given: bytes | None) -> bytes:
    """A string is short for one message of the user's."""
    if given is None or given == b"null":
        return b"[]"
    return b'[{"role":"user","content":' + given + b"}]" if given[:1] == b'"' else given


def waiting_answers(hidden: Mapping[Anchor, Sequence[Hidden]], response_id: str) -> list[bytes]:
    """Results of ours that the provider was not given when it was left at this response."""
    for one in hidden.get(response_anchor(response_id), ()):
        reply = held_reply(one.content)
        if reply is not None:
            return [] if reply.waiting is None else [bytes(raw) for raw in reply.turns[reply.waiting].answers]
    return []


class _Line(msgspec.Struct, frozen=True):
    """One item of a held reply. `item` is None for what the client never saw."""

    raw: bytes
    item: Known | None
    is_put_back: bool


_Match = tuple[int, int, int]  # place in the history; first and last line that it stands for


def _lines(reply: HeldReply) -> list[_Line]:
    lines: list[_Line] = []
    for turn in reply.turns:
        items = items_in(b"[" + b",".join(map(bytes, turn.items)) + b"]")
        has_ours = any(is_our_call(item) for _, item in items)
        for raw, item in items:
            if is_our_call(item):
                lines.append(_Line(raw, None, is_put_back=True))
            else:
                seen = known(raw)
                is_thought = seen.kind == "reasoning" and (reply.stored or not is_unreadable(item))
                lines.append(_Line(raw, seen, is_put_back=has_ours and is_thought))
        lines += (_Line(bytes(raw), None, is_put_back=True) for raw in turn.answers)
    return lines


def _match(lines: Sequence[_Line], start: int, place: int, sent: Known) -> _Match | None:
    for number in range(start, len(lines)):
        item = lines[number].item
        if item is None:
            continue
        if item.is_same(sent):
            return (place, number, number)
        if item.kind == sent.kind == "message" and sent.words.startswith(item.words) and item.words:
            last = _last_of_several(lines, number, sent.words)
            if last is not None:
                return (place, number, last)
    return None


def _last_of_several(lines: Sequence[_Line], first: int, words: str) -> int | None:
    """The last of the messages that a client made into one."""
    said: list[str] = []
    for number in range(first, len(lines)):
        item = lines[number].item
        if item is not None and item.kind == "message" and item.words:
            said.append(item.words)
            if len(said) > 1 and any(separator.join(said) == words for separator in SEPARATORS):
                return number
    return None


def _is_piece(line: _Line, sent: Known) -> bool:
    """A client made one message into several."""
    item = line.item
    return item is not None and item.kind == sent.kind == "message" and item.id == sent.id != "" and (
        sent.words in item.words
    )  # fmt: skip


def _worth(found: Sequence[_Match]) -> tuple[int, int]:
    if not found:
        return (0, 0)
    return (sum(last - first + 1 for _, first, last in found), found[0][0] - found[-1][0])


class _Edits:
    """What is put into a history: before which of its items, and instead of which."""

    __slots__ = ("before", "instead")

    def __init__(self) -> None:
        self.before: dict[int, list[bytes]] = {}
        self.instead: dict[int, list[bytes]] = {}

    def put(self, lines: Sequence[_Line], found: Sequence[_Match]) -> None:
        """The lines that the history lacks, each behind the one before it that it has, or before the first."""
        behind: dict[int, int] = {}  # line -> the last place that it stands at
        several: dict[int, _Match] = {}
        for match in found:
            place, first, last = match
            behind[last] = place
            if last > first:
                several[first] = match
        into = self.before.setdefault(found[0][0], [])
        whole: _Match | None = None  # a message of the client's for which the lines are put in its place
        for number, line in enumerate(lines):
            if number in several:
                whole = several[number]
                into = self.instead.setdefault(whole[0], [])
            if whole is not None:
                if line.is_put_back or (line.item is not None and line.item.kind == "message"):
                    into.append(line.raw)
                if number == whole[2]:
                    into, whole = self.before.setdefault(whole[0] + 1, []), None
            elif number in behind:
                into = self.before.setdefault(behind[number] + 1, [])
            elif line.is_put_back:
                into.append(line.raw)

    def applied(self, array: JsonArray) -> bytes | None:
        before = {place: b",".join(raws) for place, raws in self.before.items() if raws}
        instead = {place: b",".join(raws) for place, raws in self.instead.items() if raws}
        return array.inserting(before, instead) if before or instead else None
