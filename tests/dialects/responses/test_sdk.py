"""The provider's own SDK as the judge: of the stories that we wrote, and of the errors that we say."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from openai import APIError
from openai.types.responses import CompactedResponse, Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aibridge.dialects.responses import RESPONSES
from aibridge.errors import Problem
from tests.dialects.responses.events import response, stream_of
from tests.dialects.sdks import openai_reading
from tests.transcripts.stories import Story, stories

# Stories about what no page shows: items of the future, other shapes of errors, servers that answer nonsense. The
# SDK's type for compactions has no place for the messages of the user that the reference describes.
_UNLIKE_THE_REFERENCE = {
    "blocking_unreadable",
    "compaction",
    "error_then_failed",
    "program_and_unknown_call",
    "unreadable_event",
}
_BY_THE_REFERENCE = [story for story in stories("responses") if story.name not in _UNLIKE_THE_REFERENCE]
# The SDK passes over a last event without its empty line. We relay it all the same: the bytes are the provider's.
_READ_BY_THE_SDK = [story for story in _BY_THE_REFERENCE if story.stream and story.upstream.endswith(b"\n")]
_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


@pytest.mark.parametrize("story", _BY_THE_REFERENCE, ids=lambda story: story.name)
def test_a_story_is_what_the_sdk_has_types_for(story: Story) -> None:
    if story.stream:
        events = [_EVENT.validate_python(event) for event in _events(story.upstream)]
        assert len(events) > 2
    elif b'"object": "response"' in story.upstream:
        Response.model_validate_json(story.upstream)
    else:
        CompactedResponse.model_validate_json(story.upstream)


@pytest.mark.parametrize("story", _READ_BY_THE_SDK, ids=lambda story: story.name)
def test_the_sdk_reads_what_we_relay(story: Story) -> None:
    reply = RESPONSES.parse(story.request).reply(stream=True)
    received = reply.receive(story.upstream)
    turn = reply.end_turn()

    kinds = [event.type for event in _streamed(received + (reply.finish() if turn.outcome != "cut" else b""))]

    assert kinds == [event["type"] for event in _events(story.upstream)]


@pytest.mark.parametrize("problem", [Problem(502, "the provider went away"), Problem(503, "no", code="draining")])
def test_an_error_of_ours_is_raised_in_the_midst_of_a_stream(problem: Problem) -> None:
    blocks = stream_of(response([{"id": "msg_1", "type": "message", "content": []}]))[:3]
    reply = RESPONSES.parse(b'{"model":"m","stream":true}').reply(stream=True)
    seen: list[str] = []

    with pytest.raises(APIError) as raised:  # noqa: PT012  # the events before the error are the point
        for event in _streamed(b"".join(map(reply.receive, blocks)) + reply.fail(problem)):
            seen.append(event.type)  # noqa: PERF401  # `extend` would lose what came before the error

    assert seen == ["response.created", "response.in_progress", "response.output_item.added"]
    assert raised.value.message == problem.message
    assert raised.value.code == problem.code


def test_an_error_of_ours_is_the_event_of_the_reference_too() -> None:
    (event,) = _events(RESPONSES.error_event(Problem(504, "too late")))

    read = _EVENT.validate_python(event)

    assert read.type == "error"
    assert (read.code, read.message, read.sequence_number) == ("timeout_error", "too late", 0)


def _events(stream: bytes) -> list[dict[str, object]]:
    return [json.loads(line[5:]) for line in stream.splitlines() if line.startswith(b"data:")]


def _streamed(stream: bytes) -> Iterator[ResponseStreamEvent]:
    """The events that the SDK gives to its caller, out of these bytes."""
    with openai_reading(stream) as client:
        yield from client.responses.create(model="m", input="x", stream=True)
