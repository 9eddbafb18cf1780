"""Which calls of injected tools must not run, whose a name is, results in words, and anchors."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Dialect
from aibridge.dialects.calls import (
    anchor,
    in_words,
    is_ours,
    may_name_ours,
    object_schema,
    refuse_our_prefix,
    unrunnable,
)
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.responses import RESPONSES, RESPONSES_COMPACT
from aibridge.dialects.turns import LoopingRequest
from aibridge.errors import InvalidRequest
from aibridge.tools import PREFIX, Image, Text, Tool, Toolset
from aibridge.wire.sse import EventSplitter, parse_block


@pytest.mark.parametrize("arguments", ["", "  \n", "{}", ' {"a":[1e999]} ', '{"half":"\\ud83d"}'])
def test_a_call_with_an_object_or_nothing_may_run(arguments: str) -> None:
    assert unrunnable(arguments, truncated=False) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"a":', "not valid JSON"),
        ("plain", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("null", "not a JSON object"),
        ("7", "not a JSON object"),
    ],
)
def test_a_call_with_anything_else_is_refused_in_words(arguments: str, words: str) -> None:
    assert words in (unrunnable(arguments, truncated=False) or "")


def test_a_call_that_was_cut_off_never_runs_though_its_arguments_read_well() -> None:
    assert "cut off" in (unrunnable('{"path":"/"}', truncated=True) or "")


def test_only_our_prefix_is_ours() -> None:
    assert is_ours("bmcp_files_read")
    assert not is_ours("mcp__files__read")
    refuse_our_prefix(["read", "BMCP_x", "x_bmcp_"])
    with pytest.raises(InvalidRequest, match="bmcp_mine"):
        refuse_our_prefix(["read", "bmcp_mine"])


def test_a_result_in_words_says_what_an_image_was() -> None:
    words = in_words((Text("two lines\nof text"), Image("image/png", "AAAA"), Text("end")))

    assert words == "two lines\nof text\n[an image of type image/png, 3 bytes, which cannot be shown here]\nend"


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (b'{"type":"object", "properties":{"a":{"anyOf":[]}},"$defs":{}}', None),
        (b'{"properties":{}}', b'{"properties":{},"type":"object"}'),
        (b'{"type":"object"}', b'{"type":"object","properties":{}}'),
        (b'{"type":["object","null"],"properties":{}}', b'{"type":"object","properties":{}}'),
        (b'{"anyOf":[{}],"type":"object","properties":{},"anyOf":[]}', b'{"type":"object","properties":{}}'),
        (b'{"type":"object","properties":{},"required":null}', b'{"type":"object","properties":{}}'),
        (b"[]", b'{"type":"object","properties":{}}'),
        (b"", b'{"type":"object","properties":{}}'),
    ],
)
def test_a_schema_is_kept_but_for_what_providers_refuse(schema: bytes, written: bytes | None) -> None:
    assert object_schema(schema) == (schema if written is None else written)


@given(st.text() | st.binary())
def test_an_anchor_is_short_and_the_same_each_time(value: str | bytes) -> None:
    assert anchor("kind", value) == anchor("kind", value)
    assert len(anchor("kind", value)) <= 128
    assert anchor("kind", value) != anchor("other", value)


def test_a_short_id_is_its_own_anchor_and_a_long_one_is_digested() -> None:
    assert anchor("call", "toolu_1") == "call:toolu_1"
    assert anchor("call", "x" * 200) != anchor("call", "x" * 201)


@pytest.mark.parametrize("dialect", [MESSAGES, CHAT_COMPLETIONS, RESPONSES, RESPONSES_COMPACT])
def test_a_keepalive_is_one_whole_frame_that_says_nothing(dialect: Dialect) -> None:
    keepalive = dialect.keepalive

    assert EventSplitter().split(keepalive) == [keepalive]
    assert parse_block(keepalive).data in (None, b'{"type": "ping"}')


@pytest.mark.parametrize("letter", range(len(PREFIX)))
def test_a_name_of_ours_is_found_in_json_however_it_is_spelled(letter: int) -> None:
    escaped = f"{PREFIX[:letter]}\\u{ord(PREFIX[letter]):04X}{PREFIX[letter + 1 :]}"

    assert may_name_ours(f'{{"name":"{PREFIX}x"}}'.encode())
    assert may_name_ours(f'{{"name":"{escaped}x"}}'.encode())
    assert not may_name_ours(b'{"name":"mcp_x","text":"bmcp \\u00e9 \\n"}')


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        (MESSAGES, '{"content":[{"type":"tool_use","id":"c","name":"NAME","input":{}}],"stop_reason":"tool_use"}'),
        (
            CHAT_COMPLETIONS,
            (
                '{"choices":[{"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"NAME",'
                '"arguments":"{}"}}]},"finish_reason":"tool_calls"}]}'
            ),
        ),
        (
            RESPONSES,
            (
                '{"object":"response","status":"completed","output":[{"type":"function_call","call_id":"c","name":"NAME",'
                '"arguments":"{}"}]}'
            ),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Dialect) else "",
)
def test_a_call_of_ours_whose_name_is_spelled_with_escapes_is_found_in_a_whole_answer(
    dialect: Dialect, answer: str
) -> None:
    asked = cast("LoopingRequest", dialect.parse(b'{"model":"m"}'))
    reply = asked.offering(Toolset([Tool(id="bmcp_a_b", name="b", server="a")])).reply(stream=False)
    reply.receive(answer.replace("NAME", r"bm\u0063p_a_b").encode())

    assert [call.tool_id for call in reply.end_turn().calls] == ["bmcp_a_b"]


@pytest.mark.parametrize("dialect", [MESSAGES, CHAT_COMPLETIONS, RESPONSES], ids=lambda dialect: dialect.name)
def test_the_quick_count_of_the_clients_tools_is_never_too_low(dialect: Dialect) -> None:
    function = '{"name":"c"},{"type":"function","function":{"name":"d"}}'
    space = '{"type":"namespace","name":"s","tools":[{"type":"function","name":"e"},{"name":"f"}]}'
    escaped = space.replace("tools", r"tool\u0073")
    for tools in (
        f"[{function},{space},7]",
        f"[{function}, {space}]",
        f"[{escaped}]",
        f"[{escaped},{space},[]]",
        "[]",
        "null",
        "7",
        '{"name":"x"}',
    ):
        asked = cast(
            "LoopingRequest",
            dialect.parse(f'{{"model":"m","tools":{tools},"functions":[{{"name":"b"}}]}}'.encode()),
        )
        toolset = Toolset([])
        for _ in ("looked at", "remembered"):
            assert asked.client_tools_at_most(toolset) >= len(asked.client_tools)


def test_a_toolset_looks_once_at_a_list_of_a_clients_tools_and_remembers_some() -> None:
    looked: list[bytes] = []

    def look(tools: bytes) -> int | None:
        looked.append(tools)
        return None if tools == b"ours" else len(looked)

    toolset = Toolset([])

    assert [toolset.beside("messages", one, look) for one in (b"a", b"b", b"a", b"ours", b"ours")] == [
        1,
        2,
        1,
        None,
        None,
    ]
    assert toolset.beside("responses", b"a", look) == 4
    several = [b"%d" % number for number in range(100)]
    for one in several:
        toolset.beside("messages", one, look)
    assert looked == [b"a", b"b", b"ours", b"a", *several]
