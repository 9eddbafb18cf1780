"""Ways to cut bytes into chunks, as a network may."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st


@st.composite
def chunkings(draw: st.DrawFn, data: bytes, cuts: int = 12) -> list[bytes]:
    """`data` in up to `cuts` + 1 pieces; some may be empty."""
    inner = draw(st.lists(st.integers(0, len(data)), max_size=cuts))
    edges = [0, *sorted(inner), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
