"""Hidden turns put back: what clients do that no property thinks of, and where nothing must be put back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.messages.request import MessagesRequest, parse
from aibridge.dialects.turns import Hidden
from tests.dialects.messages.loops import TOOLS, Block, Scripted, play

Message = dict[str, Any]

_THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def _text(said: str, **members: object) -> Block:
    return {"type": "text", "text": said, **members}


def _call(call_id: str, name: str = "bmcp_demo_look") -> Block:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}}


def _result(call_id: str) -> Block:
    return {"type": "tool_result", "tool_use_id": call_id, "content": [_text(f"result of {call_id}")]}


def _user(content: object) -> Message:
    return {"role": "user", "content": content}


def _assistant(*content: object) -> Message:
    return {"role": "assistant", "content": list(content)}


def _request(*messages: Message) -> MessagesRequest:
    return parse(json.dumps({"model": "m", "messages": messages}).encode()).offering(TOOLS)


def _held(script: Sequence[Scripted], *messages: Message) -> Hidden:
    hidden = play(_request(*(messages or (_user("go"),))), script, stream=True).hidden
    assert hidden is not None
    return hidden


def _recalled(request: MessagesRequest, *held: Hidden) -> list[Message]:
    found = {name: [one for one in held if name in one.anchors] for name in request.anchors}
    messages: list[Message] = json.loads(request.recalling(found).body())["messages"]
    return messages


_LOOKED = [Scripted([_text("Looking."), _call("toolu_1")], "tool_use"), Scripted([_text("Done.")])]
_SEEN = [_assistant(_text("Looking."), _call("toolu_1")), _user([_result("toolu_1")]), _assistant(_text("Done."))]


# -- what clients do


@pytest.mark.parametrize("joint", ["", " ", "\n\n"])
def test_an_answer_kept_as_one_string_is_cut_where_the_hidden_turn_was(joint: str) -> None:
    sent = {"role": "assistant", "content": f"Looking.{joint}Done."}

    messages = _recalled(_request(_user("go"), sent, _user("more")), _held(_LOOKED))

    assert messages == [_user("go"), *_SEEN[:2], _assistant(_text(f"{joint}Done.")), _user("more")]


def test_a_cache_breakpoint_stays_on_the_clients_own_block() -> None:
    marked = {"cache_control": {"type": "ephemeral"}}
    sent = [_assistant(_text("Looking.", **marked), _text("Done.", **marked)), _user([_text("more", **marked)])]

    messages = _recalled(_request(_user("go"), *sent), _held(_LOOKED))

    assert messages[1] == _assistant(_text("Looking.", **marked), _call("toolu_1"))
    assert messages[3:] == [_assistant(_text("Done.", **marked)), sent[1]]


def test_a_breakpoint_on_a_joined_text_stands_at_its_end() -> None:
    marked = {"cache_control": {"type": "ephemeral"}}

    messages = _recalled(_request(_user("go"), _assistant(_text("Looking.Done.", **marked))), _held(_LOOKED))

    assert messages[1:] == [*_SEEN[:2], _assistant(_text("Done.", **marked))]


def test_other_members_of_a_message_stay_with_its_end() -> None:
    sent = {"id": "x", **_assistant(_text("Looking."), _text("Done.")), "output_config": {"a": 1}}

    messages = _recalled(_request(_user("go"), sent), _held(_LOOKED))

    assert messages[3] == {**sent, "content": [_text("Done.")]}


def test_results_of_ours_stand_before_the_clients_in_one_message() -> None:
    mixed = [Scripted([_text("Both."), _call("toolu_1"), _call("toolu_2", "read")], "tool_use")]
    sent = [_assistant(_text("Both."), _call("toolu_2", "read")), _user([_result("toolu_2"), _text("and now?")])]

    messages = _recalled(_request(_user("go"), *sent), _held(mixed))

    assert messages[1:] == [
        _assistant(_text("Both."), _call("toolu_1"), _call("toolu_2", "read")),
        _user([_result("toolu_1"), _result("toolu_2"), _text("and now?")]),
    ]


def test_a_mixed_turn_of_which_the_client_has_a_part_is_left_as_the_client_has_it() -> None:
    mixed = [Scripted([_THOUGHT, _call("toolu_1"), _call("toolu_2", "read")], "tool_use")]

    messages = _recalled(_request(_user("go"), _assistant(_THOUGHT, _text("(stopped)")), _user("why?")), _held(mixed))

    assert messages == [_user("go"), _assistant(_THOUGHT, _text("(stopped)")), _user("why?")]


def test_a_history_that_ends_with_our_call_gets_its_result_too() -> None:
    silent = [_LOOKED[0], Scripted([])]

    messages = _recalled(_request(_user("go"), _assistant(_text("Looking."))), _held(silent))

    assert messages == [_user("go"), *_SEEN[:2]]


def test_words_of_a_system_message_between_are_no_place_for_results() -> None:
    silent = [_LOOKED[0], Scripted([])]
    aside = {"role": "system", "content": "Today is Monday."}

    messages = _recalled(_request(_user("go"), _assistant(_text("Looking.")), aside, _user("more")), _held(silent))

    assert messages == [_user("go"), *_SEEN[:2], aside, _user("more")]


@pytest.mark.parametrize(("stop_reason", "words"), [("max_tokens", "cut off"), ("tool_use", "not run")])
def test_a_call_that_was_not_run_is_answered_in_the_history(stop_reason: str, words: str) -> None:
    held = _held([Scripted([_THOUGHT, _call("toolu_1")], stop_reason)])

    messages = _recalled(_request(_user("go"), _assistant(_THOUGHT), _user("go on")), held)

    (result, said) = messages[2]["content"]
    assert messages[1] == _assistant(_THOUGHT, _call("toolu_1"))
    assert result["is_error"]
    assert words in result["content"][0]["text"]
    assert said == _text("go on")


def test_one_message_a_block_is_one_answer() -> None:
    sent = [_assistant(_text("Looking.")), _assistant(_text("Done."))]

    assert _recalled(_request(_user("go"), *sent, _user("more")), _held(_LOOKED)) == [
        _user("go"),
        *_SEEN,
        _user("more"),
    ]


def test_an_answer_that_goes_on_from_a_paused_one_is_known_behind_it() -> None:
    paused = _assistant(_text("First I search."))
    held = _held(_LOOKED, _user("go"), paused)
    sent = _assistant(_text("First I search."), _text("Looking."), _text("Done."))

    messages = _recalled(_request(_user("go"), sent, _user("more")), held)

    first = _assistant(_text("First I search."), _text("Looking."), _call("toolu_1"))
    assert messages == [_user("go"), first, _SEEN[1], _SEEN[2], _user("more")]


def test_two_held_replies_in_one_run_are_both_put_back() -> None:
    searched = [Scripted([_text("Searching."), _call("toolu_0")], "tool_use"), Scripted([_text("Wait.")], "pause_turn")]
    paused = _assistant(_text("Searching."), _text("Wait."))
    held = [_held(_LOOKED, _user("go"), paused), _held(searched)]

    messages = _recalled(_request(_user("go"), paused, _assistant(_text("Looking."), _text("Done."))), *held)

    assert messages == [
        _user("go"),
        _assistant(_text("Searching."), _call("toolu_0")),
        _user([_result("toolu_0")]),
        _assistant(_text("Wait."), _text("Looking."), _call("toolu_1")),
        *_SEEN[1:],
    ]


def test_an_answer_of_which_the_client_has_the_beginning_gets_the_turns_that_it_saw() -> None:
    sent = _assistant(_text("Looking."), _text("Do"))

    messages = _recalled(_request(_user("go"), sent, _user("more")), _held(_LOOKED))

    assert messages == [_user("go"), *_SEEN[:2], _assistant(_text("Do")), _user("more")]


def test_a_text_that_the_client_changed_stays_in_its_turn() -> None:
    script = [Scripted([_text("Looking."), _THOUGHT, _call("toolu_1")], "tool_use"), Scripted([_text("Done.")])]
    sent = _assistant(_text("(redacted)"), _THOUGHT, _text("Done."))

    messages = _recalled(_request(_user("go"), sent), _held(script))

    assert messages[1] == _assistant(_text("(redacted)"), _THOUGHT, _call("toolu_1"))
    assert messages[3] == _assistant(_text("Done."))


def test_a_text_that_was_changed_among_others_stays_in_its_turn_too() -> None:
    first = Scripted([_THOUGHT, _text("Looking."), _call("toolu_1")], "tool_use")
    sent = _assistant(_THOUGHT, _text("(redacted)"), _text("Done."))

    messages = _recalled(_request(_user("go"), sent), _held([first, Scripted([_text("Done.")])]))

    assert messages[1] == _assistant(_THOUGHT, _text("(redacted)"), _call("toolu_1"))
    assert messages[3] == _assistant(_text("Done."))


def test_a_space_at_the_end_of_a_text_stays_at_its_end() -> None:
    script = [Scripted([_text("Looking. "), _call("toolu_1")], "tool_use"), Scripted([_text("Done.")])]

    messages = _recalled(_request(_user("go"), _assistant(_text("Looking. Done."))), _held(script))

    assert messages[1] == _assistant(_text("Looking. "), _call("toolu_1"))
    assert messages[3] == _assistant(_text("Done."))


def test_what_a_client_adds_behind_a_mixed_turn_stays_before_the_results() -> None:
    mixed = [Scripted([_call("toolu_1"), _call("toolu_2", "read")], "tool_use")]
    sent = [_assistant(_call("toolu_2", "read"), _text("(added)")), _user([_result("toolu_2")])]

    messages = _recalled(_request(_user("go"), *sent), _held(mixed))

    assert messages[1] == _assistant(_call("toolu_1"), _call("toolu_2", "read"), _text("(added)"))
    assert messages[2] == _user([_result("toolu_1"), _result("toolu_2")])


def test_what_clients_put_around_the_words_does_not_hide_where_a_reply_stood() -> None:
    reminded = _user("<system-reminder>It is late.</system-reminder>\n\ngo")
    held = _held(_LOOKED, _user("first"), _assistant(_text("a")), reminded)
    sent = _assistant(_text("Looking."), _text("Done."))

    messages = _recalled(_request(_user("go"), sent, _user("more")), held)

    assert messages == [_user("go"), *_SEEN, _user("more")]


def test_a_few_letters_are_no_later_text_of_the_reply() -> None:
    first = Scripted([_THOUGHT, _text("Looking."), _call("toolu_1")], "tool_use")
    history = [_user("go"), _assistant(_THOUGHT, _text("D")), _user("more")]

    assert _recalled(_request(*history), _held([first, Scripted([_text("Done.")])])) == history


# -- which reply it is


def _again(position: int) -> Sequence[Scripted]:
    return [Scripted([_text("OK"), _call(f"toolu_{position}")], "tool_use"), Scripted([_text("Done.")])]


def test_replies_that_look_the_same_stay_apart_by_their_place() -> None:
    visible = _assistant(_text("OK"), _text("Done."))
    older = _held(_again(1), _user("go"))
    newer = _held(_again(3), _user("go"), visible, _user("go"))

    messages = _recalled(_request(_user("go"), visible, _user("go"), visible, _user("go")), newer, older)

    calls = [block["id"] for one in messages if one["role"] == "assistant" for block in one["content"] if "id" in block]
    assert calls == ["toolu_1", "toolu_3"]


def test_the_answer_that_is_asked_for_anew_does_not_take_the_place_of_the_one_before() -> None:
    visible = _assistant(_text("OK"), _text("Done."))
    older = _held(_again(1), _user("go"))
    newer = _held(_again(3), _user("go"), visible, _user("go"))

    messages = _recalled(_request(_user("go"), visible, _user("go")), newer, older)

    assert messages[1]["content"][1]["id"] == "toolu_1"


def test_a_reply_of_another_conversation_is_not_put_back_for_its_words_alone() -> None:
    visible = _assistant(_text("Looking."), _text("Done."))
    elsewhere = _held(_LOOKED, _user("quite another thing"))
    history = [_user("a"), _assistant(_text("b")), _user("c"), visible, _user("d")]

    assert _recalled(_request(*history), elsewhere) == history


def test_a_signature_is_known_wherever_it_stands() -> None:
    script = [Scripted([_THOUGHT, _call("toolu_1")], "tool_use"), Scripted([_text("Done.")])]
    history = [_user("compacted"), _assistant(_text("b")), _user("c"), _assistant(_THOUGHT, _text("Done.")), _user("d")]

    messages = _recalled(_request(*history), _held(script))

    assert messages[3] == _assistant(_THOUGHT, _call("toolu_1"))


def test_a_held_reply_is_put_back_once_though_the_history_has_it_twice() -> None:
    visible = _assistant(_text("Looking."), _text("Done."))

    messages = _recalled(_request(_user("go"), visible, _user("go"), visible), _held(_LOOKED))

    assert sum("toolu_1" in json.dumps(message) for message in messages) == 2  # the call and its result
    assert messages[:2] == [_user("go"), _SEEN[0]]


def test_a_history_without_the_reply_is_left_alone() -> None:
    request = _request(_user("a summary of what was said"), _assistant(_text("I see.")), _user("go on"))

    assert request.recalling({}) is request
    assert request.recalling({"text:x": [_held(_LOOKED)]}) is request


# -- odd things


def test_what_is_held_in_a_form_that_is_not_ours_is_passed_over() -> None:
    request = _request(_user("go"), _assistant(_text("Looking."), _text("Done.")))
    odd = [Hidden(_held(_LOOKED).anchors, content) for content in (b"", b"{}", b'{"turns":7}', b"\xff")]

    assert request.recalling(dict.fromkeys(request.anchors, odd)) is request


def test_a_reply_is_hidden_behind_the_tools_also_where_none_is_offered() -> None:
    plain = parse(json.dumps({"model": "m", "messages": [_user("go"), _assistant(_text("Looking."))]}).encode())
    held = _held([Scripted([_text("Looking."), _call("toolu_1")], "tool_use")])

    recalled = plain.recalling({name: [held] for name in plain.anchors})
    played = play(recalled, [Scripted([_text("Hm."), _call("toolu_2")], "tool_use")], stream=True)

    assert not recalled.offers
    assert b"bmcp_" not in played.received


_odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "text", "assistant", "user", "thinking", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "id", "role", "content", "signature"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_odd | st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": _odd})))
def test_histories_of_any_shape_are_searched_without_harm(messages: object) -> None:
    request = parse(json.dumps({"model": "m", "messages": messages}).encode())
    held = _held(_LOOKED)

    recalled = request.recalling({name: [held] for name in request.anchors})

    assert all(len(name) <= 128 for name in request.anchors)
    json.loads(recalled.body())
