"""What a Messages request says, and what is set in it; the corners that the stories leave out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.messages.request import MessagesRequest, parse
from aibridge.errors import InvalidRequest

_OPEN, _CLOSE = "<system-reminder>", "</system-reminder>"


def _request(*messages: object, **members: object) -> MessagesRequest:
    return parse(json.dumps({"model": "m", "messages": messages, **members}).encode())


def _user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _text(text: object) -> dict[str, object]:
    return {"type": "text", "text": text}


# -- the person's words


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        ("", None),
        (" \n", None),
        (" words ", " words "),
        ([], None),
        ([_text("")], None),
        ([_text("first"), _text("last")], "last"),
        ([_text("first"), _text(" ")], "first"),
        ([_text("words"), {"type": "image", "source": {}}], "words"),
        ([_text(None), _text(7), {"type": "text"}, "loose", None, 3], None),
        ([{"type": "document", "text": "not words"}], None),
        (None, None),
        ({"type": "text", "text": "no list"}, None),
        (f"{_OPEN}a{_CLOSE}words", "words"),
        (f" {_OPEN}a{_CLOSE}\n\n{_OPEN}b{_CLOSE}\nwords\n\n{_OPEN}c{_CLOSE}\n", "words"),
        (f"{_OPEN}a{_CLOSE}", None),
        # What is not a reminder from beginning to end is the person's.
        (f"{_OPEN} does not end", f"{_OPEN} does not end"),
        (f"what is {_OPEN}a{_CLOSE} for?", f"what is {_OPEN}a{_CLOSE} for?"),
        (f"why does {_CLOSE}", f"why does {_CLOSE}"),
        (f"{_OPEN}a{_CLOSE}\n  indented\n", "  indented\n"),
    ],
)
def test_the_prompt_is_the_last_text_without_reminders(content: object, prompt: str | None) -> None:
    assert _request(_user(content)).prompt == prompt


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [_user("words"), {"role": "assistant", "content": "answer"}],
        [_user("words"), {"content": "nobody's"}],
        [_user("words"), {"role": None, "content": "x"}],
        [_user("words"), "no message"],
        [_user("words"), 7],
        [{"role": "system", "content": "only this"}],
    ],
)
def test_without_a_user_message_at_the_end_there_is_no_prompt(messages: list[object]) -> None:
    request = _request(*messages)

    assert request.prompt is None
    assert request.correlating_tool_call_id is None


@pytest.mark.parametrize("messages", [b'"words"', b"null", b"{}", b"7"])
def test_messages_of_another_type_are_the_providers_business(messages: bytes) -> None:
    body = b'{"model":"m","messages":' + messages + b"}"

    assert parse(body).prompt is None
    assert parse(body).body() == body
    assert parse(b'{"model":"m"}').prompt is None


def test_a_prompt_beside_what_our_decoder_refuses_is_not_lost() -> None:
    body = b'{"model":"m","messages":[{"role":"user","n":1e999,"content":"half \\ud83d and \xff"}]}'

    assert parse(body).prompt == "half \ufffd and \ufffd"
    assert parse(body).body() == body


@given(st.text(), st.lists(st.sampled_from([f"{_OPEN}x{_CLOSE}", "\n", " ", _OPEN, _CLOSE, "w"]), max_size=8))
def test_words_are_only_ever_taken_from_the_ends(words: str, pieces: list[str]) -> None:
    said = "".join(pieces) + words + "".join(pieces)

    prompt = _request(_user(said)).prompt

    assert prompt is None or prompt in said
    if _OPEN not in said:
        assert prompt == (said if said.strip() else None)


# -- lineage and session


@pytest.mark.parametrize(
    ("content", "call_id"),
    [
        ("text", None),
        ([{"type": "tool_result", "tool_use_id": "a"}, {"type": "tool_result", "tool_use_id": "b"}, _text("x")], "b"),
        ([{"type": "tool_result", "tool_use_id": "a"}, {"type": "tool_result"}], "a"),
        ([{"type": "tool_result", "tool_use_id": 7}, {"type": "tool_result", "tool_use_id": ""}], None),
        ([{"type": "mcp_tool_result", "tool_use_id": "a"}], None),
    ],
)
def test_the_last_tool_result_names_the_call(content: object, call_id: str | None) -> None:
    assert _request(_user(content)).correlating_tool_call_id == call_id


@pytest.mark.parametrize(
    ("metadata", "hint"),
    [
        (b"{}", None),
        (b"null", None),
        (b'{"user_id":null}', None),
        (b'{"user_id":7}', None),
        (b'{"user_id":""}', None),
        (b'{"user_id":"a_session_b"}', "a_session_b"),
        (b'{"user_id":"{\\"session_id\\":\\"s\\"}"}', '{"session_id":"s"}'),
        (b'{"us\\u0065r_id":"x"}', "x"),
        (b'{"user_id":"half \\ud83d"}', "half \ufffd"),
    ],
)
def test_the_session_hint_is_the_clients_own_user_id(metadata: bytes, hint: str | None) -> None:
    request = parse(b'{"model":"m","metadata":' + metadata + b"}")

    assert request.session_hint == hint
    assert request.attributed_to("person-1").session_hint == hint


# -- attribution


@pytest.mark.parametrize(
    ("body", "upstream"),
    [
        (b'{"model":"m"}', b'{"model":"m","metadata":{"user_id":"p"}}'),
        (b'{"model":"m" }\n', b'{"model":"m","metadata":{"user_id":"p"} }\n'),
        (b'{"metadata":null,"model":"m"}', b'{"metadata":{"user_id":"p"},"model":"m"}'),
        (b'{"metadata":{},"model":"m"}', b'{"metadata":{"user_id":"p"},"model":"m"}'),
        (b'{"metadata":{ },"model":"m"}', b'{"metadata":{"user_id":"p" },"model":"m"}'),
        (b'{"metadata":{"user_id":{"a":1}},"model":"m"}', b'{"metadata":{"user_id":"p"},"model":"m"}'),
        (
            b'{"metadata":{"us\\u0065r_id": "x" ,"b":1},"model":"m"}',
            b'{"metadata":{"us\\u0065r_id": "p" ,"b":1},"model":"m"}',
        ),
        (
            b'{"metadata":{"b":1,"b":2},"model":"m"}',
            b'{"metadata":{"b":1,"b":2,"user_id":"p"},"model":"m"}',
        ),
        (
            b'{"x":{"metadata":{"user_id":"x"}},"model":"m"}',
            b'{"x":{"metadata":{"user_id":"x"}},"model":"m","metadata":{"user_id":"p"}}',
        ),
    ],
)
def test_the_person_is_named_in_metadata_and_nothing_else_moves(body: bytes, upstream: bytes) -> None:
    request = parse(body)

    assert request.attributed_to("p").body() == upstream
    assert request.asking_usage().attributed_to("q").attributed_to("p").body() == upstream
    assert request.body() == body


def test_an_identifier_cannot_break_out_of_its_string() -> None:
    attributed = parse(b'{"model":"m"}').attributed_to('x","model":"other\\').body()

    assert json.loads(attributed) == {"model": "m", "metadata": {"user_id": 'x","model":"other\\'}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model":"m","metadata":[]}', "metadata: an object is required"),
        (b'{"model":"m","metadata":"x"}', "metadata: an object is required"),
        (b'{"model":"m","metadata":{"user_id":"a","user_id":"b"}}', "metadata: duplicate key: user_id"),
        (b'{"model":"m","metadata":{"user_id":"a","us\\u0065r_id":"b"}}', "metadata: duplicate key: user_id"),
        (b'{"model":"m","metadata":{"user_id":"a","x":1,"user_id":"a"}}', "metadata: duplicate key: user_id"),
        (b'{"model":"m","metadata":{},"metadata":{"user_id":"b"}}', "duplicate key: metadata"),
        (b'{"model":"m","met\\u0061data":{},"metadata":{}}', "duplicate key: metadata"),
        (b'{"model":"m","stream":true,"stream":false}', "duplicate key: stream"),
        (b'{"model":"m","messages":[],"messages":[]}', "duplicate key: messages"),
        (b'{"model":"m","tools":[],"tools":[]}', "duplicate key: tools"),
        (b'{"model":"m","tool_choice":{},"tool_choice":{}}', "duplicate key: tool_choice"),
        (b'{"model":"m","container":"a","container":"b"}', "duplicate key: container"),
        (b"[1]", "must be a JSON object"),
        (b"", "empty"),
    ],
)
def test_a_body_that_two_parsers_could_read_differently_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as raised:
        parse(body)
    assert raised.value.problem.status == 400
    assert json.loads(MESSAGES.error_body(raised.value.problem, "id"))["error"]["type"] == "invalid_request_error"


def test_members_that_nobody_reads_may_stand_twice() -> None:
    body = b'{"x":1,"x":2,"model":"m","x":[3]}'

    assert parse(body).body() == body


@pytest.mark.parametrize(
    ("stream", "streaming"),
    [("true", True), ("false", False), ("null", False), ('"true"', True), ("1.0", True), ("0", False)],
)
def test_a_stream_is_asked_for_with_true_or_what_some_provider_takes_for_it(stream: str, streaming: bool) -> None:
    assert parse(f'{{"model":"m","stream":{stream}}}'.encode()).streaming is streaming


def test_a_request_shows_no_content_in_its_repr() -> None:
    request = _request(_user("secret words"), metadata={"user_id": "secret person"}).attributed_to("secret id")

    assert "secret" not in repr(request)


def test_this_dialect_has_no_background_and_may_store() -> None:
    request = _request(_user("x"), background=True)

    assert (request.background, request.stores) == (False, True)


def test_references_are_files_and_containers_but_not_what_tools_are_given() -> None:
    request = _request(
        _user([{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"file_id": "no"}}]},
        container={"id": "container_1"},
        tools=[{"name": "n", "input_schema": {"properties": {"file_id": {"type": "string"}}}}],
        metadata={"user_id": "x", "container": "no"},
    )

    assert request.references == ("file_1", "container_1")
