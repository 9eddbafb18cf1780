"""Hidden turns put back into histories: written by clients in their ways, repeated, interrupted, or no longer there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from aibridge.dialects.responses import RESPONSES_COMPACT
from aibridge.dialects.responses.request import ResponsesRequest, parse
from aibridge.dialects.turns import Hidden, LoopingReply
from tests.dialects.responses.events import Json
from tests.dialects.responses.provider import (
    TOOLS,
    answer_item,
    answered,
    call,
    held_under,
    message,
    play,
    reasoning,
    request_of,
    result_of,
    streamed,
)

_OURS = call("call_0", "bmcp_wiki_search", '{"q":"x"}')


def _user(words: str) -> Json:
    return {"role": "user", "content": words}


def _said(words: str) -> Json:
    return {"role": "assistant", "content": words}


def _result(call_id: str) -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


def _held(given: Any, turns: Sequence[Sequence[Json]], **members: Any) -> Hidden:
    request = request_of(**{"input": given, "store": False, **members}).offering(TOOLS)
    hidden = play(request, turns).hidden
    assert hidden is not None
    return hidden


def _recalled(given: Any, *held: Hidden, **members: Any) -> list[Json]:
    request = request_of(**{"input": given, "store": False, **members})
    return _input_of(request.recalling(held_under(request.anchors, held)))


def _input_of(request: ResponsesRequest) -> list[Json]:
    found: list[Json] = json.loads(request.body())["input"]
    return found


# -- how clients write ---------------------------------------------------------------------------------


_TWO = [[message("msg_1", "Let me look."), _OURS], [message("msg_2", "It is here.")]]


@pytest.mark.parametrize("separator", ["", "\n", "\n\n", " "])
def test_messages_that_a_client_made_into_one_come_back_as_they_were(separator: str) -> None:
    history = [_user("where?"), _said(f"Let me look.{separator}It is here."), _user("thanks")]

    recalled = _recalled(history, _held("where?", _TWO))

    assert recalled == [history[0], *_TWO[0], answer_item("call_0"), *_TWO[1], history[2]]


def test_a_message_that_a_client_made_into_two_keeps_its_bytes() -> None:
    two: list[Json] = [{"type": "output_text", "text": one, "annotations": []} for one in ("It is ", "here.")]
    final: Json = {"id": "msg_1", "type": "message", "role": "assistant", "content": two}
    pieces = [{**final, "content": [part]} for part in two]

    recalled = _recalled([_user("where?"), *pieces, _user("thanks")], _held("where?", [[_OURS], [final]]))

    assert recalled == [_user("where?"), _OURS, answer_item("call_0"), *pieces, _user("thanks")]


def test_arguments_that_a_client_wrote_anew_are_the_same_call() -> None:
    own = call("c_own", "shell", '{"a": 1, "b": [2]}')
    history = [_user("go"), {**own, "arguments": '{"b":[2],"a":1}', "id": None}, _result("c_own")]

    recalled = _recalled(history, _held("go", [[_OURS, own]]))

    assert recalled == [history[0], _OURS, history[1], answer_item("call_0"), history[2]]


def test_results_that_follow_each_call_stay_where_they_are() -> None:
    one, two = call("c_1", "shell"), call("c_2", "shell", '{"n":2}')
    history = [_user("go"), one, _result("c_1"), two, _result("c_2")]

    recalled = _recalled(history, _held("go", [[one, _OURS, two]]))

    assert recalled == [_user("go"), one, _OURS, _result("c_1"), two, answer_item("call_0"), _result("c_2")]


def test_what_the_client_wrote_keeps_its_bytes() -> None:
    hidden = _held("where?", _TWO)
    body = b'{"model":"m", "input" : [ {"role" : "user","content":"where?"} ,\n {"content":"It is here.", "role":"assistant"} ]}'
    request = parse(body)

    recalled = request.recalling(held_under(request.anchors, [hidden])).body()

    start, end = body.split(b" ,\n ")
    assert recalled.startswith(start + b" ,\n {")
    assert recalled.endswith(b"," + end)
    assert recalled == request.recalling(held_under(request.anchors, [hidden])).body()


# -- what repeats --------------------------------------------------------------------------------------


def test_calls_of_the_same_id_and_arguments_go_to_their_own_replies() -> None:
    own = call("call_1", "shell")
    first = _held("go", [[_OURS, own]])
    second = _held("go", [[{**_OURS, "arguments": '{"q":"y"}'}, own]])
    history = [_user("go"), own, _result("call_1"), own, _result("call_1")]

    recalled = _recalled(history, first, second)

    asked = [item["arguments"] for item in recalled if item.get("name") == "bmcp_wiki_search"]
    assert asked == ['{"q":"x"}', '{"q":"y"}']
    assert len(recalled) == len(history) + 4


def test_content_decides_between_replies_of_the_same_ids() -> None:
    first = _held("go", [[_OURS, call("call_1", "shell", '{"n":1}')]])
    second = _held("go", [[_OURS, call("call_1", "shell", '{"n":2}')]])
    kept = [_user("go"), call("call_1", "shell", '{"n":1}'), _result("call_1")]

    assert _recalled(kept, first, second) == _recalled(kept, first) != kept
    assert _recalled(kept, second) == kept


def test_the_same_words_after_the_same_question_go_to_their_own_replies() -> None:
    held = [_held("again", [[{**_OURS, "call_id": f"c_{n}"}], [message(f"msg_{n}", "Done.")]]) for n in range(3)]
    history = [_user("again"), _said("Done.")] * 3

    recalled = _recalled(history, *held)

    assert [item["call_id"] for item in recalled if item.get("type") == "function_call"] == ["c_0", "c_1", "c_2"]


def test_the_same_words_after_another_question_are_another_reply() -> None:
    held = _held("delete it", [[_OURS], [message("msg_1", "Done.")]])
    history = [_user("paint it"), _said("Done."), _user("thanks")]

    assert _recalled(history, held) == history


def test_a_reply_that_another_reply_begins_like_is_not_taken_for_it() -> None:
    short = _held("go", [[_OURS], [message("msg_1", "Yes.")]])
    history = [_user("go"), message("msg_2", "Yes. And more."), _user("ok")]

    assert _recalled(history, short) == history


def test_replies_that_follow_each_other_closely_keep_their_order() -> None:
    request = request_of(input="go", store=False).offering(TOOLS)
    cut = [message("msg_1", "Look"), {**_OURS, "call_id": "c_cut", "arguments": "{"}]
    first = play(request, [cut], statuses={0: "incomplete"}).hidden
    second = _held([_user("go"), message("msg_1", "Look")], [[_OURS], [message("msg_2", "Done.")]])
    assert first is not None

    recalled = _recalled([_user("go"), message("msg_1", "Look"), message("msg_2", "Done.")], first, second)

    assert [item.get("call_id") for item in recalled] == [None, None, "c_cut", "c_cut", "call_0", "call_0", None]


# -- what the client has only in part ------------------------------------------------------------------


def test_a_reply_that_broke_off_goes_back_as_far_as_it_came() -> None:
    request = request_of(input="where?", store=False).offering(TOOLS)
    reply: Any = request.reply(stream=True)
    looping: LoopingReply = reply
    looping.receive(streamed(answered("resp_1", _TWO[0], {})))
    looping.answer(looping.end_turn(), [result_of("call_0")])
    between = looping.hidden()
    looping.next_turn()
    looping.receive(streamed(answered("resp_2", [message("msg_2", "It is here.")], {}))[:-900])
    looping.end_turn()
    after = looping.hidden()
    history = [_user("where?"), message("msg_1", "Let me look."), _said("It is"), _user("go on")]

    assert between is not None
    assert after is not None
    for hidden in (between, after):
        assert _recalled(history, hidden) == [
            _user("where?"), message("msg_1", "Let me look."), _OURS, answer_item("call_0"), _said("It is"), _user("go on")
        ]  # fmt: skip


def test_a_history_without_the_reply_is_left_alone() -> None:
    held = _held("where?", _TWO)
    compacted = [_user("where?"), {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}, _user("go on")]

    assert _recalled(compacted, held) == compacted
    assert _recalled("where?", held) == "where?"  # type: ignore[comparison-overlap]  # the input in short


def test_a_message_that_the_client_dropped_stays_dropped() -> None:
    recalled = _recalled([_user("where?"), _said("It is here.")], _held("where?", _TWO))

    assert recalled == [_user("where?"), _OURS, answer_item("call_0"), _said("It is here.")]


def test_a_thought_that_cannot_be_read_again_is_not_put_back() -> None:
    turns = [[reasoning("rs_1", "Hm."), _OURS], [message("msg_1", "Done.")]]
    history = [_user("go"), _said("Done.")]

    assert _recalled(history, _held("go", turns))[1] == _OURS
    assert _recalled(history, _held("go", turns, store=True))[1]["id"] == "rs_1"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"turns":[{"items":[7,null],"answers":[]}]}'])
def test_what_cannot_be_read_is_not_put_back(content: bytes) -> None:
    held = _held("where?", _TWO)
    history = [_user("where?"), _said("It is here.")]

    assert _recalled(history, Hidden(held.anchors, content)) == history


# -- what the provider has itself ----------------------------------------------------------------------


_MIXED = [[call("c_own", "shell"), _OURS]]


def test_a_mixed_turn_that_the_provider_keeps_is_given_our_results_before_the_clients() -> None:
    held = _held("go", _MIXED, store=True)

    recalled = _recalled([_result("c_own")], held, store=True, previous_response_id="resp_1")

    assert held.upstream_id is None
    assert recalled == [answer_item("call_0"), _result("c_own")]


def test_results_come_before_a_question_in_short() -> None:
    recalled = _recalled("go on", _held("go", _MIXED, store=True), store=True, previous_response_id="resp_1")

    assert recalled == [answer_item("call_0"), _user("go on")]


def test_a_reply_of_several_turns_goes_on_from_the_last() -> None:
    held = _held("where?", _TWO, store=True)
    request = request_of(input="and?", previous_response_id="resp_1").offering(TOOLS)

    assert held.upstream_id == ("resp_1", "resp_2")
    assert request.recalling(held_under(request.anchors, [held])) is request
    renamed = request.renamed("resp_2")
    assert json.loads(renamed.body())["previous_response_id"] == "resp_2"
    for stream in (True, False):
        played = play(renamed, [[message("msg_3", "Yes.")]], first=3, stream=stream)
        assert played.response()["previous_response_id"] == "resp_1"


def test_an_id_that_was_put_in_the_place_of_the_clients_is_not_shown_without_tools_either() -> None:
    renamed = request_of(input="and?", previous_response_id="resp_1").renamed("resp_2")

    for stream in (True, False):
        assert b"resp_2" not in play(renamed, [[message("msg_3", "Yes.")]], first=3, stream=stream).got


def test_a_stored_reply_that_broke_off_goes_on_from_its_last_whole_turn() -> None:
    request = request_of(input="where?").offering(TOOLS)
    reply: Any = request.reply(stream=True)
    looping: LoopingReply = reply
    for number in (1, 2):
        looping.receive(streamed(answered(f"resp_{number}", [call(f"c_{number}", "bmcp_wiki_read")], {})))
        looping.answer(looping.end_turn(), [result_of(f"c_{number}")])
        looping.next_turn()
    looping.receive(streamed(answered("resp_3", _TWO[1], {}))[:500])
    looping.end_turn()
    held = looping.hidden()

    assert held is not None
    assert held.upstream_id == ("resp_1", "resp_2")
    assert _recalled([_user("go on")], held, previous_response_id="resp_1") == [answer_item("c_2"), _user("go on")]


def test_a_conversation_is_given_our_results_with_the_clients() -> None:
    held = _held("go", _MIXED, store=True, conversation="conv_1")

    assert _recalled([_user("x"), _result("c_own")], held, store=True, conversation="conv_1") == [
        _user("x"),
        answer_item("call_0"),
        _result("c_own"),
    ]
    assert _recalled([_user("x")], held, store=True, conversation="conv_1") == [_user("x")]


def test_a_conversation_has_the_hidden_turns_itself() -> None:
    held = _held("where?", _TWO, store=True, conversation={"id": "conv_1"})

    assert _recalled([_user("and?")], held, store=True, conversation={"id": "conv_1"}) == [_user("and?")]


def test_only_an_id_of_the_clients_is_replaced() -> None:
    for members in ({}, {"previous_response_id": None}, {"conversation": "conv_1"}):
        request = request_of(input="hello", **members)
        assert request.renamed("resp_2") is request


# -- calls that were not run ---------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [[{**_OURS, "call_id": "c_before"}]]], ids=["first turn", "second turn"])
def test_a_call_that_was_cut_short_goes_back_with_an_answer(before: list[list[Json]]) -> None:
    request = request_of(input="go").offering(TOOLS)
    cut = [message("msg_1", "Look"), call("c_cut", "bmcp_wiki_read", '{"p":', status="incomplete")]
    held = play(request, [*before, cut], statuses={len(before): "incomplete"}).hidden
    assert held is not None

    recalled = _recalled([_user("go"), _said("Look"), _user("go on")], held, store=True)
    chained = _recalled("go on", held, store=True, previous_response_id="resp_1")

    assert [item.get("call_id") for item in recalled] == [
        None,
        *["c_before"] * 2 * len(before),
        None,
        *["c_cut"] * 2,
        None,
    ]
    assert recalled[-2] == chained[0]
    assert "cut off" in chained[0]["output"]
    assert held.upstream_id == (("resp_1", "resp_2") if before else None)


def test_a_model_that_calls_what_it_remembers_is_answered() -> None:
    history = [_user("where?"), _said("It is here."), _user("again")]
    request = request_of(input=history, tool_choice="none").offering(TOOLS)
    recalling = request.recalling(held_under(request.anchors, [_held("where?", _TWO)]))

    played = play(recalling, [[_OURS], [message("msg_3", "Still here.")]], first=3)

    assert (request.loops, recalling.loops, recalling.offers) == (False, True, False)
    assert b"bmcp_" not in played.got
    assert played.inputs(1)[-1] == answer_item("call_0")


# -- other bodies --------------------------------------------------------------------------------------


def test_a_compaction_and_a_count_of_tokens_see_the_hidden_turns() -> None:
    held = _held("where?", _TWO)
    history = [_user("where?"), _said("It is here."), _user("thanks")]
    body = json.dumps({"model": "m", "input": history}).encode()
    compaction = RESPONSES_COMPACT.parse(body)
    assert isinstance(compaction, ResponsesRequest)

    for request in (compaction, parse(body)):
        recalled = request.recalling(held_under(request.anchors, [held]))
        assert _input_of(recalled)[1:3] == [_OURS, answer_item("call_0")]


def test_nothing_is_held_where_nothing_of_ours_was_answered() -> None:
    request = request_of(input="hello").offering(TOOLS)

    assert play(request, [[message("msg_1", "Hello.")]]).hidden is None


def test_what_the_client_sends_again_is_kept_no_longer_than_needed() -> None:
    picture = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 100_000}

    held = _held("draw", [[_OURS, picture], [message("msg_1", "Here.")]])

    assert len(held.content) < 2_000
    assert _recalled([_user("draw"), picture, _said("Here.")], held)[1:4] == [_OURS, picture, answer_item("call_0")]


def test_a_long_history_of_replies_that_look_alike_is_read_in_little_time() -> None:
    """A bound on the work, far above what it takes: each reply is looked for at a bounded number of places."""
    own = call("call_1", "shell")
    held = [_held("go", [[{**_OURS, "call_id": f"c_{n}"}, own]]) for n in range(50)]
    history = [_user("go"), *[item for _ in range(500) for item in (own, _result("call_1"))]]

    started = time.process_time()
    recalled = _recalled(history, *held)

    assert time.process_time() - started < 5
    assert len(recalled) == len(history) + 100
