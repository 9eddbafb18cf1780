"""A reply that offers tools of which none is called is a plain reply: the same bytes when they come, the same facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aibridge.dialects.base import Fact, Reply
from aibridge.dialects.chat_completions.request import ChatRequest
from tests.dialects.chat_completions.streams import Stream, streams
from tests.dialects.chat_completions.turns import parsed
from tests.transcripts.stories import Story, stories

_ASKED = b'{"model":"m-1","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
_NOT_ASKED = b'{"model":"m-1","stream":true,"messages":[]}'


@pytest.mark.parametrize("story", stories("chat_completions"), ids=lambda story: story.name)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_every_story_is_told_alike(story: Story, cut: bool) -> None:
    request = parsed(story.request).asking_usage()
    upstream = story.upstream[: len(story.upstream) * 2 // 3] if cut else story.upstream
    chunks = [upstream[start : start + 100] for start in range(0, len(upstream), 100)]

    assert _told(_looping(request).reply(stream=story.stream), chunks) == _told(
        request.reply(stream=story.stream), chunks
    )


@settings(max_examples=50)
@given(streams(), st.booleans())
def test_every_stream_is_relayed_alike(stream: Stream, asked: bool) -> None:
    request = parsed(_ASKED if asked else _NOT_ASKED).asking_usage()

    assert _told(_looping(request).reply(stream=True), stream.upstream) == _told(
        request.reply(stream=True), stream.upstream
    )


def _looping(request: ChatRequest) -> ChatRequest:
    looping = replace(request, offers=True)
    assert looping.loops
    return looping


def _told(reply: Reply, chunks: Iterable[bytes]) -> list[Any]:
    """All that comes out of a reply, chunk by chunk."""
    told: list[Any] = []
    for chunk in chunks:
        facts: tuple[Fact, ...] = reply.facts()
        told.append((reply.receive(chunk), facts, reply.finished, reply.response_id))
    return [*told, reply.end_turn(), reply.facts(), reply.finish()]
