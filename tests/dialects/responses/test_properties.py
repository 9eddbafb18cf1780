"""What holds for every stream and every request of this dialect (invariants 1, 2 and 4 of the architecture)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Reply, StoredIds, Thought, TokenUsage, ToolUse, Turn
from aibridge.dialects.responses import RESPONSES
from aibridge.errors import Problem
from tests.dialects.responses.events import outputs, response, stream_of
from tests.dialects.responses.odd import json_values, odd_blocks

_STREAMED = b'{"model":"gpt-5.6","stream":true,"input":"hello"}'
_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


@given(blocks=st.lists(odd_blocks, max_size=8), data=st.data())
def test_whatever_a_provider_sends_arrives_unchanged_and_in_any_chunks_says_the_same(
    blocks: list[bytes], data: st.DataObject
) -> None:
    sent = b"".join(blocks)

    whole = _run(sent, [])
    pieces = _run(sent, data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))

    assert pieces == whole
    received, finished, _, turn = whole
    assert sent.startswith(received)
    if turn.outcome != "cut":
        assert received + finished == sent


@given(items=outputs, status=st.sampled_from(["completed", "incomplete", "failed"]), pieces=st.integers(1, 20))
def test_a_stream_tells_what_the_whole_body_tells(items: list[dict[str, Any]], status: str, pieces: int) -> None:
    whole = response(items, status, error={"code": "server_error", "message": "no"} if status == "failed" else None)

    body = RESPONSES.parse(_STREAMED).reply(stream=False)
    body.receive(json.dumps(whole).encode())
    turn = body.end_turn()
    facts = body.facts()
    _, _, streamed, streamed_turn = _run(b"".join(stream_of(whole, pieces=pieces)), [])

    assert streamed_turn == turn
    for kind in (Thought, ToolUse, TokenUsage):
        assert [fact for fact in streamed if isinstance(fact, kind)] == [f for f in facts if isinstance(f, kind)]
    assert set(_stored(streamed)) == set(_stored(facts))
    assert len(_stored(streamed)) == len(set(_stored(streamed)))


@given(items=outputs, cut=st.integers(0, 60), pieces=st.integers(1, 5))
def test_a_cut_stream_tells_a_part_of_the_whole_and_ends_in_one_numbered_error(
    items: list[dict[str, Any]], cut: int, pieces: int
) -> None:
    blocks = stream_of(response(items), pieces=pieces)
    _, _, all_facts, _ = _run(b"".join(blocks), [])
    reply = _reply()

    seen = b"".join(reply.receive(one) for one in blocks[: min(cut, len(blocks) - 1)])
    facts = list(reply.facts())
    turn = reply.end_turn()
    facts += reply.facts()
    seen += reply.fail(Problem(502, "the provider went away"))

    events = [json.loads(one.split(b"data: ", 1)[1]) for one in seen.split(b"\n\n") if one]
    assert turn.outcome == "cut"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events if event["type"] in (*_TERMINAL, "error")] == ["error"]
    assert not [fact for fact in facts if isinstance(fact, TokenUsage)]
    calls = [fact.call_id for fact in facts if isinstance(fact, ToolUse)]
    assert calls == [fact.call_id for fact in all_facts if isinstance(fact, ToolUse)][: len(calls)]
    thoughts = [fact.content for fact in all_facts if isinstance(fact, Thought)]
    told = [fact.content for fact in facts if isinstance(fact, Thought)]
    assert len(told) <= len(thoughts)
    assert all(full.startswith(part) for full, part in zip(thoughts, told, strict=False))


@given(items=outputs, pieces=st.integers(1, 5))
def test_an_id_is_told_before_the_client_can_see_it(items: list[dict[str, Any]], pieces: int) -> None:
    reply, told = _reply(), set[str]()
    for one in stream_of(response(items), pieces=pieces):
        shown = reply.receive(one)
        told.update(_stored(reply.facts()))
        if shown:
            event = json.loads(shown.split(b"data: ", 1)[1])
            ids = {event.get("item_id"), event.get("item", {}).get("id"), event.get("response", {}).get("id")}
            assert ids - {None} <= told


_names = st.text(max_size=6) | st.sampled_from(["user", "safety_identifier", "store", "input", "metadata", "include"])
_spaces = st.sampled_from(["", " ", "\n\t"])


@given(members=st.dictionaries(_names, json_values, max_size=6), space=_spaces, data=st.data())
def test_only_the_attribution_of_a_request_changes(members: dict[str, Any], space: str, data: st.DataObject) -> None:
    members = {**members, "model": "gpt-5.6", "stream": True}
    order = data.draw(st.permutations(list(members)))
    texts = [f"{space}{json.dumps(name)}{space}:{space}{json.dumps(members[name])}{space}" for name in order]
    body = ("{" + ",".join(texts) + "}").encode()

    attributed = RESPONSES.parse(body).attributed_to("someone else").attributed_to("person-1")

    ours = {"user", "safety_identifier"}
    expected = {**members, "safety_identifier": "person-1", **({"user": "person-1"} if "user" in members else {})}
    assert json.loads(attributed.body()) == expected
    for name, text in zip(order, texts, strict=True):
        if name not in ours:
            assert text.strip().encode() in attributed.body()
    assert RESPONSES.parse(attributed.body()).attributed_to("person-1").body() == attributed.body()
    assert RESPONSES.parse(body).body() == body


def _reply() -> Reply:
    return RESPONSES.parse(_STREAMED).reply(stream=True)


def _run(sent: bytes, cuts: Sequence[int]) -> tuple[bytes, bytes, tuple[Fact, ...], Turn]:
    reply = _reply()
    edges = [0, *sorted(cuts), len(sent)]
    received, facts = b"", list[Fact]()
    for start, end in itertools.pairwise(edges):
        received += reply.receive(sent[start:end])
        facts += reply.facts()
    turn = reply.end_turn()
    facts += reply.facts()
    return received, reply.finish() if turn.outcome != "cut" else b"", tuple(facts), turn


def _stored(facts: Sequence[Fact]) -> list[str]:
    return [one for fact in facts if isinstance(fact, StoredIds) for one in fact.ids]
