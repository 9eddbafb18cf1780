"""Streams that are not as the reference shows them, and what is said in the midst of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.base import Fact, Reply, StoredIds, Thought, TokenUsage, ToolUse, Turn, Unreadable
from aibridge.dialects.reading import MAX_KEPT
from aibridge.dialects.responses import RESPONSES
from aibridge.errors import Problem
from tests.dialects.responses.events import block, response

_GONE = Problem(502, "the provider went away")


def _reply(*, stored: bool = False) -> Reply:
    body = json.dumps({"model": "gpt-5.6", "stream": True, "store": stored}).encode()
    return RESPONSES.parse(body).reply(stream=True)


def _read(*events: dict[str, Any] | bytes, stored: bool = False) -> tuple[tuple[Fact, ...], Turn]:
    reply = _reply(stored=stored)
    for event in events:
        reply.receive(event if isinstance(event, bytes) else block(event))
    turn = reply.end_turn()
    return reply.facts(), turn


def _added(item: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": item, **members}


def _done(item: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item, **members}


def _delta(kind: str, delta: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "delta": delta, **members}


def _call(name: str, arguments: str = "") -> dict[str, Any]:
    return {
        "id": f"fc_{name}",
        "type": "function_call",
        "call_id": f"call_{name}",
        "name": name,
        "arguments": arguments,
    }


_ARGUMENTS = "function_call_arguments"


# -- our error in the midst of a stream ----------------------------------------------------------------


def _error_in(reply: Reply) -> dict[str, Any]:
    said = reply.fail(_GONE).decode()
    assert said.startswith("event: error\ndata: {")
    assert said.endswith("}\n\n")
    event: dict[str, Any] = json.loads(said.split("data: ", 1)[1])
    return event


def test_an_error_goes_on_with_the_numbers_of_the_stream() -> None:
    reply = _reply()
    reply.receive(block({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}))
    text = _delta("output_text", '"sequence_number":99', sequence_number=41, output_index=0)
    reply.receive(block(text) + b": keep-alive\n\n" + block({**text, "sequence_number": 42})[:-4])
    reply.end_turn()

    assert _error_in(reply) == {
        "type": "error",
        "code": "api_error",
        "message": "the provider went away",
        "param": None,
        "error": {"message": "the provider went away", "type": "api_error", "param": None, "code": None},
        "sequence_number": 42,
    }


def test_an_error_instead_of_the_terminal_event_takes_its_number() -> None:
    reply = _reply()
    reply.receive(block({"type": "response.created", "sequence_number": 3, "response": {"id": "resp_1"}}))
    reply.receive(block({"type": "response.completed", "sequence_number": 4, "response": response([])}))
    reply.end_turn()

    assert _error_in(reply)["sequence_number"] == 4


@pytest.mark.parametrize("events", [(), (b'data: {"type":"response.created"}\n\n',), (b"data: oh\n\n",)])
def test_an_error_in_a_stream_without_numbers_has_the_first(events: tuple[bytes, ...]) -> None:
    reply = _reply()
    for event in events:
        reply.receive(event)

    assert _error_in(reply)["sequence_number"] == 0


def test_the_dialects_error_event_names_the_code_of_the_problem() -> None:
    event = json.loads(RESPONSES.error_event(Problem(503, "no", code="service_unavailable")).split(b"data: ")[1])

    assert (event["code"], event["error"]["code"]) == ("service_unavailable", "service_unavailable")
    assert event["error"]["type"] == "server_error"


# -- errors of the provider ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "error_type", "message"),
    [
        ({"type": "error", "code": "overloaded", "message": "Later."}, "overloaded", "Later."),
        ({"type": "error", "error": {"type": "server_error", "code": None, "message": "No."}}, "server_error", "No."),
        ({"type": "error", "error": {"type": "t", "code": "c", "message": "No."}}, "c", "No."),
        ({"type": "", "error": {"message": "No type."}}, None, "No type."),
        ({"type": "error", "error": "just words"}, None, "just words"),
        ({"type": "error"}, None, None),
    ],
)
def test_an_error_event_says_what_went_wrong(
    event: dict[str, Any], error_type: str | None, message: str | None
) -> None:
    _, turn = _read(event)

    assert (turn.outcome, turn.error_type, turn.error_message) == ("failed", error_type, message)


@pytest.mark.parametrize("data", [b'{"code":"c","message":"m"}', b"gone", b"[]"])
def test_an_event_of_the_name_error_is_one_whatever_it_holds(data: bytes) -> None:
    facts, turn = _read(b"event: error\ndata: " + data + b"\n\n")

    assert turn.outcome == "failed"
    assert facts == ()


def test_an_error_is_kept_back_until_something_follows_it() -> None:
    reply = _reply()
    error, comment = block({"type": "error", "code": "c", "message": "m"}), b": still here\n\n"
    text = block(_delta("output_text", "on", output_index=0))

    assert reply.receive(error) == b""
    assert reply.receive(comment) == error + comment
    assert reply.receive(error + text) == error + text
    assert reply.receive(error) == b""
    assert not reply.finished
    assert reply.end_turn().outcome == "failed"
    assert reply.finish() == error


def test_what_was_said_first_stays_the_reason() -> None:
    failed = {"type": "response.failed", "response": response([], "failed", error={"code": "server_error"})}

    facts, turn = _read({"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}, failed)

    assert (turn.outcome, turn.error_type, turn.error_message) == ("failed", "rate_limit_exceeded", "Slow down.")
    assert [fact.partial for fact in facts if isinstance(fact, TokenUsage)] == [False]


def test_a_response_that_completes_after_an_error_has_failed() -> None:
    _, turn = _read({"type": "error", "code": "c"}, {"type": "response.completed", "response": response([])})

    assert turn.outcome == "failed"


# -- servers that do it otherwise ----------------------------------------------------------------------


def test_the_name_of_an_event_counts_where_its_data_has_no_type() -> None:
    event = json.dumps({"response": response([])}).encode()

    facts, turn = _read(b"event: response.completed\ndata: " + event + b"\n\n")

    assert turn == Turn(outcome="complete", response_id="resp_1")
    assert len(facts) == 1


def test_a_terminal_event_without_a_response_still_ends_the_stream() -> None:
    assert _read({"type": "response.completed", "response": None})[1].outcome == "complete"
    assert _read({"type": "response.failed"})[1].outcome == "failed"


def test_parallel_calls_are_told_apart_by_their_ids_where_there_is_no_index() -> None:
    facts, _ = _read(
        _added(_call("a")),
        _added(_call("b")),
        _delta(_ARGUMENTS, '{"n":', item_id="fc_a"),
        _delta(_ARGUMENTS, '{"n":2', item_id="fc_b"),
        _delta(_ARGUMENTS, "1}", item_id="fc_a"),
        _done(_call("a", '{"n":1}')),
    )

    assert [(fact.tool, fact.input) for fact in facts if isinstance(fact, ToolUse)] == [
        ("a", {"n": 1}),
        ("b", '{"n":2'),
    ]


def test_two_items_in_one_place_are_both_told_and_once() -> None:
    facts, _ = _read(
        _added(_call("a"), output_index=0),
        _added(_call("b"), output_index=0),
        _done(_call("a", "{}"), output_index=0),
        {"type": "response.completed", "response": response([_call("a", "{}"), _call("b", "[1]")])},
    )

    assert [(fact.tool, fact.input) for fact in facts if isinstance(fact, ToolUse)] == [("a", {}), ("b", [1])]


def test_a_displaced_item_is_told_when_the_stream_breaks_off() -> None:
    facts, _ = _read(
        _added(_call("a"), output_index=0),
        _delta(_ARGUMENTS, "[1]", output_index=0),
        _added(_call("b"), output_index=0),
    )

    assert [(fact.tool, fact.input) for fact in facts if isinstance(fact, ToolUse)] == [("a", [1]), ("b", None)]


def test_calls_come_in_the_order_of_the_output() -> None:
    facts, _ = _read(
        _added(_call("a"), output_index=0),
        _done(_call("c", "{}"), output_index=2),
        _done(_call("b", "{}"), output_index=1),
    )

    assert [fact.tool for fact in facts if isinstance(fact, ToolUse)] == ["a", "b", "c"]


def test_an_id_that_changes_is_told_each_time_it_is_seen() -> None:
    facts, _ = _read(
        _added({"id": "msg_1", "type": "message"}, output_index=0),
        _done({"id": "msg_2", "type": "message"}, output_index=0),
        {"type": "response.completed", "response": response([{"id": "msg_3", "type": "message"}])},
        stored=True,
    )

    assert [fact.ids for fact in facts if isinstance(fact, StoredIds)] == [("msg_1",), ("msg_2",), ("resp_1",)]


@pytest.mark.parametrize("odd", [[], {}, "text", 7, True, None])
def test_members_of_odd_types_are_not_read(odd: Any) -> None:
    facts, turn = _read(
        {"type": "response.created", "response": odd},
        {"type": "response.created", "response": {"id": odd, "usage": odd, "conversation": odd, "service_tier": odd}},
        _added(odd, output_index=odd),
        _added({"id": odd, "type": odd, "call_id": odd}, output_index=odd),
        _added({"id": "rs_1", "type": "reasoning"}, output_index=0),
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": odd, "delta": odd},
        _done({"type": "reasoning", "summary": odd, "content": odd}, output_index=odd),
        _done({"type": "message", "phase": "commentary", "content": [odd, {"type": odd, "text": odd}]}),
        {"type": "response.completed", "response": {"id": odd, "output": odd, "usage": odd}},
    )

    assert turn.outcome == "complete"
    kinds = {type(fact) for fact in facts}
    assert kinds <= {TokenUsage, Thought}  # an object is a usage object, a string is the text of a delta


def test_numbers_of_tokens_that_cannot_be_are_none() -> None:
    usage = {"input_tokens": -5, "input_tokens_details": {"cached_tokens": 90}, "output_tokens": "many"}

    facts, _ = _read({"type": "response.completed", "response": {**response([]), "usage": usage}})

    assert facts == (TokenUsage(response_id="resp_1", cache_read_tokens=90, extra={"service_tier": "default"}),)


def test_a_number_that_no_float_holds_does_not_hide_an_event() -> None:
    event = b'{"type":"response.completed","response":{"id":"resp_1","output":[]},"code":1e999}'

    facts, turn = _read(b"data: " + event + b"\n\n")

    assert (facts, turn) == ((), Turn(outcome="complete", response_id="resp_1"))


def test_half_a_surrogate_pair_does_not_hide_a_call() -> None:
    item = rb'{"type":"function_call","call_id":"c","name":"say","arguments":"{\"x\":\"\ud83d\"}"}'

    facts, _ = _read(b'data: {"type":"response.output_item.done","output_index":0,"item":' + item + b"}\n\n")

    assert facts == (ToolUse(response_id=None, call_id="c", tool="say", input={"x": "�"}),)


def test_json_that_is_nested_too_deeply_passes_unread() -> None:
    facts, turn = _read(b'data: {"type":"response.created","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n")

    assert facts == (Unreadable("an event of the stream is no JSON object"),)
    assert turn.outcome == "cut"


def test_what_is_kept_of_a_call_that_never_ends_is_bounded() -> None:
    piece = "x" * (MAX_KEPT // 4)

    facts, _ = _read(_added(_call("a"), output_index=0), *[_delta(_ARGUMENTS, piece, output_index=0)] * 5)

    assert [len(fact.input) for fact in facts if isinstance(fact, ToolUse) and isinstance(fact.input, str)] == [
        MAX_KEPT
    ]


def test_text_of_an_answer_is_not_kept() -> None:
    message = {"id": "msg_1", "type": "message", "phase": "final_answer", "content": []}

    facts, turn = _read(_added(message, output_index=0), _delta("output_text", "Hello", output_index=0))

    assert (facts, turn.outcome) == ((), "cut")


def test_commentary_and_an_answer_may_come_side_by_side() -> None:
    def said(number: int, text: str) -> dict[str, Any]:
        return _delta("output_text", text, output_index=number, content_index=0)

    facts, _ = _read(
        _added({"id": "msg_0", "type": "message", "phase": "commentary"}, output_index=0),
        _added({"id": "msg_1", "type": "message", "phase": "final_answer"}, output_index=1),
        said(0, "think"),
        said(1, "answer"),
        said(0, "ing"),
    )

    assert facts == (Thought(content="thinking", source="commentary"),)


def test_commentary_goes_on_when_another_one_is_done() -> None:
    first, second = ({"id": f"msg_{n}", "type": "message", "phase": "commentary", "content": []} for n in (0, 1))

    facts, _ = _read(
        _added(first, output_index=0),
        _added(second, output_index=1),
        _done(first, output_index=0),
        _delta("output_text", "still here", output_index=1, content_index=0),
    )

    assert facts == (Thought(content="still here", source="commentary"),)


def test_items_are_told_once_on_a_server_that_gives_all_the_same_place() -> None:
    calls = [_call("a", "{}"), _call("b", "[1]")]

    facts, _ = _read(
        *[_done(call, output_index=0) for call in calls],
        {"type": "response.completed", "response": response(calls)},
    )

    assert [fact.tool for fact in facts if isinstance(fact, ToolUse)] == ["a", "b"]
