"""What needs no server: ids of tools, server values, results, back-off."""

import re
import string
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.credentials import Secret
from aibridge.mcp import McpServer
from aibridge.mcp.naming import ids_of
from aibridge.mcp.offers import Unlistable, offered
from aibridge.mcp.outages import Outage
from aibridge.mcp.results import failure, result_of
from aibridge.tools import Image, Text
from tests.fakes.clock import FakeClock
from tests.mcp.real_servers import tool

NAMES = st.sets(st.text(min_size=1, max_size=90) | st.text(string.ascii_letters + "._-", min_size=1, max_size=4))


# -- ids -----------------------------------------------------------------------------------------------


@given(NAMES)
def test_ids_are_what_every_provider_takes_and_all_different(names: set[str]) -> None:
    ids = ids_of("wiki", names)

    assert set(ids) == names
    assert len(set(ids.values())) == len(names)
    assert all(re.fullmatch(r"bmcp_wiki_[a-zA-Z0-9_-]*", each) and len(each) <= 64 for each in ids.values())


@given(NAMES, NAMES)
def test_a_plain_name_keeps_its_id_whatever_stands_beside_it(names: set[str], more: set[str]) -> None:
    beside = ids_of("wiki", names | more)
    for name, tool_id in ids_of("wiki", names).items():
        if re.fullmatch(r"[a-zA-Z0-9_-]{1,54}", name):
            assert beside[name] == tool_id == f"bmcp_wiki_{name}"


def test_odd_and_long_names_get_a_suffix_that_stays() -> None:
    long = "a" * 60

    assert ids_of("wiki", ["a.b", "a_b", long, "größe"]) == {
        "a_b": "bmcp_wiki_a_b",
        "a.b": "bmcp_wiki_a_b_77733e7b",
        "größe": "bmcp_wiki_gr__e_4b4cadb2",
        long: f"bmcp_wiki_{'a' * 45}_eb3da562",
    }


