"""Whether a reply in a history is one that is held, told by stories: what clients do to their histories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from aibridge.dialects.turns import Hidden
from tests.dialects.chat_completions.turns import TOOLSET, Call, Script, parsed, results_of, run

_LOOK = Call("call_look_0123456789", "bmcp_demo_look", '{"at": 1}')
_FIND = Call("call_find_0123456789", "bmcp_demo_find", "{}")
_READ = Call("call_read_0123456789", "read_file", '{"path": "a"}')
_LIST = Call("call_list_0123456789", "list_files", "{}")
_HI = {"role": "user", "content": "Hi"}
_ON = {"role": "user", "content": "Go on."}
_LONG = "This is an answer that is long enough to be given in one conversation only, by all that is likely."


def _hidden(
    scripts: Sequence[Script], history: Sequence[Any] = (_HI,), *, number: int = -1, stream: bool = True, **more: Any
) -> Hidden:
    """What is held of a reply: at its end, or as it was after an earlier turn."""
    body = json.dumps({"model": "m-1", "stream": stream, "messages": list(history), **more}).encode()
    return run(parsed(body).offering(TOOLSET), scripts, stream=stream).hidden[number]


def _recalled(history: Sequence[Any], *hidden: Hidden) -> list[dict[str, Any]]:
    """The messages that go upstream; `hidden` is what is held, newest first."""
    request = parsed(json.dumps({"model": "m-1", "messages": list(history)}).encode())
    known = {anchor: [one for one in hidden if anchor in one.anchors] for anchor in request.anchors}
    messages = json.loads(request.recalling({anchor: some for anchor, some in known.items() if some}).body())[
        "messages"
    ]
    assert isinstance(messages, list)
    return messages


def _said(text: str | None, *calls: Call) -> dict[str, Any]:
    return Script("r-0", (text,) if text else (), calls=calls).message()


def _result(call: Call) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "content": f"{call.name} {call.arguments}"}


_TURN = [_said("One.", _LOOK), _result(_LOOK)]
_TWO = [Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls"), Script("r-1", ("Two.",))]
_QUIET = [Script("r-0", calls=(_LOOK,), finish="tool_calls"), Script("r-1", ("Done.",))]
_MIXED = [Script("r-0", ("One.",), calls=(_LOOK, _READ, _LIST), finish="tool_calls")]


# -- replies that were seen in part ------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1], ids=["held before the second turn", "held at the end"])
def test_a_client_that_hung_up_in_the_second_turn_has_the_first_one_put_back(number: int) -> None:
    history = [_HI, _said("One.\n\nTw"), _ON]

    assert _recalled(history, _hidden(_TWO, number=number)) == [_HI, *_TURN, _said("Tw"), _ON]


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("text", ["One.", "One.\n\n"])
def test_a_client_that_hung_up_between_the_turns_has_no_empty_message(number: int, text: str) -> None:
    history = [_HI, {"role": "assistant", "content": text}, _ON]

    assert _recalled(history, _hidden(_TWO, number=number)) == [_HI, *_TURN, _ON]


def test_a_client_that_hung_up_in_the_first_turn_has_nothing_put_back() -> None:
    history = [_HI, _said("On"), _ON]

    assert _recalled(history, _hidden(_TWO)) == history


def test_a_client_that_saw_the_text_of_a_mixed_turn_only_has_the_turns_before_it_put_back() -> None:
    scripts = [*_TWO[:1], Script("r-1", ("Two.",), calls=(_FIND, _READ), finish="tool_calls")]
    history = [_HI, _said("One.\n\nTwo."), _ON]

    assert _recalled(history, _hidden(scripts)) == [_HI, *_TURN, _said("Two."), _ON]


def test_another_answer_to_the_same_question_is_not_the_one_that_broke_off() -> None:
    """The client asked again, and the model answered without our tools."""
    broken = _hidden(_QUIET, number=0)
    history = [_HI, _said("Something else."), _ON]

    assert _recalled(history, broken) == history
    assert _recalled(history, _hidden(_TWO), broken) == history


def test_text_that_the_client_did_not_get_is_not_looked_for() -> None:
    """A whole answer in JSON has the last turn's text alone."""
    wanted: Any = {"response_format": {"type": "json_object"}}
    for scripts, seen in ((_TWO, _said("Two.")), ([*_TWO[:1], *_MIXED], _said("One.", _READ, _LIST))):
        hidden = _hidden(scripts, stream=False, **wanted)

        assert _recalled([_HI, seen], hidden)[:4] == [_HI, *_TURN, scripts[-1].message()]


