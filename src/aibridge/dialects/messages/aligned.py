"""Which of a client's blocks belongs to which turn of a held reply.

Clients leave thoughts out, join texts or cut them apart, trim them, add cache breakpoints; what they send is kept in
their order and bytes, but for a text that they joined over the place of something hidden, which is cut there again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from aibridge.dialects.messages.held import HeldReply, HeldTurn, SeenBlock, squeezed
from aibridge.wire.json_body import JsonObject


@dataclass(frozen=True, slots=True)
class SentBlock:
    """A block as the client sent it; `text` is "" where it has no word, `key` where it is a text."""

    raw: bytes
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """What the client's blocks are beside a held reply."""

    turns: Sequence[Sequence[bytes]]
    """The content of each hidden turn that the client saw, ours put back."""
    rest: Sequence[SentBlock]
    """What the client saw behind those turns."""
    first: int
    """The first block that was known again."""
    missing: int
    """How much of the held reply was not found."""
    certain: bool
    """A block with an id or a signature is among what was found, and not texts alone."""


@dataclass(frozen=True, slots=True)
class _Expected:
    turn: int
    stretch: int  # between calls of ours, or turns: what lies on both sides of one is not one text
    block: SeenBlock
    squeezed: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block of the client's, or a part of a text; `item` is what it was known as."""

    block: SentBlock
    item: int | None


def aligned(held: HeldReply, blocks: Sequence[SentBlock]) -> Aligned | None:
    """The client's blocks by turns; None when it is another reply, or nothing hidden belongs between them."""
    expected = list(_expected(held))
    search = _Search(expected)
    pieces = [piece for block in blocks for piece in search.find(block)]
    if search.reached < 0:
        return None
    included = _included(held, expected, search)
    if not included:
        return None
    by_turn: list[list[_Piece]] = [[] for _ in range(included + 1)]
    for piece, turn in zip(pieces, _turns(pieces, expected, search.whole, held, included), strict=True):
        by_turn[min(turn, included)].append(piece)
    rest = [piece.block for piece in by_turn.pop()]
    return Aligned(
        turns=[list(_content(held.turns, number, own)) for number, own in enumerate(by_turn)],
        rest=rest if any(block.key or block.text for block in rest) else (),
        first=next(number for number, piece in enumerate(pieces) if piece.item is not None),
        missing=sum(one.block.essential for number, one in enumerate(expected) if number not in search.whole),
        certain=any(expected[number].block.key for number in search.whole),
    )


def _expected(held: HeldReply) -> Iterator[_Expected]:
    stretch = 0
    for number, blocks in enumerate([*(turn.blocks for turn in held.turns), held.last]):
        stretch += 1
        for block in blocks:
            stretch += block.ours
            if not block.ours:
                yield _Expected(number, stretch, block, squeezed(block.text))