# -- server values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"name": "a_b", "url": "https://x"}, "name: must be lower-case letters"),
        ({"name": "a"}, "url: either a url or a command"),
        ({"name": "a", "url": "https://x", "command": ("x",)}, "url: either a url or a command"),
        ({"name": "a", "url": "ftp://x"}, "url: must be an https:// URL"),
        ({"name": "a", "url": "http://x.example"}, "url: must be an https:// URL (http:// only with allow_private"),
        ({"name": "a", "url": "https://10.0.0.1/"}, "url: 10.0.0.1 is a private address"),
        ({"name": "a", "url": "https://[::ffff:127.0.0.1]/"}, "url: ::ffff:127.0.0.1 is a private address"),
        ({"name": "a", "url": "http://9.9.9.9/", "allow_private": True}, "url: 9.9.9.9 is public: http://"),
        ({"name": "a", "url": "https://x", "transport": "stdio"}, "transport: stdio needs a command"),
        ({"name": "a", "command": ("x",), "transport": "sse"}, "transport: a command is spoken to over stdio"),
        ({"name": "a", "command": ("x",), "auth": "token"}, "auth: a command gets its credentials by env"),
        ({"name": "a", "url": "https://x", "env": {"A": Secret("b")}}, "env: is for a command"),
        ({"name": "a", "url": "https://x", "auth": "token"}, "token: is required"),
        ({"name": "a", "url": "https://x", "token": Secret("t")}, 'token: is for auth = "token"'),
        ({"name": "a", "url": "https://x", "headers": {"Mcp-Session-Id": Secret("t")}}, "headers: Mcp-Session-Id "),
        ({"name": "a", "url": "https://x", "headers": {"a b": Secret("t")}}, "headers: a b cannot be set"),
        ({"name": "a", "url": "https://x", "allow_tools": "("}, "allow_tools: is no pattern ("),
        ({"name": "a", "url": "https://x", "deny_tools": "*"}, "deny_tools: is no pattern ("),
        ({"name": "a", "url": "https://x", "pin": "loose"}, "pin: must be one of report, strict"),
    ],
)
def test_a_server_that_cannot_be_is_refused_with_the_reason(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as refused:
        McpServer(**settings)

    assert str(refused.value).startswith(line)


def test_what_is_shown_of_a_url_holds_no_secret() -> None:
    server = McpServer(name="a", url="https://user:pass@mcp.example:8443/a/b?key=s#f")

    assert server.shown_url == "https://mcp.example:8443/a/b"
    assert McpServer(name="a", command=("x",)).shown_url is None


def test_no_secret_is_in_the_representation_of_a_server() -> None:
    server = McpServer(
        name="a",
        url="https://user:canary-0@x/?key=canary-1",
        auth="token",
        token=Secret("canary-token-0123456789"),
        headers={"X-Key": Secret("canary-header-0123456789")},
    )

    assert "canary-token-0123456789" not in repr(server)
    assert "canary-header-0123456789" not in repr(server)
    assert "canary-0" not in repr(server)
    assert "canary-1" not in repr(server)


# -- lists ---------------------------------------------------------------------------------------------

WIKI = McpServer(name="wiki", url="https://wiki.example/mcp")


def test_a_second_tool_of_a_name_and_one_without_a_name_are_left_out() -> None:
    offer = offered(WIKI, [tool("read", "first"), tool("read", "second"), tool(""), tool("x" * 300)])

    assert [each.description for each in offer.tools] == ["first"]
    assert [each.why for each in offer.left_out] == [
        "another one has its name",
        "its name does not have 1 to 256 characters",
        "its name does not have 1 to 256 characters",
    ]


def test_a_schema_without_a_type_becomes_one_of_an_object() -> None:
    (read,) = offered(WIKI, [tool("read", schema={"properties": {}})]).tools

    assert read.schema == b'{"properties":{},"type":"object"}'


def test_a_fingerprint_is_of_what_is_said_and_not_of_the_order_of_keys() -> None:
    first, second, other = (
        offered(WIKI, [tool("read", schema=schema)]).definitions["read"]
        for schema in ({"type": "object", "a": 1}, {"a": 1, "type": "object"}, {"type": "object", "a": 2})
    )

    assert first == second != other


def test_a_list_beyond_bounds_is_refused() -> None:
    with pytest.raises(Unlistable, match="more than 1000 tools"):
        offered(WIKI, [tool(f"t{number}") for number in range(1001)])
    with pytest.raises(Unlistable, match="larger than 8 MiB"):
        offered(WIKI, [tool(f"t{number}", "x" * 2**20) for number in range(9)])


# -- results -------------------------------------------------------------------------------------------


def test_every_kind_of_content_becomes_text_or_an_image() -> None:
    given_back = types.CallToolResult(
        content=[
            types.TextContent(text="plain"),
            types.ImageContent(data="aGVsbG8=", mime_type="image/png"),
            types.AudioContent(data="aGVsbG8h", mime_type="audio/wav"),
            types.ResourceLink(name="n", uri="file:///a", description="about a", mime_type="text/plain"),
            types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///b", text="inside b")),
            types.EmbeddedResource(resource=types.BlobResourceContents(uri="file:///c", blob="aGVsbG8h")),
        ],
        structured_content={"not": "shown, since there is text"},
    )

    assert result_of("c", given_back).content == (
        Text("plain"),
        Image("image/png", "aGVsbG8="),
        Text("[audio, audio/wav, 6 bytes: it cannot be shown here]"),
        Text("[a resource: file:///a, text/plain] n about a"),
        Text("[file:///b]\ninside b"),
        Text("[file:///c: application/octet-stream, 6 bytes: it cannot be shown here]"),
    )


def test_structured_content_is_shown_where_there_is_no_text() -> None:
    given_back = types.CallToolResult(
        content=[types.ImageContent(data="aGVsbG8=", mime_type="image/png")], structured_content={"a": [1, None]}
    )

    assert result_of("c", given_back).content == (Image("image/png", "aGVsbG8="), Text('{"a":[1,null]}'))


def test_a_result_is_never_empty() -> None:
    nothing = result_of("c", types.CallToolResult(content=[]))
    failed = result_of("c", types.CallToolResult(content=[], is_error=True))

    assert nothing.content == (Text("The tool ran and returned nothing."),)
    assert nothing.error is None
    assert failed.error == "the tool failed and did not say why"


def test_the_error_on_record_is_the_beginning_of_what_the_tool_said() -> None:
    result = result_of("c", types.CallToolResult(content=[types.TextContent(text="no " * 400)], is_error=True))

    assert result.error == ("no " * 400)[:500]
    assert result.content == (Text("no " * 400),)
    assert failure("c", "it is gone").content == (Text("The call failed: it is gone"),)


# -- back-off ------------------------------------------------------------------------------------------


def test_a_server_that_stays_away_is_tried_later_and_later_and_one_that_is_back_at_once() -> None:
    clock, pauses = FakeClock(), []
    outage = Outage(clock.monotonic, lambda: 1.0)
    for _ in range(9):
        outage.failed()
        began = clock.passed
        while outage.lasts:
            clock.passed += 0.5
        pauses.append(clock.passed - began)
    outage.worked()

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not outage.lasts
    assert not outage.failing


def test_failures_that_began_together_count_once_and_one_person_tries_for_all() -> None:
    clock = FakeClock()
    outage = Outage(clock.monotonic, lambda: 1.0)
    for _ in range(5):
        outage.failed()
    clock.passed = 1.0
    before = outage.lasts
    outage.try_again()
    during = outage.lasts
    outage.failed()
    clock.passed = 2.9
    after = outage.lasts
    clock.passed = 3.0

    assert (before, during, after, outage.lasts) == (False, True, True, False)


def test_chance_halves_a_pause_at_most() -> None:
    clock = FakeClock()
    outage = Outage(clock.monotonic, lambda: 0.0)
    outage.failed()
    clock.passed = 0.49
    before = outage.lasts
    clock.passed = 0.5

    assert before
    assert not outage.lasts
