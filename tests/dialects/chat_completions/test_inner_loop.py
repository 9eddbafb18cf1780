"""Turns with calls of ours, as servers of many kinds send them, and what the client gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.base import StoredIds, TokenUsage, Turn
from aibridge.dialects.chat_completions.streamed_turn import MAX_TURN
from aibridge.errors import Problem
from aibridge.tools import Image, Text, ToolResult
from aibridge.wire.sse import MAX_EVENT
from tests.dialects.chat_completions.turns import TOOLSET, Call, Script, chunks_in, parsed, results_of, run
from tests.dialects.sdks import openai_reading

_DONE = b"data: [DONE]\n\n"
_LOOK = Call("call_look_0123456789", "bmcp_demo_look", '{"at": 1}')
_READ = Call("call_read_0123456789", "read_file", '{"path": "a"}')


def _reply(**more: Any) -> Any:
    body = {"model": "m-1", "stream": True, "messages": [], "stream_options": {"include_usage": True}, **more}
    return parsed(json.dumps(body).encode()).offering(TOOLSET).asking_usage().reply(stream=body["stream"])


def _chunk(delta: object, finish: object = None, **more: object) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c1", "choices": choices, **more}).encode() + b"\n\n"


def _piece(index: object, call_id: str | None = None, name: str | None = None, arguments: str | None = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in piece.items() if value is not None}


def _calls(*pieces: Any) -> bytes:
    return _chunk({"tool_calls": list(pieces)})


def _deltas(client: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks_in(client) for choice in chunk["choices"]]


def _answer(reply: Any) -> Turn:
    turn = reply.end_turn()
    assert isinstance(turn, Turn)
    assert turn.runnable
    reply.answer(turn, results_of(turn.calls))
    return turn


# -- what a turn's chunks become ---------------------------------------------------------------------


def test_text_and_a_finish_reason_in_one_chunk_are_not_lost_with_the_intermediate_end() -> None:
    reply = _reply()
    first = reply.receive(_calls(_piece(0, "c1", "bmcp_demo_look", "{}")))
    out = reply.receive(_chunk({"content": "I look."}, "tool_calls"))

    assert first == b""
    assert chunks_in(out) == [
        {"id": "c1", "choices": [{"index": 0, "delta": {"content": "I look."}, "finish_reason": None}]}
    ]
    assert reply.receive(_DONE) == b""
    assert reply.finish() == _chunk({}, "stop") + _DONE


def test_a_whole_turn_in_one_chunk_as_gemini_sends_it() -> None:
    reply = _reply()
    call = {
        **_piece(0, "c1", "bmcp_demo_look", "{}"),
        "type": "function",
        "extra_content": {"google": {"thought_signature": "s="}},
    }
    out = reply.receive(_chunk({"role": "assistant", "content": "Hm.", "tool_calls": [call]}, "stop") + _DONE)
    turn = _answer(reply)

    assert _deltas(out) == [{"role": "assistant", "content": "Hm."}]
    assert json.loads(turn.said) == {
        "role": "assistant",
        "content": "Hm.",
        "tool_calls": [
            {
                "extra_content": {"google": {"thought_signature": "s="}},
                "id": "c1",
                "type": "function",
                "function": {"name": "bmcp_demo_look", "arguments": "{}"},
            }
        ],
    }
    reply.next_turn()
    assert _deltas(reply.receive(_chunk({"role": "assistant", "content": "So."}))) == [{"content": "\n\nSo."}]


def test_what_we_do_not_know_is_said_again_as_it_came() -> None:
    reply = _reply()
    thought = {"type": "reasoning.text", "index": 0, "format": "v1", "id": "t"}
    call = {
        "index": 0,
        "id": "c1",
        "function": {"name": "bmcp_demo_look", "arguments": "", "strict": True},
        "mark": "m",
    }
    deltas = [
        {"role": "assistant", "content": "", "refusal": None, "reasoning_opaque": "abc", "score": 1},
        {"role": "assistant", "reasoning_details": [{**thought, "text": "I "}], "score": 2},
        {"reasoning_details": [{**thought, "text": "see", "signature": "s"}, {"index": 1, "type": "x"}, {"data": 1}]},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}], "notes": ["a"]},
        {"notes": ["b"], "empty": []},
    ]
    for delta in deltas:
        reply.receive(_chunk(delta))
    reply.receive(_chunk({}, "tool_calls") + _DONE)

    assert json.loads(_answer(reply).said) == {
        "role": "assistant",
        "content": None,
        "reasoning_opaque": "abc",
        "score": 2,
        "reasoning_details": [
            {**thought, "text": "I see", "signature": "s"},
            {"index": 1, "type": "x"},
            {"data": 1},
        ],
        "notes": ["a", "b"],
        "tool_calls": [
            {
                "mark": "m",
                "id": "c1",
                "type": "function",
                "function": {"name": "bmcp_demo_look", "arguments": "{}", "strict": True},
            }
        ],
    }


def test_a_name_that_comes_in_pieces_is_waited_for() -> None:
    reply = _reply()
    begun = _calls(_piece(0, "c1", "b"))

    assert reply.receive(begun) == b""
    assert reply.receive(_chunk({"content": "text"})) == b""
    assert reply.receive(_calls(_piece(0, None, "mcp_x", ""))) == _chunk({"content": "text"})
    assert reply.receive(_calls(_piece(1, "c2", "b"))) == b""
    out = reply.receive(_calls(_piece(1, None, "ash", "{}")))
    assert [delta["tool_calls"] for delta in _deltas(out)] == [
        [_piece(0, "c2", "b")],
        [_piece(0, None, "ash", "{}")],
    ]
    reply.receive(_chunk({}, "tool_calls") + _DONE)
    turn = reply.end_turn()
    assert [(call.call_id, call.tool_id) for call in turn.calls] == [("c1", "bmcp_x")]
    assert turn.mixed


def test_a_name_that_never_comes_is_not_ours() -> None:
    reply = _reply()
    sent = _calls(_piece(0, "c1", None, "{}")) + _chunk({}, "tool_calls")
    out = reply.receive(sent) + reply.receive(_DONE)
    turn = reply.end_turn()

    assert turn.calls == ()
    assert out + reply.finish() == sent + _DONE


def test_a_name_that_never_comes_is_shown_at_the_end_of_a_stream_without_done() -> None:
    reply = _reply()
    sent = _calls(_piece(0, "c1", None, "{}")) + _chunk({}, "tool_calls")
    out = reply.receive(sent)

    assert reply.end_turn().outcome == "complete"
    assert out + reply.finish() == sent


def test_calls_of_the_clients_move_up() -> None:
    reply = _reply()
    out = reply.receive(
        _calls(_piece(0, "c0", "read_file", "{}"))
        + _calls(_piece(1, "c1", "bmcp_demo_look", "{}"), _piece(2, "c2", "read_file", ""))
        + _calls(_piece(2, None, None, "{}"), _piece(1, None, None, ""))
    )

    assert [delta.get("tool_calls") for delta in _deltas(out)] == [
        [_piece(0, "c0", "read_file", "{}")],
        [_piece(1, "c2", "read_file", "")],
        [_piece(1, None, None, "{}")],
    ]


def test_what_is_no_call_among_calls_shows_none_of_ours() -> None:
    for stream in (True, False):
        reply = _reply(stream=stream)
        calls: list[Any] = ["x", None, _piece(0, "c1", "bmcp_demo_look", "{}"), _piece(1, "c2", "read_file", "{}")]
        choice = {"index": 0, "finish_reason": "tool_calls"}
        whole = {"id": "c1", "choices": [{**choice, "message": {"tool_calls": calls}}]}
        chunk = {"id": "c1", "choices": [None, {**choice, "delta": {"tool_calls": calls}}]}
        out = reply.receive(
            json.dumps(whole).encode() if not stream else b"data: " + json.dumps(chunk).encode() + b"\n\n"
        )
        out += reply.receive(_DONE) if stream else b""
        turn = reply.end_turn()
        out += reply.finish()

        assert [call.tool_id for call in turn.calls] == ["bmcp_demo_look"]
        assert b"bmcp_" not in out
        assert b"read_file" in out


def test_the_clients_bytes_stay_where_none_of_ours_was_called() -> None:
    reply = _reply()
    sent = [
        _chunk({"role": "assistant", "content": None}, usage=None),
        _calls(_piece(3, "c0", "read_file", "{")),
        b": comment\n\n",
        _calls(_piece(3, None, None, "}")),
        b"data: no json\n\n",
        _chunk({}, "tool_calls"),
    ]
    out = b"".join([reply.receive(event) for event in [*sent, _DONE]])

    assert out + (reply.end_turn() and reply.finish()) == b"".join(sent) + _DONE


def test_a_finish_reason_with_every_chunk_is_no_end_of_the_reply() -> None:
    reply = _reply()
    out = reply.receive(_calls(_piece(0, "c1", "bmcp_demo_look", "{}")) + _chunk({"content": "a"}, "stop"))
    out += reply.receive(_chunk({"content": "b"}, "stop") + _chunk({}, "stop") + _DONE)
    _answer(reply)
    reply.next_turn()
    out += reply.receive(_chunk({"content": "c"}) + _chunk({}, "stop") + _DONE)
    reply.end_turn()
    chunks = chunks_in(out + reply.finish())

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "ab\n\nc"
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]


def test_data_in_several_lines_and_half_a_surrogate_pair_are_shown_without_our_call() -> None:
    reply = _reply()
    call = json.dumps(_piece(0, "c1", "bmcp_demo_look", "{}")).encode()
    out = reply.receive(
        b'data: {"id":"c1",\ndata: "choices":[{"index":0,"delta":{"content":"a\\ud83d","tool_calls":[%b]}}]}\n\n' % call
    )

    assert b"bmcp_" not in out
    assert json.loads(out.partition(b"data: ")[2])["choices"][0]["delta"]["content"][:1] == "a"


def test_usage_beside_choices_and_cumulative_usage_have_the_output_of_all_turns() -> None:
    reply = _reply()
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    reply.receive(_calls(_piece(0, "c1", "bmcp_demo_look", "{}")) + _chunk({}, "stop", usage=usage) + _DONE)
    _answer(reply)
    facts = [fact for fact in reply.facts() if isinstance(fact, TokenUsage)]
    reply.next_turn()
    out = reply.receive(
        _chunk({"content": "a"}, usage={**usage, "completion_tokens": 1, "total_tokens": 6, "cost": 0.5})
    )

    assert [(fact.input_tokens, fact.output_tokens) for fact in facts] == [(5, 3)]
    assert chunks_in(out)[0]["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9, "cost": 0.5}


def test_ids_that_are_missing_are_made_up_for_the_provider_alone() -> None:
    for stream in (True, False):
        reply = _reply(stream=stream)
        call = {"type": "function", "function": {"name": "bmcp_demo_look", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call, call]}
        if stream:
            reply.receive(_chunk({"tool_calls": [{**call, "index": 0}, {**call, "index": 1}]}, "tool_calls") + _DONE)
        else:
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            reply.receive(json.dumps({"id": "c1", "choices": [choice]}).encode())
        turn = _answer(reply)

        assert [call.call_id for call in turn.calls] == ["call_0", "call_1"]
        assert [call["id"] for call in json.loads(turn.said)["tool_calls"]] == ["call_0", "call_1"]


# -- what is not run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("finish", ["length", "content_filter", None])
def test_a_truncated_turn_is_not_run_and_ends_as_the_provider_ended_it(stream: bool, finish: str | None) -> None:
    reply = _reply(stream=stream)
    script = Script("r-0", text=("Well",), calls=(_LOOK,), finish=finish or "x")
    out = reply.receive(b"".join(script.stream()) if stream else script.body())
    turn = reply.end_turn()
    out += reply.finish()

    assert not turn.runnable
    assert [call.unrunnable is not None for call in turn.calls] == [True]
    assert reply.hidden() is None
    assert b"bmcp_" not in out
    finishes = [
        c["finish_reason"] for chunk in (chunks_in(out) if stream else [json.loads(out)]) for c in chunk["choices"]
    ]
    assert finishes[-1] == script.finish


@pytest.mark.parametrize("stream", [True, False])
def test_calls_that_may_not_go_on_leave_an_ordinary_end(stream: bool) -> None:
    """The cap of turns: the model calls all the same, and nobody asks again."""
    exchange = run(
        _request(stream), [Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls")] * 3, stream=stream, most=2
    )

    chunks = chunks_in(exchange.client) if stream else [json.loads(exchange.client)]
    assert [json.loads(body).get("tool_choice") for body in exchange.asked] == [None, "none"]
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["stop"]
    assert b"bmcp_" not in exchange.client


def _request(stream: bool, **more: Any) -> Any:
    body = {"model": "m-1", "stream": stream, "messages": [{"role": "user", "content": "Hi"}], **more}
    return parsed(json.dumps(body).encode()).offering(TOOLSET)


def test_a_stream_that_breaks_off_in_a_later_turn_keeps_what_was_held() -> None:
    reply = _reply()
    reply.receive(b"".join(Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls").stream()))
    _answer(reply)
    reply.next_turn()
    out = reply.receive(Script("r-1", ("Two.",)).stream()[0] + Script("r-1", ("Two.",)).stream()[1] + b'data: {"id":')
    turn = reply.end_turn()

    assert turn.outcome == "cut"
    assert _deltas(out) == [{"content": "\n\nTwo."}]
    assert b"bmcp_" in (reply.hidden() or pytest.fail("nothing is held")).content
    assert json.loads(reply.fail(Problem(502, "broke off"))[6:])["error"]["message"] == "broke off"


def test_a_provider_that_fails_in_a_later_turn_says_so_itself() -> None:
    reply = _reply()
    reply.receive(b"".join(Script("r-0", calls=(_LOOK,), finish="tool_calls").stream()))
    _answer(reply)
    reply.next_turn()
    error = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    out = reply.receive(error)
    turn = reply.end_turn()

    assert (turn.outcome, turn.error_message) == ("failed", "overloaded")
    assert out + reply.finish() == error


@pytest.mark.parametrize("done", [True, False])
def test_an_error_between_two_turns_follows_no_end(done: bool) -> None:
    reply = _reply()
    out = reply.receive(b"".join(Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls").stream(done=done)))
    _answer(reply)
    told = reply.fail(Problem(504, "the tools took too long"))

    assert [delta.get("content") for delta in _deltas(out)] == ["", "One."]
    assert json.loads(told[6:])["error"]["message"] == "the tools took too long"


def test_a_turn_that_is_too_large_to_be_said_again_is_not_followed_by_another() -> None:
    reply = _reply()
    half = MAX_EVENT - 1024
    reply.receive(_calls(_piece(0, "c1", "bmcp_demo_look", "{}")))
    for _ in range(MAX_TURN // half + 1):
        assert len(reply.receive(_chunk({"content": "a" * half}))) > half
    reply.receive(_chunk({}, "tool_calls") + _DONE)
    turn = reply.end_turn()

    assert len(turn.calls) == 1
    assert not turn.runnable
    assert reply.finish() == _chunk({}, "stop") + _DONE


def test_an_event_that_is_too_large_to_be_read_cuts_the_turn() -> None:
    """It may be a call of ours."""
    reply = _reply()

    assert reply.receive(_chunk({"content": "a" * MAX_EVENT})) == b""
    assert reply.end_turn().outcome == "cut"


def test_every_turns_stored_id_is_told() -> None:
    reply = _reply(store=True)
    reply.receive(b"".join(Script("r-0", calls=(_LOOK,), finish="tool_calls").stream()))
    _answer(reply)
    facts = list(reply.facts())
    reply.next_turn()
    reply.receive(b"".join(Script("r-1", ("So.",)).stream()))
    facts += reply.facts()

    assert [fact.ids for fact in facts if isinstance(fact, StoredIds)] == [("r-0",), ("r-1",)]
    assert reply.response_id == "r-0"


# -- texts and results -------------------------------------------------------------------------------


def test_an_answer_that_is_to_be_json_has_no_other_text_before_it() -> None:
    scripts = [Script("r-0", ("Let me see.",), calls=(_LOOK,), finish="tool_calls"), Script("r-1", ("{}",))]
    wanted = {"response_format": {"type": "json_object"}}

    whole = json.loads(run(_request(False, **wanted), scripts, stream=False).client)
    streamed = run(_request(True, **wanted), scripts, stream=True).client

    assert whole["choices"][0]["message"]["content"] == "{}"
    assert "".join(delta.get("content") or "" for delta in _deltas(streamed)) == "Let me see.{}"


def test_results_are_words_and_a_failed_call_says_so() -> None:
    request = _request(False)
    reply = request.reply(stream=False)
    reply.receive(Script("r-0", calls=(_LOOK, _LOOK, _LOOK), finish="tool_calls").body())
    turn = reply.end_turn()
    results = [
        ToolResult(call_id=_LOOK.id, content=(Text("a"), Image("image/png", "aGk="), Text("b"))),
        ToolResult(call_id=_LOOK.id, content=(Text("no such place"),), error="isError"),
        ToolResult(call_id=_LOOK.id, content=(), error="timed out"),
    ]
    body = json.loads(request.continued(turn, results).body())

    told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    assert told[0].startswith("a\n[an image of type image/png")
    assert told[0].endswith("\nb")
    assert told[1:] == ["Error: no such place", "Error: timed out"]


@pytest.mark.parametrize("calls", [(), (_READ,), (_LOOK, _READ)], ids=["text", "a call", "a mixed turn"])
def test_the_sdks_own_stream_takes_the_reply(calls: tuple[Call, ...]) -> None:
    scripts = [
        Script("r-0", ("Let me see.",), ("I think",), (_LOOK,), "tool_calls"),
        Script("r-1", ("So.",), ("and so",), calls, "tool_calls" if calls else "stop"),
    ]
    client = run(_request(True, stream_options={"include_usage": True}), scripts, stream=True).client
    with openai_reading(client) as sdk, sdk.chat.completions.stream(model="m-1", messages=[]) as stream:
        completion = stream.get_final_completion()

    message = completion.choices[0].message
    assert message.content == "Let me see.\n\nSo."
    assert [call.id for call in message.tool_calls or ()] == [_READ.id] * bool(calls)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3 + 6
