"""Bodies in a content coding: whatever the chunks, the same bytes come out, bounded, or a clear refusal."""

import gzip
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.wire.content_coding import MAX_RATIO, Decoder, TooLarge, Undecodable, decoded_body
from tests.strategies.chunks import chunkings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024


def zlib_format(data: bytes) -> bytes:
    return zlib.compress(data)


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def streamed_zstd(data: bytes) -> bytes:
    """Without the size in its head, as encoders of streams write it."""
    machine = zstd.ZstdCompressor()
    return machine.compress(data[: len(data) // 2]) + machine.compress(data[len(data) // 2 :]) + machine.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate in zlib's format": ("deflate", zlib_format),
    "deflate without it": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd.compress),
    "zstd of a stream": ("zstd", streamed_zstd),
}
every_coding = pytest.mark.parametrize(("coding", "encode"), ENCODERS.values(), ids=ENCODERS.keys())


@every_coding
@given(data=st.data(), plain=st.binary(max_size=2000))
def test_any_cut_of_the_bytes_decodes_to_the_same(
    data: st.DataObject, plain: bytes, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    decoder = Decoder(coding)
    pieces = [decoder.decode(chunk) for chunk in data.draw(chunkings(encode(plain)))]

    assert b"".join(pieces) == plain
    assert decoder.whole
    assert not decoder.cut


@every_coding
def test_byte_by_byte_and_at_once_are_the_same(coding: str, encode: Callable[[bytes], bytes]) -> None:
    plain = bytes(range(256)) * 40
    encoded = encode(plain)
    decoder = Decoder(coding)

    assert b"".join(decoder.decode(encoded[i : i + 1]) for i in range(len(encoded))) == plain
    assert decoded_body(coding, encoded, len(plain)) == plain


@every_coding
@pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024])
def test_nothing_is_left_in_the_machine_when_a_piece_is_just_full(
    coding: str, encode: Callable[[bytes], bytes], size: int
) -> None:
    decoder = Decoder(coding)

    assert decoder.decode(encode(b"a" * size)) == b"a" * size
    assert decoder.whole


@every_coding
def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(
    coding: str, encode: Callable[[bytes], bytes]
) -> None:
    plain = bytes(range(256)) * 16

    assert decoded_body(coding, encode(plain), len(plain)) == plain
    with pytest.raises(TooLarge):
        decoded_body(coding, encode(plain + b"x"), len(plain))


@every_coding
def test_a_little_that_becomes_a_lot_comes_in_bounded_pieces(coding: str, encode: Callable[[bytes], bytes]) -> None:
    bomb = encode(b"\0" * (8 * MIB))
    sizes = [len(piece) for piece in Decoder(coding).pieces(bomb)]

    assert sum(sizes) == 8 * MIB
    assert max(sizes) <= 256 * 1024


def test_a_bomb_below_the_limit_is_refused_for_its_ratio() -> None:
    bomb = zstd.compress(b"\0" * (64 * MIB))
    assert len(bomb) * MAX_RATIO < 64 * MIB

    with pytest.raises(Undecodable, match="more than 1000 times its size"):
        decoded_body("zstd", bomb, 256 * MIB)


def test_a_small_body_may_shrink_more_than_a_large_one() -> None:
    plain = b" " * (1024 * MAX_RATIO)

    assert decoded_body("zstd", zstd.compress(plain), 32 * MIB) == plain


def test_a_bomb_stops_at_the_limit_and_decodes_no_further() -> None:
    taken: list[bytes] = []
    with pytest.raises(TooLarge):
        taken.extend(Decoder("gzip", limit=MIB).pieces(gzip.compress(b"\0" * (64 * MIB))))

    assert sum(map(len, taken)) <= MIB


@every_coding
def test_a_body_that_is_cut_anywhere_is_refused(coding: str, encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(b"what is cut short is not what was sent")
    for end in range(len(encoded)):
        with pytest.raises(Undecodable, match="cut short"):
            decoded_body(coding, encoded[:end], MIB)


@every_coding
def test_nothing_at_all_was_not_cut(coding: str, encode: Callable[[bytes], bytes]) -> None:
    decoder = Decoder(coding)

    assert decoder.decode(b"") == b""
    assert not decoder.cut
    assert not decoder.whole


def test_the_first_byte_of_a_deflate_body_is_waited_upon() -> None:
    decoder = Decoder("deflate")

    assert decoder.decode(zlib_format(b"x")[:1]) == b""
    assert decoder.cut


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_that_follow_one_another_are_one_body(coding: str) -> None:
    encode = ENCODERS[coding][1]

    assert decoded_body(coding, encode(b"first, ") + encode(b"second"), MIB) == b"first, second"


@every_coding
def test_what_follows_the_end_and_is_not_of_the_coding_is_refused(
    coding: str, encode: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Undecodable):
        decoded_body(coding, encode(b"whole") + b"and more than that", MIB)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "zstd"])
def test_what_is_not_of_the_coding_is_refused_in_words(coding: str) -> None:
    with pytest.raises(Undecodable, match=f"the body is not valid {coding}"):
        decoded_body(coding, b'{"model": "plain text"}', MIB)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip,gzip", "gzip, zstd", "aws-chunked", ""])
def test_an_unknown_coding_is_refused_by_its_name(coding: str) -> None:
    with pytest.raises(Undecodable, match="unsupported content coding"):
        decoded_body(coding, b"", MIB)


def test_a_broken_checksum_is_noticed() -> None:
    encoded = bytearray(gzip.compress(b"what was sent"))
    encoded[-6] ^= 1

    with pytest.raises(Undecodable):
        decoded_body("gzip", bytes(encoded), MIB)


def test_a_frame_that_asks_for_more_memory_than_a_body_may_have_is_refused() -> None:
    machine = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    body = machine.compress(b"small, but with a large window") + machine.flush()

    with pytest.raises(Undecodable):
        decoded_body("zstd", body, 32 * MIB)
