"""What holds for every Messages stream and request (invariants 1, 2 and 4 of the architecture)."""

from __future__ import annotations

import json

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from aibridge.dialects.base import Fact, Thought, TokenUsage, ToolUse, Turn
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.messages.stream import MessagesReader
from aibridge.errors import Problem
from tests.strategies.chunks import chunkings
from tests.strategies.json_texts import object_of, spelled, values
from tests.strategies.messages_streams import MessagesStream, messages_streams
from tests.wire.plain_json import pairs_of
from tests.wire.plain_sse import events_of

_REQUEST = MESSAGES.parse(b'{"model":"claude-sonnet-4-5","messages":[],"stream":true}').attributed_to("person-1")


def _run(chunks: list[bytes]) -> tuple[bytes, bytes, list[Fact], Turn]:
    """What the client had when the body ended, what was withheld, the facts, the turn."""
    reply = _REQUEST.reply(stream=True)
    received = b""
    facts: list[Fact] = []
    for chunk in chunks:
        received += reply.receive(chunk)
        facts += reply.facts()
    turn = reply.end_turn()
    facts += reply.facts()
    rest = reply.finish() if turn.outcome != "cut" else reply.fail(Problem(502, "broke off"))
    return received, rest, facts, turn


# -- invariants 1 and 2: the provider's bytes, whatever the chunks


@given(messages_streams(), st.data())
def test_a_whole_stream_is_relayed_byte_for_byte_and_read_the_same_in_any_chunks(
    stream: MessagesStream, data: st.DataObject
) -> None:
    received, rest, facts, turn = _run(data.draw(chunkings(stream.text)))

    assert received + rest == stream.text
    assert rest == stream.events[-1]
    assert tuple(facts) == stream.facts
    assert turn == Turn(outcome="complete", response_id="msg_drawn")


@given(messages_streams(), st.binary(max_size=20), st.data())
def test_what_follows_the_end_changes_nothing(stream: MessagesStream, behind: bytes, data: st.DataObject) -> None:
    received, rest, facts, _ = _run(data.draw(chunkings(stream.text + behind)))

    assert received == b"".join(stream.events[:-1])
    assert rest == stream.events[-1] + behind
    assert tuple(facts) == stream.facts


@given(st.binary(max_size=200), st.data())
def test_any_bytes_are_relayed_and_chunks_change_nothing(stream: bytes, data: st.DataObject) -> None:
    whole = _run([stream])

    assert _run(data.draw(chunkings(stream))) == whole
    received, rest, _, turn = whole
    assert stream.startswith(received)
    if turn.outcome != "cut":
        assert received + rest == stream


_KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "x"]
_NAMES = [
    "index",
    "message",
    "content_block",
    "delta",
    "usage",
    "id",
    "type",
    "thinking",
    "partial_json",
    "container",
    "role",
    "content",
    "text",
    "tool_use_id",
    "file_id",
]
_odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["thinking", "tool_use", "text", "tool_result", "user"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.sampled_from(_KINDS), st.dictionaries(st.sampled_from(_NAMES), _odd, max_size=4))))
def test_events_of_any_shape_are_relayed_and_counted_but_never_raise(
    events: list[tuple[str, dict[str, object]]],
) -> None:
    stream = b"".join(b"data: " + json.dumps({**members, "type": kind}).encode() + b"\n\n" for kind, members in events)

    received, _, facts, turn = _run([stream])

    assert received == stream
    assert turn.outcome == "cut"
    assert all(isinstance(fact.content, str) for fact in facts if isinstance(fact, Thought))
    assert all(isinstance(fact.tool, str) for fact in facts if isinstance(fact, ToolUse))


@given(st.dictionaries(st.sampled_from([*_NAMES, "content"]), _odd | st.lists(_odd, max_size=3), max_size=5))
def test_bodies_of_any_shape_are_relayed_and_never_raise(message: dict[str, object]) -> None:
    body = json.dumps(message).encode()
    reply = _REQUEST.reply(stream=False)

    assert reply.receive(body) == b""
    assert reply.end_turn().outcome in ("complete", "failed")
    assert reply.finish() == body


@given(st.recursive(_odd, lambda inner: st.lists(inner, max_size=3)), _odd)
def test_messages_of_any_shape_are_the_providers_business(messages: object, last: object) -> None:
    body = json.dumps({"model": "m", "messages": messages if last is None else [messages, last]}).encode()
    request = MESSAGES.parse(body.replace(b"NaN", b"1").replace(b"Infinity", b"2"))

    assert request.prompt is None or isinstance(request.prompt, str)
    assert request.correlating_tool_call_id is None or isinstance(request.correlating_tool_call_id, str)
    assert all(isinstance(one, str) for one in request.references)


# -- invariant 4: one well-formed reply