def test_reasoning_of_hidden_turns_comes_with_them() -> None:
    scripts = [Script("r-0", (), ("I look. ",), (_LOOK,), "tool_calls"), Script("r-1", ("Done.",), ("I know.",))]
    hidden_turn = [scripts[0].message(), _result(_LOOK)]
    streamed = {**_said("Done."), "reasoning_content": "I look. I know."}
    begun = {**_said("Do"), "reasoning_content": "I look. I kn"}
    alone = {**_said("Do"), "reasoning_content": "I look. "}

    assert _recalled([_HI, streamed], _hidden(scripts)) == [_HI, *hidden_turn, scripts[1].message()]
    assert _recalled([_HI, begun], _hidden(scripts))[3] == {**_said("Do"), "reasoning_content": "I kn"}
    assert _recalled([_HI, alone], _hidden(scripts))[3] == _said("Do")
    whole = _recalled([_HI, scripts[1].message()], _hidden(scripts, stream=False))
    assert whole == [_HI, *hidden_turn, scripts[1].message()]


# -- replies that look alike -------------------------------------------------------------------------


def test_a_short_answer_of_another_conversation_is_not_taken_for_a_held_one() -> None:
    hidden = _hidden(_QUIET)
    other = [{"role": "user", "content": "Do it"}, _said("Done."), _ON]

    assert _recalled(other, hidden) == other
    assert _recalled([_HI, _said("Done."), _ON], hidden) == [
        _HI,
        _said(None, _LOOK),
        _result(_LOOK),
        _said("Done."),
        _ON,
    ]


def test_a_counted_id_of_another_conversation_is_not_taken_for_a_held_one() -> None:
    def mixed(path: str) -> Script:
        read = Call("call_0", "read_file", json.dumps({"path": path}))
        return Script("r-0", calls=(Call("call_1", "bmcp_demo_look", "{}"), read), finish="tool_calls")

    hidden = _hidden([mixed("a")])
    for history in ([_HI, _said(None, mixed("b").calls[1])], [_ON, _said(None, mixed("a").calls[1])]):
        assert _recalled(history, hidden) == history
    assert len(_recalled([_HI, _said(None, mixed("a").calls[1])], hidden)) == 3


def test_a_counted_id_is_known_however_the_client_spells_its_arguments() -> None:
    read = Call("call_0", "read_file", '{"path": "a", "lines": 1}')
    hidden = _hidden([Script("r-0", calls=(_LOOK, read), finish="tool_calls")])
    spelled = Call("call_0", "read_file", '{"lines":1,"path":"a"}')

    assert _recalled([_HI, _said(None, spelled)], hidden)[1:] == [_said(None, _LOOK, spelled), _result(_LOOK)]


def test_a_short_answer_to_the_same_words_after_another_answer_is_another() -> None:
    hidden = _hidden(_QUIET, [_HI, _said("First."), _ON])
    history = [_HI, _said("Second."), _ON, _said("Done.")]

    assert _recalled(history, hidden) == history
    assert len(_recalled([_HI, _said("First."), _ON, _said("Done.")], hidden)) == 6


def test_a_long_answer_is_known_also_where_the_client_changed_what_came_before() -> None:
    hidden = _hidden([_QUIET[0], Script("r-1", (_LONG,))])
    history = [{"role": "user", "content": "The conversation up to now, in short."}, _said(_LONG), _ON]

    assert _recalled(history, hidden)[1:3] == [_said(None, _LOOK), _result(_LOOK)]


