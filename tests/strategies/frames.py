"""Frames of AWS's event stream: an encoder (botocore has only the other way), and frames of all kinds to try."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

Value = bool | int | str | bytes | datetime | UUID | tuple[int, int]
"""A plain integer is 32 bits wide; (type, value) says another width by the format's own number of the type."""

_WIDTHS = {2: ">b", 3: ">h", 4: ">i", 5: ">q"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def frame(headers: Mapping[str, Value], payload: bytes) -> bytes:
    encoded = b"".join(bytes([len(name.encode())]) + name.encode() + _value(value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case (kind, number):
            return bytes([kind]) + struct.pack(_WIDTHS[kind], number)
        case int():
            return b"\x04" + struct.pack(">i", value)
        case bytes():
            return b"\x06" + struct.pack(">H", len(value)) + value
        case str():
            return b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        case datetime():
            return b"\x08" + struct.pack(">q", (value - _EPOCH) // timedelta(milliseconds=1))
        case UUID():
            return b"\x09" + value.bytes


_names = st.text(st.characters(codec="utf-8"), max_size=60)
_values: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.tuples(st.just(2), st.integers(-128, 127)),
    st.tuples(st.just(3), st.integers(-(2**15), 2**15 - 1)),
    st.tuples(st.just(5), st.integers(-(2**63), 2**63 - 1)),
    st.binary(max_size=200),
    st.text(st.characters(codec="utf-8"), max_size=100),
    st.uuids(),
)
frames = st.builds(frame, st.dictionaries(_names, _values, max_size=6), st.binary(max_size=300))
