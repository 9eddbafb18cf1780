"""Whoever watches an answer sees all of it, also what could be handed on without a read."""

import pytest

from aibridge.watched_response import WatchedResponse
from tests.fakes.journal import Journal
from tests.fakes.upstream import JSON, Response, Scripted

pytestmark = pytest.mark.anyio


async def test_every_piece_is_read_and_seen_and_none_goes_past_the_one_who_watches() -> None:
    seen: list[bytes] = []
    handed: list[bytes] = []
    plain = Response(Journal(), Scripted([b"one", b"two", b"three"], 201, [JSON]))
    watched = WatchedResponse(plain, seen.append)

    def take(data: bytes) -> bool:
        handed.append(data)
        return True

    read = []
    while not watched.at_end:
        await watched.hand_to(take)
        read.append(await watched.read())
    read.append(await watched.read())

    assert (watched.status, watched.headers) == (201, [JSON])
    assert read == seen == [b"one", b"two", b"three", b""]
    assert handed == []