def test_the_same_answer_again_and_again_has_each_time_its_own_turns() -> None:
    """The second and the third look alike also by what they answer to."""
    calls = [Call(f"call_{number}_0123456789abcdef", "bmcp_demo_look", f"[{number}]") for number in range(3)]
    once = [_HI, _said("Done.")]
    hidden = [
        _hidden([Script("r-0", calls=(call,), finish="tool_calls"), _QUIET[1]], [*once * number, _HI])
        for number, call in enumerate(calls)
    ]

    for repeated in range(1, 4):
        newest_first = list(reversed(hidden[:repeated]))
        expected = [one for call in calls[:repeated] for one in (_HI, _said(None, call), _not_run(call), once[1])]
        assert _recalled([*once * repeated, _ON], *newest_first) == [*expected, _ON]


def _not_run(call: Call) -> dict[str, Any]:
    why = "The arguments of this call are not a JSON object, so it was not run. Call the tool again with a JSON object."
    return {"role": "tool", "tool_call_id": call.id, "content": f"Error: {why}"}


def test_of_several_that_look_the_same_the_newest_belongs_to_the_last_place() -> None:
    older, newer = _hidden(_QUIET), _hidden([Script("r-0", calls=(_FIND,), finish="tool_calls"), _QUIET[1]])

    assert _recalled([_HI, _said("Done.")], newer, older)[1] == _said(None, _FIND)


def test_a_request_without_tools_is_not_told_to_choose_none() -> None:
    hidden = _hidden(_TWO)
    request = parsed(json.dumps({"model": "m-1", "messages": [_HI, _said("One.\n\nTwo."), _ON]}).encode())
    request = request.recalling({anchor: [hidden] for anchor in hidden.anchors})
    reply: Any = request.reply(stream=False)
    reply.receive(Script("r-2", calls=(_FIND,), finish="tool_calls").body())
    turn = reply.end_turn()

    assert "tool_choice" not in json.loads(request.continued(turn, results_of(turn.calls), last=True).body())


# -- what clients do to histories --------------------------------------------------------------------


def test_a_reply_that_is_gone_brings_nothing_back() -> None:
    history = [{"role": "user", "content": "In short: we said hello."}, _said("I see."), _ON]
    request = parsed(json.dumps({"model": "m-1", "messages": history}).encode())

    hidden = _hidden(_TWO)
    assert not set(request.anchors) & set(hidden.anchors)
    assert request.recalling({"text:x": [hidden]}) is request


def test_our_calls_stand_among_the_clients_where_they_were_and_our_results_come_first() -> None:
    results = [{"role": "tool", "tool_call_id": call.id, "content": "x"} for call in (_READ, _LIST)]
    history = [_HI, _said("One.", _READ, _LIST), *results]

    assert _recalled(history, _hidden(_MIXED)) == [_HI, _said("One.", _LOOK, _READ, _LIST), _result(_LOOK), *results]


def test_a_client_that_sends_its_calls_one_by_one_has_ours_with_the_first() -> None:
    results = [{"role": "tool", "tool_call_id": call.id, "content": "x"} for call in (_READ, _LIST)]
    history = [_HI, _said("One.", _READ), results[0], _said(None, _LIST), results[1]]

    assert _recalled(history, _hidden(_MIXED)) == [
        *(_HI, _said("One.", _LOOK, _READ), _result(_LOOK), results[0]),
        *(_said(None, _LIST), results[1]),
    ]


def test_a_reply_with_a_further_call_is_another() -> None:
    history = [_HI, _said("One.", _READ, _LIST, _FIND)]

    assert _recalled(history, _hidden(_MIXED)) == history


def test_a_client_that_leaves_out_the_text_before_its_calls_keeps_its_words() -> None:
    scripts = [*_TWO[:1], Script("r-1", ("Two.",), calls=(_READ,), finish="tool_calls")]
    for text in (None, "Words of its own."):
        history = [_HI, _said(text, _READ)]

        assert _recalled(history, _hidden(scripts)) == [_HI, *_TURN, _said(text, _READ)]


def test_reminders_instructions_and_cleared_results_do_not_change_what_a_reply_answers_to() -> None:
    asked = [
        {"role": "system", "content": "Be kind."},
        _said(None, _READ),
        {"role": "tool", "tool_call_id": _READ.id, "content": "a long file"},
        {"role": "user", "content": "Hi\n<system-reminder>today</system-reminder>"},
    ]
    later = [
        {"role": "system", "content": "Be kinder."},
        _said(None, _READ),
        {"role": "tool", "tool_call_id": _READ.id, "content": "[cleared]"},
        {"role": "user", "content": [{"type": "text", "text": "Hi ", "cache_control": {"type": "ephemeral"}}]},
        {"role": "developer", "content": "Mind the budget."},
        _said("Done."),
    ]

    assert _recalled(later, _hidden(_QUIET, asked))[5:7] == [_said(None, _LOOK), _result(_LOOK)]


