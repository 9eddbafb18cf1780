"""Whatever the pieces: what an answer is does not depend on them, and nothing of it is lost or read twice."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from aibridge.errors import Header, UpstreamReset
from aibridge.undeclared_answer import looked_at

pytestmark = pytest.mark.anyio

FORMS = {
    b'{"a": 1}': (False, False),
    b" \n\t[1]": (False, False),
    b"data: x\n\n": (True, True),
    b"\r\n\r\nevent: x\n\n": (True, True),
    b": nothing\n\n": (True, True),
    b"\xef\xbb\xbfid: 1\n\n": (True, True),
    b"retry: 1\n\n": (True, True),
    b"data": (True, False),
    b"internal error": (True, False),
    b"even so: no": (True, False),
    b"": (True, False),
    b" ": (True, False),
    b"\xef\xbb": (True, False),
    b" " * 200_000 + b"{}": (True, False),
}


class Pieces:
    """An answer of these pieces."""

    status = 200
    headers: Sequence[Header] = ((b"x", b"y"),)

    def __init__(self, pieces: Sequence[bytes | Exception]) -> None:
        self._pieces = list(pieces)
        self.handed = 0

    @property
    def at_end(self) -> bool:
        return not self._pieces

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        self.handed += 1


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7, 4096])
async def test_the_first_bytes_tell_and_stay(asked: bool, size: int) -> None:
    for body, (if_asked, else_) in FORMS.items():
        if len(body) > 4096 and size < 4096:
            continue
        response, stream = await looked_at(Pieces([body[n : n + size] for n in range(0, len(body), size)]), asked=asked)
        read = b""
        while chunk := await response.read():
            read += chunk

        assert stream is (if_asked if asked else else_), body[:20]
        assert read == body
        assert response.at_end
        assert (response.status, list(response.headers)) == (200, [(b"x", b"y")])


async def test_nothing_is_handed_on_before_what_was_looked_at_is_read() -> None:
    pieces = Pieces([b"da", b"ta: 1\n\n", b"data: 2\n\n"])
    response, _ = await looked_at(pieces, asked=False)
    await response.hand_to(lambda _: True)
    before = (pieces.handed, response.at_end)
    first = await response.read()
    await response.hand_to(lambda _: True)

    assert before == (0, False)
    assert first == b"data: 1\n\n"
    assert pieces.handed == 1


async def test_an_answer_that_breaks_off_meanwhile_is_a_fault() -> None:
    with pytest.raises(UpstreamReset):
        await looked_at(Pieces([b"\n", UpstreamReset("the provider's answer broke off")]), asked=True)
