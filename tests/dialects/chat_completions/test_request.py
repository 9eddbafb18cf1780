"""Reading a chat request, and the two changes that it can take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.errors import InvalidRequest

_parse = CHAT_COMPLETIONS.parse
_names = st.sampled_from(["user", "safety_identifier", "store", "n", "stream_options", "x", "metadata"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def _request(*messages: object, **more: object) -> bytes:
    return json.dumps({"model": "m-1", "messages": messages, **more}).encode()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "model"),
        (b'{"model":""}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":"a","model":"b"}', "duplicate key: model"),
        (b'{"model":"a","stream":true,"stream":false}', "duplicate key: stream"),
        (b'{"model":"a","user":"a","us\\u0065r":"b"}', "duplicate key: user"),
        (b'{"model":"a","safety_identifier":"a","safety_identifier":"a"}', "duplicate key: safety_identifier"),
        (b'{"model":"a","messages":[],"messages":[]}', "duplicate key: messages"),
        (b'{"model":"a","tools":[],"tools":[]}', "duplicate key: tools"),
        (b'{"model":"a","tool_choice":"none","tool_choice":"auto"}', "duplicate key: tool_choice"),
        (b'{"model":"a","store":true,"store":false}', "duplicate key: store"),
        (b'{"model":"a","stream_options":{},"stream_options":{}}', "duplicate key: stream_options"),
        (
            b'{"model":"a","stream_options":{"include_usage":false,"include_usage":true}}',
            "stream_options: duplicate key: include_usage",
        ),
    ],
)
def test_a_body_that_two_parsers_could_read_differently_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _parse(body)

    assert caught.value.problem.status == 400
    assert complaint in caught.value.problem.message


def test_doubled_members_that_nobody_reads_pass() -> None:
    body = b'{"model":"m","metadata":{"a":1,"a":2},"metadata":{},"x":1,"x":2,"stream_options":{"y":1,"y":2}}'

    assert _parse(body).body() == body


@given(st.dictionaries(_names, _values, max_size=5), st.booleans())
def test_only_the_person_and_the_usage_option_are_changed(more: dict[str, Any], streaming: bool) -> None:
    body = _request(stream=streaming, **more)
    request = _parse(body).attributed_to("person-1").asking_usage()

    sent, ours = json.loads(request.body()), {"user", "safety_identifier", "stream_options"}
    assert {k: v for k, v in sent.items() if k not in ours} == {
        k: v for k, v in json.loads(body).items() if k not in ours
    }
    assert sent["user"] == "person-1"
    assert sent.get("safety_identifier", "person-1") == "person-1"
    assert ("safety_identifier" in sent) == ("safety_identifier" in more)
    assert _parse(body).body() == body


def test_a_person_is_named_with_all_their_letters() -> None:
    request = _parse(b'{"model":"m", "user" : "x" ,"z":1e400}').attributed_to('Ren\u00e9e "R"\n')

    assert request.body() == '{"model":"m", "user" : "Ren\u00e9e \\"R\\"\\n" ,"z":1e400}'.encode()


@pytest.mark.parametrize(
    ("options", "upstream"),
    [
        (None, b'{"include_usage":true}'),
        (b"null", b'{"include_usage":true}'),
        (b"{}", b'{"include_usage":true}'),
        (b'{ "include_usage" : false }', b'{ "include_usage" : true }'),
        (b'{"include_usage":null,"x":1.50}', b'{"include_usage":true,"x":1.50}'),
        (b'{"x":[ 1 ]}', b'{"x":[ 1 ],"include_usage":true}'),
        (b'{"include_usage":true}', None),
        (b'{"include_usage":"yes"}', b'{"include_usage":true}'),
        (b'{"include_usage":0}', b'{"include_usage":true}'),
        (b'"all"', None),
        (b"[]", None),
    ],
)
def test_usage_is_asked_for_when_the_client_did_not(options: bytes | None, upstream: bytes | None) -> None:
    start = b'{"model":"m","stream":true'
    body = start + (b"" if options is None else b',"stream_options":' + options) + b"}"
    request = _parse(body)

    expected = body if upstream is None else start + b',"stream_options":' + upstream + b"}"
    assert request.asking_usage().body() == expected
    assert request.body() == body


def test_usage_is_not_asked_for_where_nothing_is_streamed() -> None:
    body = b'{"model":"m","stream":false,"stream_options":{"include_usage":false}}'

    assert _parse(body).asking_usage().body() == body


_USER = {"role": "user", "content": "the question"}


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([_USER], "the question"),
        ([{"role": "user", "content": "  "}], None),
        ([{"role": "user", "content": None}], None),
        ([_USER, {"role": "assistant", "content": "an answer"}], None),
        ([_USER, {"role": "tool", "tool_call_id": "c", "content": "a result"}], None),
        ([_USER, {"role": "system", "content": "x"}, {"role": "developer", "content": "y"}], "the question"),
        ([{"role": "system", "content": "x"}], None),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "b"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}], "a"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]}], "a"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], None),
        ([{"role": "user", "content": [7, {"type": "text", "text": 7}, None]}], None),
        ([{"role": "user", "content": "<system-reminder>x</system-reminder>\nand this"}], "and this"),
        ([{"role": "user", "content": "<system-reminder>x</system-reminder>"}], None),
        ([7], None),
        ([], None),
    ],
)
def test_the_prompt_is_what_the_person_said_last(messages: list[object], prompt: str | None) -> None:
    assert _parse(_request(*messages)).prompt == prompt


@pytest.mark.parametrize("messages", [b"null", b'"x"', b"{}", b"[null]", b'[{"role":7}]', b'[{"role":"user"}]'])
def test_messages_that_are_none_do_no_harm(messages: bytes) -> None:
    request = _parse(b'{"model":"m","messages":' + messages + b"}")

    assert (request.prompt, request.correlating_tool_call_id) == (None, None)


def test_a_request_that_answers_calls_belongs_to_the_last_of_them() -> None:
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "r"} for n in (1, 2)]

    assert _parse(_request(_USER, *results)).correlating_tool_call_id == "call_2"
    assert _parse(_request(_USER, *results, {"role": "system", "content": "x"})).correlating_tool_call_id == "call_2"
    assert _parse(_request(*results, _USER)).correlating_tool_call_id is None
    assert _parse(_request({"role": "tool", "tool_call_id": 7})).correlating_tool_call_id is None


def test_files_that_the_person_refers_to_are_found_and_schemas_are_not_read() -> None:
    content = [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:", "filename": "x"}},
        {"type": "file", "file": {"file_id": "file-2"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    schema = {"type": "object", "properties": {"file_id": {"type": "string", "id": "no"}}, "required": ["file_id"]}
    request = _parse(
        _request(
            {"role": "user", "content": content},
            tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}],
            response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
            metadata={"file_id": "no"},
        )
    )

    assert request.references == ("file-1", "file-2")
    assert _parse(_request({"role": "user", "content": "file_id"})).references == ()


def test_what_a_chat_request_does_not_have_is_not_made_up() -> None:
    request = _parse(_request(_USER, prompt_cache_key="k", background=True, store="true"))

    assert (request.session_hint, request.background, request.stores, request.streaming) == (None, False, False, False)


def test_content_is_not_shown_by_repr() -> None:
    assert "the question" not in repr(_parse(_request(_USER)).attributed_to("person-1"))
    assert "person-1" not in repr(_parse(_request(_USER)).attributed_to("person-1"))