def test_every_other_byte_of_the_history_stays() -> None:
    text = b'{ "model":"m-1", "messages": [ {"role":"user","content":"H\\u0069"} ,\n  { "content": [{"text":"One.","x":1.0},'
    text += (
        b' {"type":"text","text":"One.\\n\\nTw\\u006f." , "cache_control":{"type":"ephemeral"}}],"role":"assistant" },'
    )
    text += b'{"role":"user","content":"more"} ] }'
    text = text.replace(b'{"text":"One.","x":1.0}, ', b"")
    hidden = _hidden(_TWO)

    body = parsed(text).recalling({anchor: [hidden] for anchor in hidden.anchors}).body()

    turn = json.dumps(_TURN[0], separators=(",", ":")), json.dumps(_TURN[1], separators=(",", ":"))
    before, _, after = text.partition(b'{ "content":')
    assert body.startswith(before + turn[0].encode() + b"," + turn[1].encode() + b',{ "content":')
    assert body.endswith(
        b'"text":"Two." , "cache_control":{"type":"ephemeral"}}],"role":"assistant" }'
        + after[after.index(b',{"role":"user"') :]
    )


def test_what_another_version_held_is_left_alone() -> None:
    history = [_HI, _said("Done."), _ON]
    hidden = _hidden(_QUIET)

    assert _recalled(history, Hidden(hidden.anchors, b'{"of":"another version"}')) == history


@pytest.mark.parametrize("messages", [None, "text", {}, [], [7, None], [{"role": "assistant"}], [{"role": 3}]])
def test_odd_histories_have_nothing_put_back(messages: Any) -> None:
    request = parsed(json.dumps({"model": "m-1", "messages": messages}).encode())
    hidden = _hidden(_TWO)

    assert all(anchor.startswith("after:") for anchor in request.anchors)
    assert request.recalling({anchor: [hidden] for anchor in (*request.anchors, *hidden.anchors)}) is request


def test_half_a_surrogate_pair_in_a_history_is_no_obstacle() -> None:
    body = b'{"model":"m-1","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"One.\\n\\nTwo."},{"role":"user","content":"\\ud83d"}]}'
    hidden = _hidden(_TWO)
    recalled = parsed(body).recalling({anchor: [hidden] for anchor in hidden.anchors}).body()

    assert recalled.endswith(b',{"role":"assistant","content":"Two."},{"role":"user","content":"\\ud83d"}]}')


def test_turns_go_on_behind_a_history_with_hidden_turns() -> None:
    hidden = _hidden(_TWO)
    history = [_HI, _said("One.\n\nTwo."), _ON]
    request = parsed(json.dumps({"model": "m-1", "messages": history}).encode())
    request = request.recalling({anchor: [hidden] for anchor in hidden.anchors}).offering(TOOLSET)
    reply: Any = request.reply(stream=False)
    reply.receive(Script("r-2", calls=(_FIND,), finish="tool_calls").body())
    turn = reply.end_turn()

    messages = json.loads(request.continued(turn, results_of(turn.calls)).body())["messages"]
    assert messages == [_HI, *_TURN, _said("Two."), _ON, _said(None, _FIND), _result(_FIND)]


@pytest.mark.parametrize(("more", "loops"), [({}, True), ({"tool_choice": "none"}, True), ({"n": 2}, False)], ids=str)
def test_a_model_that_remembers_our_tools_may_call_them_also_where_none_is_offered(
    more: dict[str, Any], loops: bool
) -> None:
    hidden = _hidden(_TWO)
    request = parsed(json.dumps({"model": "m-1", "messages": [_HI, _said("One.\n\nTwo."), _ON], **more}).encode())

    assert not request.loops
    assert request.recalling({anchor: [hidden] for anchor in hidden.anchors}).loops == loops
