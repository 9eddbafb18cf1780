"""What is read of a Responses request, and what is set in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.responses import RESPONSES, RESPONSES_COMPACT
from aibridge.dialects.responses.request import ResponsesRequest, parse
from aibridge.errors import InvalidRequest


def _parsed(**members: Any) -> ResponsesRequest:
    return parse(json.dumps({"model": "gpt-5.6", **members}).encode())


def _said(*texts: str, role: str = "user", **members: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "input_text", "text": text} for text in texts], **members}


# -- the person's words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ("Hello", "Hello"),
        ("  \n", None),
        ([], None),
        (None, None),
        (7, None),
        ([_said("one", "two")], "one\ntwo"),
        ([_said("one", type="message", id="msg_1")], "one"),
        ([{"role": "user", "content": "plain"}], "plain"),
        ([_said("earlier"), {"role": "assistant", "content": "later"}], None),
        ([_said("asked"), {"type": "function_call_output", "call_id": "c", "output": "done"}], None),
        ([_said("asked"), {"type": "item_reference", "id": "rs_1"}], "asked"),
        ([_said("asked"), {"id": "rs_1"}], "asked"),
        ([_said("asked"), _said("Mind the budget.", role="developer")], "asked"),
        ([_said("asked"), {"type": "compaction_trigger", "role": None}], None),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}], None),
        ([{"role": "user", "content": [{"type": "input_text", "text": 3}, "odd", {"type": "input_text"}]}], None),
        ([{"type": "custom_tool_call_output", "role": "user", "content": "no words"}], None),
        (["a bare string", _said("asked")], "asked"),
    ],
)
def test_the_prompt_is_the_last_item_if_a_person_wrote_it(given: Any, prompt: str | None) -> None:
    assert _parsed(input=given).prompt == prompt


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("<environment_context>\n<cwd>/</cwd>\n</environment_context>", None),
        ("<environment_context></environment_context>\nfix it", "fix it"),
        ('<hook_prompt hook_run_id="1">again</hook_prompt><skill>x</skill>\nfix it', "fix it"),
        ("fix it\n<system-reminder>be brief</system-reminder>\n", "fix it"),
        ("# AGENTS.md instructions for /home\n\n<INSTRUCTIONS>\nrules\n</INSTRUCTIONS>\n", None),
        ("# AGENTS.md instructions: what do they mean?", "# AGENTS.md instructions: what do they mean?"),
        ("what is <skill>this</skill> in the log", "what is <skill>this</skill> in the log"),
        ("<skill> has no end", "<skill> has no end"),
        ("<skills>are mine</skills>", "<skills>are mine</skills>"),
        ("<div>mine</div>", "<div>mine</div>"),
    ],
)
def test_what_an_agent_puts_around_the_words_is_left_out(text: str, prompt: str | None) -> None:
    assert _parsed(input=text).prompt == prompt
    assert _parsed(input=[_said(text)]).prompt == prompt


def test_very_many_asides_do_not_take_long() -> None:
    assert _parsed(input="<skill></skill>" * 100_000).prompt is not None


@pytest.mark.parametrize("broken", [rb"cut \ud83d off", b"cut \xff off"])
def test_words_that_are_no_unicode_are_for_the_provider_to_judge(broken: bytes) -> None:
    body = b'{"model":"m","input":"' + broken + b'","prompt_cache_key":"' + broken + b'"}'
    request = parse(body)

    assert request.prompt == request.session_hint == "cut \ufffd off"
    assert request.body() == body


def test_half_a_surrogate_pair_does_not_hide_the_words() -> None:
    request = parse(rb'{"model":"m","input":[{"role":"user","content":"cut \ud83d off","x":1e999}]}')

    assert request.prompt == "cut � off"


def test_the_words_are_not_in_the_repr() -> None:
    assert "swordfish" not in repr(_parsed(input="the password is swordfish"))


# -- lineage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "call_id"),
    [
        ([], None),
        ([{"type": "function_call", "call_id": "call_1"}], None),
        ([{"type": "function_call_output", "call_id": "call_1"}], "call_1"),
        ([{"type": "function_call_output", "call_id": "call_1"}, _said("and now?")], "call_1"),
        (
            [{"type": "custom_tool_call_output", "call_id": "a"}, {"type": "function_call_output", "call_id": "b"}],
            "b",
        ),
        ([{"type": "shell_call_output", "call_id": "call_s"}], "call_s"),
        ([{"type": "apply_patch_call_output", "call_id": "call_p"}], "call_p"),
        ([{"type": "computer_call_output", "call_id": "call_c", "id": "not this"}], "call_c"),
        ([{"type": "local_shell_call_output", "id": "call_l"}], "call_l"),
        ([{"type": "tool_search_output", "call_id": "call_t"}], "call_t"),
        ([{"type": "function_call_output", "call_id": "a"}, {"type": "function_call_output", "call_id": None}], "a"),
        ([{"type": "function_call_output", "call_id": ["odd"]}], None),
    ],
)
def test_the_last_result_names_the_call_that_this_request_goes_on_from(
    items: list[dict[str, Any]], call_id: str | None
) -> None:
    assert _parsed(input=items).correlating_tool_call_id == call_id


def test_the_session_hint_is_the_prompt_cache_key() -> None:
    assert _parsed(prompt_cache_key="thread-7").session_hint == "thread-7"
    assert _parsed(prompt_cache_key=7).session_hint is None


@pytest.mark.parametrize(("members", "stores"), [({}, True), ({"store": None}, True), ({"store": False}, False)])
def test_a_response_is_stored_unless_the_client_says_no(members: dict[str, Any], stores: bool) -> None:
    assert _parsed(**members).stores is stores


def test_background_is_told() -> None:
    assert _parsed(background=True).background
    assert not _parsed(background="true").background


# -- stored things -------------------------------------------------------------------------------------


def test_a_reference_may_leave_out_its_type() -> None:
    items = [{"id": "msg_1"}, {"type": None, "id": "msg_2"}, {"role": "user", "id": "msg_3", "content": "x"}]

    assert _parsed(input=items).references == ("msg_1", "msg_2")


@pytest.mark.parametrize(
    "item",
    [
        rb'{"type":"item_reference","id":"msg_1"}',
        rb'{"type":"item\u005freference","id":"msg_1"}',
        rb'{"\u0074ype":"item_reference","id":"msg_1"}',
        rb'{"type":"item_reference","id":"msg_\u0031"}',
        rb'{"type":"item_reference","id":"msg_1","role":"\ud800"}',
        rb'{"type":"item_reference","id":"msg_1","role":"user","x":1e999}',
        b'{"type":"item_reference","id":"msg_1","x":"\xff"}',
    ],
)
def test_a_reference_is_found_however_it_is_written(item: bytes) -> None:
    assert parse(b'{"model":"m","input":[' + item + b"]}").references == ("msg_1",)


@pytest.mark.parametrize(
    "item",
    [
        b'{"type":"item_reference","id":"msg_other","type":"message"}',
        b'{"type":"item_reference","id":"msg_other","id":"msg_mine"}',
        b'{"id":"msg_other","id":"msg_mine"}',
        rb'{"type":"item\u005freference","id":"msg_other","type":"message","role":"user"}',
    ],
)
def test_an_item_that_two_parsers_could_read_differently_is_refused(item: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        _ = parse(b'{"model":"m","input":[' + item + b"]}").references

    assert refused.value.problem.status == 400
    assert "msg_other" not in refused.value.problem.message


@pytest.mark.parametrize(
    "item",
    [
        b'{"type":"item_reference","id":"msg_\xff"}',
        b'{"type":"item_\xffreference","id":"msg_1"},{"type":"item_reference","id":"msg_2"}',
    ],
)
def test_an_item_that_cannot_be_read_cannot_be_checked_and_is_refused(item: bytes) -> None:
    with pytest.raises(InvalidRequest, match="is not valid Unicode"):
        _ = parse(b'{"model":"m","input":[' + item + b"]}").references


def test_the_text_of_a_message_is_no_reference() -> None:
    items = [_said('{"type":"item_reference","id":"msg_1"}'), _said("item_reference")]

    assert _parsed(input=items).references == ()


@pytest.mark.parametrize(
    ("conversation", "ids"), [("conv_1", ("conv_1",)), ({"id": "conv_1"}, ("conv_1",)), (None, ())]
)
def test_a_conversation_is_a_string_or_an_object(conversation: Any, ids: tuple[str, ...]) -> None:
    assert _parsed(conversation=conversation).references == ids


# -- attribution ---------------------------------------------------------------------------------------


def test_the_identifier_is_added_and_the_clients_own_are_overwritten() -> None:
    body = b'{"model":"m","user":"ada", "safety_identifier" : null,"temperature":1.50,"x":{"user":"kept"}}'

    attributed = RESPONSES.parse(body).attributed_to('person "1"')

    assert attributed.body() == (
        b'{"model":"m","user":"person \\"1\\"", "safety_identifier" : "person \\"1\\"",'
        b'"temperature":1.50,"x":{"user":"kept"}}'
    )


def test_a_compaction_is_only_given_what_its_client_sent() -> None:
    plain, named = b'{"model":"m","input":[]}', b'{"model":"m","user":"ada"}'

    assert RESPONSES_COMPACT.parse(plain).attributed_to("person-1").body() == plain
    assert RESPONSES_COMPACT.parse(named).attributed_to("person-1").body() == b'{"model":"m","user":"person-1"}'


def test_usage_needs_no_asking() -> None:
    request = _parsed(stream=True)

    assert request.asking_usage() is request


# -- bad bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"nope", "the body is not valid JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'{"input":"x"}', "model: a non-empty string is required"),
        (b'{"model":""}', "model: a non-empty string is required"),
        (b'{"model":"m","user":"a","user":"b"}', "duplicate key: user"),
        (rb'{"model":"m","safety_identifier":"a","safety\u005fidentifier":"b"}', "duplicate key: safety_identifier"),
        (b'{"model":"m","previous_response_id":"a","previous_response_id":"b"}', "duplicate key: previous_response_id"),
        (b'{"model":"m","store":true,"store":false}', "duplicate key: store"),
        (b'{"model":"m","input":"a","input":"b"}', "duplicate key: input"),
        (b'{"model":"m","background":false,"background":true}', "duplicate key: background"),
    ],
)
def test_a_body_that_cannot_be_taken_is_a_400(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        RESPONSES.parse(body)

    assert refused.value.problem.status == 400
    assert refused.value.problem.message == message


def test_bytes_that_are_not_read_survive() -> None:
    body = (
        b'{ "model":"m", "input":[{"type":"reasoning","summary":[],"encrypted_content":"gA=="}],'
        b'"big":123456789012345678901234567890,"f":1.0e-7,"f":2 }'
    )

    request = RESPONSES.parse(body)

    assert request.body() is body
    added = b',"safety_identifier":"p" }'
    assert request.attributed_to("p").body() == body[:-2] + added