@given(messages_streams(), st.data())
def test_a_stream_cut_anywhere_is_one_well_formed_reply_that_ends_with_an_error(
    stream: MessagesStream, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(stream.text) - len(stream.events[-1])), label="cut")
    received, rest, facts, turn = _run(data.draw(chunkings(stream.text[:cut])))

    assert turn.outcome == "cut"
    assert received == b"".join(stream.events[: _whole_events(stream, cut)])
    sent = [json.loads(event) for _, event in events_of(received + rest)]
    assert [event["type"] for event in sent].count("message_start") <= 1
    assert sent[-1] == {"type": "error", "error": {"type": "api_error", "message": "broke off"}}
    assert "message_stop" not in [event["type"] for event in sent]
    starts = [event["index"] for event in sent if event["type"] == "content_block_start"]
    assert starts == list(range(len(starts)))
    _check_partial(facts, stream)


def _whole_events(stream: MessagesStream, cut: int) -> int:
    ends = [len(b"".join(stream.events[:count])) for count in range(len(stream.events) + 1)]
    return max(count for count, end in enumerate(ends) if end <= cut)


def _check_partial(facts: list[Fact], stream: MessagesStream) -> None:
    """What is known of a cut stream is the beginning of what the whole one says."""
    thoughts = [fact for fact in stream.facts if isinstance(fact, Thought)]
    for fact, whole in zip((fact for fact in facts if isinstance(fact, Thought)), thoughts, strict=False):
        assert whole.content.startswith(fact.content)
    calls = [replace(fact, input=None) for fact in stream.facts if isinstance(fact, ToolUse)]
    seen = [replace(fact, input=None) for fact in facts if isinstance(fact, ToolUse)]
    assert seen == calls[: len(seen)]
    usages = [fact for fact in facts if isinstance(fact, TokenUsage)]
    assert len(usages) <= 1
    assert all(usage.partial for usage in usages)


# -- what is not decoded says nothing


@given(
    st.sampled_from(["text_delta", "signature_delta", "citations_delta"]),
    st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers() | st.none(), max_size=4),
    st.dictionaries(st.sampled_from(["usage", "x", "message"]), st.text(max_size=3), max_size=2),
    st.binary(max_size=5),
)
def test_a_delta_that_passes_undecoded_would_have_told_nothing(
    kind: str, members: dict[str, object], beside: dict[str, str], tail: bytes
) -> None:
    value = {"type": "content_block_delta", "index": 1, "delta": {**members, "type": kind}, **beside}
    value["delta"] = {"type": kind, **{name: one for name, one in members.items() if name != "type"}}
    block = b"event: content_block_delta\ndata: " + msgspec.json.encode(value) + tail + b"\n\n"
    assume(block.count(b"\n") == 3 and b"\r" not in block)
    quick, slow = _thinking(), _thinking()

    quick.read(block)
    slow.read(b": so that it is decoded\n" + block)

    readable = tuple(fact for fact in slow.facts() if isinstance(fact, Thought | ToolUse))
    assert quick.facts() == readable == ()
    assert (quick.ended(), quick.end(), quick.facts()) == (slow.ended(), slow.end(), slow.facts())


def _thinking() -> MessagesReader:
    """A reader in the midst of a thinking block of index 1."""
    reader = MessagesReader()
    reader.read(b'data: {"type":"content_block_start","index":1,"content_block":{"type":"thinking"}}\n\n')
    reader.read(b'data: {"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"Hm"}}\n\n')
    return reader


# -- requests: only the attribution differs


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A request with `metadata` of any kind that is allowed, among other members of any kind."""
    others = st.tuples(st.sampled_from(['"a"', '"\\u0061"', '"user"', '"é"']), values)
    ours = draw(st.sampled_from([[], [("user_id", '"mine"')], [("user_id", "7")]]))
    kept = draw(st.lists(others, max_size=3))
    spelt = [(spelled(name, tuple(draw(st.lists(st.booleans(), max_size=3)))), value) for name, value in ours]
    metadata = draw(st.just("null") | st.permutations([*kept, *spelt]).flatmap(object_of))
    members = [*draw(st.lists(others, max_size=3)), ('"model"', '"m"'), ('"messages"', "[]")]
    if draw(st.booleans()):
        members.append(('"metadata"', metadata))
    return draw(st.permutations(members).flatmap(object_of))


@given(bodies(), st.text(min_size=1, max_size=20))
def test_only_the_attribution_of_a_request_differs(text: str, identifier: str) -> None:
    body = text.encode()
    request = MESSAGES.parse(body)
    attributed = request.attributed_to(identifier).body()

    assert request.body() == body
    assert attributed == MESSAGES.parse(body).attributed_to(identifier).body(), "the same bytes every time"
    assert json.loads(attributed)["metadata"]["user_id"] == identifier
    before, after = _pairs(body), _pairs(attributed)
    names = [name for name, _ in before]
    assert [name for name, _ in after] == (names if "metadata" in names else [*names, "metadata"])
    assert _without(after, "metadata") == _without(before, "metadata")
    assert _without(_metadata(after), "user_id") == _without(_metadata(before), "user_id")
    assert request.attributed_to("somebody else").attributed_to(identifier).body() == attributed


def _pairs(body: bytes) -> list[tuple[str, object]]:
    _, pairs = pairs_of(body)
    return list(pairs)


def _metadata(pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
    value = dict(pairs).get("metadata")
    return list(value[1]) if isinstance(value, tuple) else []


def _without(pairs: list[tuple[str, object]], left_out: str) -> list[tuple[str, object]]:
    return [pair for pair in pairs if pair[0] != left_out]