class _Search:
    """Finds the client's blocks among those of the reply, in their order."""

    def __init__(self, expected: Sequence[_Expected]) -> None:
        self._expected = expected
        self._next = 0
        self._read = 0  # how much of the next one's text has been found
        self.whole: set[int] = set()
        self.reached = -1  # the last one found, be it in part

    def find(self, block: SentBlock) -> list[_Piece]:
        if not block.text:
            return [_Piece(block, self._keyed(block.key) if block.key else None)]
        parts: list[tuple[str, int | None]] = []
        left = block.text
        while left.strip():
            item, length = self._text(squeezed(left))
            if item is None:
                parts.append((left, None))
                break
            cut = _cut(left, length, self._expected[item].block.text if item in self.whole else "")
            parts.append((left[:cut], item))
            left = left[cut:]
            if not left.strip():  # spaces at the end stay where they are
                parts[-1] = (parts[-1][0] + left, item)
        return self._pieces(block, parts)

    def _keyed(self, key: str) -> int | None:
        for number in range(self._next, len(self._expected)):
            if self._expected[number].block.key == key:
                self._found(number)
                return number
        return None

    def _text(self, said: str) -> tuple[int | None, int]:
        """The text of the reply that begins here, and how long it is here; or that this is a part of."""
        for number in range(self._next, len(self._expected)):
            whole = self._expected[number].squeezed
            left = whole[self._read :] if number == self._next else whole
            if left and said.startswith(left):
                self._found(number)
                return number, len(left)
            # A part is looked for only where it would be: a short text is part of many.
            if left.startswith(said) and not any(one.squeezed for one in self._expected[self._next : number]):
                self._read = len(said) + (self._read if number == self._next else 0)
                self._next = self.reached = number
                return number, len(said)
        return None, 0

    def _found(self, number: int) -> None:
        self.whole.add(number)
        self.reached, self._next, self._read = number, number + 1, 0

    def _pieces(self, block: SentBlock, parts: Sequence[tuple[str, int | None]]) -> list[_Piece]:
        """The block whole where nothing of ours belongs into it, else its parts."""
        groups: list[tuple[str, int | None]] = []
        for said, item in parts:
            known = groups[-1][1] if groups else None
            if known is not None and item is not None and self._stretch(known) == self._stretch(item):
                groups[-1] = (groups[-1][0] + said, item)
            else:
                groups.append((said, item))
        if len(groups) == 1:
            return [_Piece(block, groups[0][1])]
        *before, (last, last_item) = groups
        own = [_Piece(SentBlock(_text_block(said), "", said), item) for said, item in before]
        # What stands beside the text (a cache breakpoint) is said of its end.
        raw = JsonObject.parse(block.raw).with_members({"text": msgspec.json.encode(last)})
        return [*own, _Piece(SentBlock(raw, "", last), last_item)]

    def _stretch(self, item: int) -> int:
        return self._expected[item].stretch


def _cut(said: str, length: int, known: str) -> int:
    """Where the first `length` letters end that are no spaces, with the spaces that the known text ends with."""
    place = 0
    for place, letter in enumerate(said, 1):  # noqa: B007 (ruff: the place is what is looked for)
        length -= not letter.isspace()
        if not length:
            break
    trailing = known[len(known.rstrip()) :]
    return place + len(trailing) if trailing and said.startswith(trailing, place) else place


def _text_block(said: str) -> bytes:
    return msgspec.json.encode({"type": "text", "text": said})


def _included(held: HeldReply, expected: Sequence[_Expected], search: _Search) -> int:
    """How many of the hidden turns the client saw to their end."""
    turn = expected[search.reached].turn
    if turn >= len(held.turns):
        return len(held.turns)
    following = enumerate(expected[search.reached :], search.reached)
    if any(one.turn == turn and one.block.essential and number not in search.whole for number, one in following):
        return turn
    included = turn + 1
    # A turn without anything to see followed unseen.
    while included < len(held.turns) and not any(one.turn == included and one.block.essential for one in expected):
        included += 1
    return included


def _turns(
    pieces: Sequence[_Piece], expected: Sequence[_Expected], whole: set[int], held: HeldReply, included: int
) -> Iterator[int]:
    """The turn of each piece. What was not known again stays between its neighbours."""
    behind = len(held.turns) - 1 if held.mixed and included == len(held.turns) else included
    before: int | None = None
    for number, piece in enumerate(pieces):
        if piece.item is not None:
            before = piece.item
            yield expected[piece.item].turn
            continue
        after = next((one.item for one in pieces[number:] if one.item is not None), None)
        if after is None:
            yield behind
        elif before is None:
            yield 0
        else:
            # Changed by the client, perhaps: it may be what is missing of the turn before.
            turn = expected[before].turn
            between = range(before + 1, after)
            missing = any(expected[one].turn == turn and one not in whole for one in between)
            yield turn if missing else expected[after].turn


def _content(turns: Sequence[HeldTurn], number: int, pieces: Sequence[_Piece]) -> Iterator[bytes]:
    """A turn's blocks: the client's in its order, ours where they were."""
    item = sum(not block.ours for turn in turns[:number] for block in turn.blocks)
    left = list(pieces)
    while left and left[0].item is None:
        yield left.pop(0).block.raw
    for block in turns[number].blocks:
        if block.ours:
            yield bytes(block.call)
            continue
        while left and ((known := left[0].item) is None or known <= item):
            yield left.pop(0).block.raw
        item += 1
    yield from (piece.block.raw for piece in left)
