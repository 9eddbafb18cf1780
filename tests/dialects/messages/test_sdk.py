"""The provider's own SDK as the judge: of the stories that we wrote, and of the errors that we say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import APIStatusError
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from aibridge.dialects.messages import MESSAGES
from aibridge.errors import Problem
from tests.dialects.sdks import anthropic_reading
from tests.strategies.messages_streams import MessagesStream, messages_streams
from tests.transcripts.stories import Story, stories

# Stories about what no page shows: other framings and shapes, events of the future, servers that answer nonsense,
# and features whose types the SDK keeps under `beta`.
_UNLIKE_THE_REFERENCE = {
    "blocking_error_with_status_200",
    "blocking_hosted_tools",
    "blocking_no_json",
    "blocking_without_usage",
    "blocks_of_one_index",
    "bytes_behind_the_end",
    "data_on_several_lines",
    "error_as_a_string",
    "error_by_name_only",
    "mcp_connector",
    "no_usage_at_all",
    "odd_usage",
    "pings_and_unknown_events",
    "type_only_in_the_name",
}
_BY_THE_REFERENCE = [story for story in stories("messages") if story.name not in _UNLIKE_THE_REFERENCE]
_WHOLE = [story for story in _BY_THE_REFERENCE if story.stream and story.turn["outcome"] == "complete"]
# The SDK passes over a last event without its empty line, and knows no byte order mark. We relay the bytes as they are.
_READ_BY_THE_SDK = [
    story for story in _WHOLE if story.name not in {"last_event_without_its_empty_line", "byte_order_mark"}
]
_EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
_BODY = [story for story in _BY_THE_REFERENCE if not story.stream]


@pytest.mark.parametrize("story", _WHOLE, ids=lambda story: story.name)
def test_a_streamed_story_is_what_the_sdk_has_types_for(story: Story) -> None:
    kinds = [_EVENT.validate_python(event).type for event in _events(story.upstream) if event["type"] != "ping"]

    assert kinds[0] == "message_start"


@pytest.mark.parametrize("story", _BODY, ids=lambda story: story.name)
def test_a_blocking_story_is_what_the_sdk_has_types_for(story: Story) -> None:
    assert Message.model_validate_json(story.upstream).role == "assistant"


@pytest.mark.parametrize("story", _READ_BY_THE_SDK, ids=lambda story: story.name)
def test_the_sdk_reads_what_we_relay(story: Story) -> None:
    reply = MESSAGES.parse(story.request).reply(stream=True)
    received = reply.receive(story.upstream)
    reply.end_turn()

    kinds = [event.type for event in _streamed(received + reply.finish())]

    sent = [event["type"] for event in _events(story.upstream) if event["type"] != "ping"]
    assert kinds == sent[: sent.index("message_stop") + 1]


@settings(max_examples=25)
@given(messages_streams(), st.data())
def test_an_error_of_ours_is_raised_wherever_a_stream_is_cut(stream: MessagesStream, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(stream.text) - len(stream.events[-1])))
    reply = MESSAGES.parse(b'{"model":"m","stream":true}').reply(stream=True)
    received = reply.receive(stream.text[:cut])
    assert reply.end_turn().outcome == "cut"

    with pytest.raises(APIStatusError) as raised:
        list(_streamed(received + reply.fail(Problem(529, "try again"))))

    assert raised.value.body == {"type": "error", "error": {"type": "overloaded_error", "message": "try again"}}


@pytest.mark.parametrize("name", ["error_in_the_middle", "error_before_the_start", "error_by_name_only"])
def test_an_error_of_the_provider_reaches_the_sdk(name: str) -> None:
    (story,) = (story for story in stories("messages") if story.name == name)
    reply = MESSAGES.parse(story.request).reply(stream=True)
    received = reply.receive(story.upstream)
    reply.end_turn()

    with pytest.raises(APIStatusError):
        list(_streamed(received + reply.finish()))


def _events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in stream.splitlines() if line.startswith(b"data:")]


def _streamed(stream: bytes) -> Iterator[RawMessageStreamEvent]:
    """The events that the SDK gives to its caller, out of these bytes."""
    with anthropic_reading(stream) as client:
        messages: Any = [{"role": "user", "content": "x"}]
        yield from client.messages.create(model="m", max_tokens=1, messages=messages, stream=True)
