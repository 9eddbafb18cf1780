"""What holds for every mix of our calls, the client's and the provider's, in every order and in any pieces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from aibridge.dialects.base import Thought, TokenUsage, ToolUse
from aibridge.dialects.responses.request import parse
from aibridge.dialects.turns import Hidden
from tests.dialects.responses.conversations import WRITERS, Reply, Write, conversations, histories, replies, results_of
from tests.dialects.responses.events import Json
from tests.dialects.responses.odd import odd_blocks
from tests.dialects.responses.provider import TOOLS, Played, held_under, is_ours, play, request_of, result_of
from tests.dialects.sdks import openai_reading
from tests.strategies.chunks import chunkings
from tests.transcripts.stories import Story, stories


def _asking(given: Any, **members: Any) -> Any:
    return request_of(**{"input": given, "store": False, **members}).offering(TOOLS)


def _visible(reply: Reply) -> list[Json]:
    return [item for turn in reply for item in turn if not is_ours(item)]


@given(reply=replies(), pieces=st.integers(1, 6), data=st.data())
def test_the_client_sees_one_well_formed_response_whatever_the_chunks(
    reply: Reply, pieces: int, data: st.DataObject
) -> None:
    def chunks(sent: bytes) -> Iterable[bytes]:
        return data.draw(chunkings(sent, cuts=5))

    played = play(_asking("hello"), reply, pieces=pieces, chunks=chunks)

    assert played == play(_asking("hello"), reply, pieces=pieces)
    events = played.events()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [e["type"] for e in events if "response" in e] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert {event["response"]["id"] for event in events if "response" in event} == {"resp_1"}
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in done] == list(range(len(done)))
    assert [event["item"] for event in done] == events[-1]["response"]["output"] == _visible(reply)
    assert b"bmcp_" not in played.got


@given(reply=replies(), stream=st.booleans(), store=st.booleans())
def test_every_call_is_told_and_ours_are_answered_once(reply: Reply, stream: bool, store: bool) -> None:
    played = play(_asking("hello", store=store), reply, stream=stream)

    calls = [item for turn in reply for item in turn if item["type"].endswith("_call")]
    told = [fact.call_id for fact in played.facts if isinstance(fact, ToolUse)]
    ours = [call.call_id for turn in played.turns for call in turn.calls]
    assert Counter(told) == Counter(item.get("call_id", item["id"]) for item in calls if not is_ours(item))
    assert ours == [item["call_id"] for item in calls if is_ours(item)]
    assert [fact.response_id for fact in played.facts if isinstance(fact, TokenUsage)] == [
        f"resp_{number + 1}" for number in range(len(reply))
    ]
    thoughts = [item["summary"][0]["text"] for item in _visible(reply) if item["type"] == "reasoning"]
    assert [fact.content for fact in played.facts if isinstance(fact, Thought)] == list(filter(None, thoughts))
    _answered_once(played)


@given(reply=replies())
def test_a_blocking_answer_holds_what_a_stream_ends_with(reply: Reply) -> None:
    streaming, blocking = (play(_asking("hello"), reply, stream=stream) for stream in (True, False))

    assert blocking.response() == streaming.response()
    assert [json.loads(one) for one in blocking.asked] == [json.loads(one) for one in streaming.asked]
    assert blocking.turns[-1].mixed == streaming.turns[-1].mixed
    Response.model_validate_json(blocking.got)


@given(reply=replies(), pieces=st.integers(1, 6))
def test_the_sdk_accumulates_what_the_client_gets(reply: Reply, pieces: int) -> None:
    played = play(_asking("hello"), reply, pieces=pieces)

    with openai_reading(played.got) as client, client.responses.stream(model="m", input="x") as stream:
        final = stream.get_final_response()

    assert final.id == "resp_1"
    assert [item["id"] for item in final.model_dump()["output"]] == [item["id"] for item in _visible(reply)]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.strip("_"))
@given(conversation=conversations(), store=st.booleans(), stream=st.booleans())
def test_a_provider_is_asked_as_by_a_client_that_was_shown_everything(
    write: Write, conversation: list[Reply], store: bool, stream: bool
) -> None:
    held: list[Hidden] = []
    seen: list[Json] = []
    whole: list[Json] = []
    before: list[Json] = []
    for number, reply in enumerate(conversation):
        words = {"role": "user", "content": [{"type": "input_text", "text": f"question {number}"}]}
        seen.append(words)
        whole.append(words)
        request = _asking(seen, store=store)
        request = request.recalling(held_under(request.anchors, held))

        played = play(request, reply, first=10 * number, stream=stream)

        assert played.inputs() == whole
        assert whole[: len(before)] == before
        _answered_once(played)
        before = list(whole)
        if played.hidden is not None:
            held.append(played.hidden)
        written = histories(reply, write, stored=store)
        results = results_of(reply)
        seen += [*written.seen, *results]
        whole += [*written.whole, *results]


@given(conversation=conversations())
def test_a_history_of_which_nothing_is_held_is_left_alone(conversation: list[Reply]) -> None:
    seen = [item for reply in conversation for item in (*_visible(reply), *results_of(reply))]
    request = _asking(seen)
    other = play(
        _asking("hello"), [[{**item, "id": f"other{number}"} for number, item in enumerate(_visible(conversation[0]))]]
    )

    assert request.recalling({}) is request
    assert request.recalling(held_under(request.anchors, [other.hidden] if other.hidden else [])) is request


@given(conversation=conversations(), stream=st.booleans())
def test_a_chain_goes_on_from_the_last_turn_with_the_results_that_it_lacks(
    conversation: list[Reply], stream: bool
) -> None:
    held: list[Hidden] = []
    first: dict[str, Any] = {}
    last_id = ""
    known: list[Json] = []
    kept: list[Json] = []  # at the provider, under the last id
    for number, reply in enumerate(conversation):
        words = {"role": "user", "content": f"question {number}"}
        request = _asking([*known, words], store=True, **first)
        if first:
            request = request.recalling(held_under(request.anchors, held))
            moved = dict(one.upstream_id for one in held if one.upstream_id is not None)
            last_id = moved.get(first["previous_response_id"], first["previous_response_id"])
            request = request.renamed(last_id) if last_id != first["previous_response_id"] else request

        played = play(request, reply, first=10 * number, stream=stream)

        asked = json.loads(played.asked[0])
        if first:
            assert asked["previous_response_id"] == last_id
            assert played.response()["previous_response_id"] == first["previous_response_id"]
        kept += asked["input"]
        _each_answered_once(kept)
        kept = [*kept[: -len(asked["input"])], *played.inputs(-1), *reply[-1]]
        known = results_of(reply)
        first = {"previous_response_id": f"resp_{10 * number}"}
        held += [played.hidden] if played.hidden is not None else []


@given(turns=st.lists(st.lists(odd_blocks, max_size=5), min_size=1, max_size=3), data=st.data())
def test_whatever_a_provider_sends_in_several_turns_says_the_same_in_any_chunks(
    turns: list[list[bytes]], data: st.DataObject
) -> None:
    def run(cut: bool) -> tuple[object, ...]:
        reply: Any = _asking("hello").reply(stream=True)
        seen: list[object] = []
        for number, blocks in enumerate(turns):
            if number:
                reply.next_turn()
            sent = b"".join(blocks)
            chunks = data.draw(chunkings(sent, cuts=4)) if cut else [sent]
            received = b"".join(map(reply.receive, chunks))
            turn = reply.end_turn()
            reply.answer(turn, [result_of(call.call_id) for call in turn.calls])
            seen += [received, turn, reply.facts(), reply.hidden()]
        return (*seen, reply.finish())

    assert run(cut=True) == run(cut=False)


@pytest.mark.parametrize("story", stories("responses"), ids=lambda story: story.name)
def test_a_story_without_calls_of_ours_is_told_as_without_tools(story: Story) -> None:
    members = {name: value for name, value in json.loads(story.request).items() if name != "tool_choice"}
    request = parse(json.dumps(members).encode()).offering(TOOLS)
    reply = request.reply(stream=story.stream)

    received = reply.receive(story.upstream)
    turn = reply.end_turn()

    assert request.offers
    assert list(reply.facts()) == list(story.facts)
    assert received + (b"" if turn.outcome == "cut" else reply.finish()) == story.client
    assert {name: getattr(turn, name) for name in story.turn} == dict(story.turn)


def _answered_once(played: Played) -> None:
    for turn in range(len(played.asked)):
        _each_answered_once(played.inputs(turn) if isinstance(json.loads(played.asked[turn])["input"], list) else [])


def _each_answered_once(items: list[Json]) -> None:
    calls = Counter(item["call_id"] for item in items if item.get("type") == "function_call")
    answers = Counter(item["call_id"] for item in items if item.get("type") == "function_call_output")
    assert set(answers.values()) <= {1}
    assert calls.keys() <= answers.keys()
