"""What goes wrong with servers costs nobody a request: dead, slow, malformed, huge, gone in mid-call, forgetful."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from aibridge.actor import Actor
from aibridge.credentials import Secret
from aibridge.mcp import McpServer, McpToolbox
from aibridge.mcp.authorization import FixedAuthorization
from aibridge.ports import Identity
from tests.fakes.clock import FakeClock
from tests.mcp.real_servers import ALICE, BOB, Era, Wiki, at, call, names, no_task_runs, said, serving, text, tool
from tests.waiting import until

pytestmark = pytest.mark.anyio

DEAD = "http://127.0.0.1:9/mcp"


def is_post(request: Request) -> bool:
    return request.method == "POST"


# -- dead and slow -------------------------------------------------------------------------------------


async def test_a_dead_server_hides_no_other() -> None:
    async with serving(Wiki()) as url, McpToolbox([at(DEAD, "dead"), at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)
        down, up = toolbox.status()

    assert names(toolset) == ["read", "write"]
    assert (down.state, down.last_error, up.state) == ("down", "no connection", "up")


async def test_a_server_that_stays_away_is_tried_later_and_later_and_not_with_each_request() -> None:
    clock, wiki, tried = FakeClock(), Wiki(), []
    wiki.before = lambda request: Response("no", 503)
    async with serving(wiki) as url, McpToolbox([at(url)], clock=clock, chance=lambda: 1.0) as toolbox:
        for _ in range(80):
            before = len(wiki.requests)
            await toolbox.tools(ALICE)
            await toolbox.tools(BOB)
            await until(lambda: no_task_runs(toolbox))
            if len(wiki.requests) > before:
                tried.append(clock.passed)
            clock.passed += 0.25
        wiki.before = None
        clock.passed += 60
        await toolbox.tools(ALICE)
        await until(lambda: toolbox.status()[0].state == "up")
        toolset = await toolbox.tools(ALICE)

    assert tried == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert names(toolset) == ["read", "write"]


async def test_who_comes_while_a_server_is_known_to_be_down_does_not_wait_for_it() -> None:
    hanging = Wiki()
    async with serving(hanging) as url, McpToolbox([at(url)], patience=60.0) as toolbox:
        hanging.before = lambda request: Response("no", 503)
        await toolbox.tools(ALICE)
        hanging.before = None
        hanging.gate.clear()
        async with asyncio.timeout(2):
            toolset = await toolbox.tools(BOB)
        hanging.gate.set()

    assert names(toolset) == []


async def test_a_silent_server_is_waited_for_once_and_its_tools_come_when_they_come() -> None:
    silent, wiki = Wiki(), Wiki()
    silent.gate.clear()
    async with AsyncExitStack() as stack:
        silent_url, url = [await stack.enter_async_context(serving(each)) for each in (silent, wiki)]
        toolbox = await stack.enter_async_context(McpToolbox([at(silent_url, "silent"), at(url)], patience=1.0))
        without = await toolbox.tools(ALICE)
        async with asyncio.timeout(0.9):
            again = await toolbox.tools(ALICE)
        silent.gate.set()
        await until(lambda: toolbox.status()[0].state == "up")
        with_it = await toolbox.tools(ALICE)

    assert {each.server for each in without.tools} == {"wiki"}
    assert again is without
    assert {each.server for each in with_it.tools} == {"silent", "wiki"}


async def test_a_list_that_is_known_is_served_while_it_is_read_again() -> None:
    clock, wiki = FakeClock(), Wiki()
    async with serving(wiki) as url, McpToolbox([at(url)], clock=clock, idle=10_000.0) as toolbox:
        before = await toolbox.tools(ALICE)
        wiki.tools.append(tool("new"))
        wiki.gate.clear()
        clock.passed += 301
        during = await toolbox.tools(ALICE)
        wiki.gate.set()
        await until(lambda: wiki.lists == 2)
        await until(lambda: len(toolbox.status()[0].tools) == 3)
        after = await toolbox.tools(ALICE)

    assert during is before
    assert names(after) == ["new", "read", "write"]


@pytest.mark.parametrize(("status", "tried"), [(405, {"POST", "GET"}), (404, {"POST", "GET"}), (503, {"POST"})])
async def test_the_older_transport_is_tried_only_where_the_server_refuses_the_newer(
    status: int, tried: set[str]
) -> None:
    wiki = Wiki()
    wiki.before = lambda request: Response("no", status)
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        await toolbox.tools(ALICE)
        (state,) = toolbox.status()

    assert {request.method for request in wiki.requests} == tried
    assert state.last_error == f"the server answered {status}"


@pytest.mark.parametrize("answer", [Response("no", 503), Response("gone", 404)], ids=["down", "forgotten"])
async def test_a_list_that_cannot_be_read_again_stays_and_is_read_as_soon_as_it_can_be(answer: Response) -> None:
    clock, wiki = FakeClock(), Wiki()
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)], clock=clock, idle=10_000.0) as toolbox:
        before = await toolbox.tools(ALICE)
        wiki.tools.append(tool("new"))
        wiki.before = lambda request: answer if is_post(request) else None
        clock.passed += 301
        during = await toolbox.tools(ALICE)
        await until(lambda: no_task_runs(toolbox))
        wiki.before = None
        clock.passed += 2
        still = await toolbox.tools(ALICE)
        await until(lambda: len(toolbox.status()[0].tools) == 3)
        after = await toolbox.tools(ALICE)
        (status,) = toolbox.status()

    assert before is during
    assert before is still
    assert names(after) == ["new", "read", "write"]
    assert status.last_error == ("the server answered 503" if answer.status_code == 503 else None)


async def test_leaving_the_toolbox_does_not_wait_for_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibridge.mcp.sessions._CLOSING", 0.1)
    silent = Wiki()
    silent.gate.clear()
    async with serving(silent) as url:
        async with asyncio.timeout(4):
            async with McpToolbox([at(url)], patience=0.05) as toolbox:
                await toolbox.tools(ALICE)
        silent.gate.set()

    assert toolbox.status()[0].sessions == 0


# -- malformed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: HTMLResponse("<h1>Welcome</h1>"), "Unexpected content type: text/html; charset=utf-8"),
        (lambda _: Response("{", media_type="application/json"), "its answer is not valid MCP"),
        (lambda _: JSONResponse({"jsonrpc": "2.0", "id": 1, "result": 7}), "its answer is not valid MCP"),
        (lambda _: Response("data: {\n\n", media_type="text/event-stream"), "its answer is not valid MCP"),
        (lambda _: Response("", media_type="text/event-stream"), "the answer broke off"),
        (lambda _: Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}), "the answer is compressed"),
        (lambda _: Response("down", 500), "the server answered 500"),
        (lambda _: Response("who?", 401), "the server answered 401"),
        (lambda _: RedirectResponse("https://elsewhere.example/mcp"), "Redirect to https://elsewhere.example/mcp not"),
        (
            lambda _: JSONResponse(
                {"jsonrpc": "2.0", "id": None, "error": {"code": 3, "message": "out\nof order"}}, 500
            ),
            "out of order",
        ),
    ],
    ids=["html", "half", "number", "event", "silence", "gzip", "500", "401", "redirect", "error"],
)
async def test_a_server_that_answers_with_something_else_is_left_out_with_the_reason(answer: Any, words: str) -> None:
    odd = Wiki()
    odd.before = answer
    async with AsyncExitStack() as stack:
        odd_url, url = [await stack.enter_async_context(serving(each)) for each in (odd, Wiki())]
        servers = [at(odd_url, "odd", transport="streamable_http"), at(url)]
        toolbox = await stack.enter_async_context(McpToolbox(servers))
        toolset = await toolbox.tools(ALICE)
        status, _ = toolbox.status()

    assert {each.server for each in toolset.tools} == {"wiki"}
    assert status.last_error is not None
    assert status.last_error.startswith(words)


class Circle(Wiki):
    """Says after each page that there is another, the same one."""

    async def list_tools(self, _: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        self.lists += 1
        return types.ListToolsResult(tools=[tool("read")], next_cursor="again")


class Endless(Wiki):
    """Has a next page, always."""

    async def list_tools(self, _: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        self.lists += 1
        return types.ListToolsResult(tools=[], next_cursor=str(self.lists))


@pytest.mark.parametrize(
    ("wiki", "words", "most"),
    [
        (Circle(), "the pages of its list go round in a circle", 2),
        (Endless(), "its list has more than 100 pages", 100),
        (Wiki(*(tool(f"t{number}") for number in range(1001)), page=200), "it lists more than 1000 tools", 6),
    ],
    ids=["circle", "endless", "long"],
)
async def test_a_list_without_an_end_is_given_up(wiki: Wiki, words: str, most: int) -> None:
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)
        (status,) = toolbox.status()

    assert names(toolset) == []
    assert status.last_error == words
    assert wiki.lists == most


async def test_a_call_that_the_server_refuses_is_a_result_that_says_so() -> None:
    wiki = Wiki()
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        wiki.tools = []
        unknown = await toolbox.call(ALICE, read, call(read.id))
        bad = await toolbox.call(ALICE, read, call(read.id, "[1]"))
        nothing = await toolbox.call(ALICE, read, call(read.id, " "))

    assert (said(unknown), unknown.error) == (["The call failed: unknown tool read"], "unknown tool read")
    assert bad.error == "the arguments are not a JSON object"
    assert wiki.calls == [("read", {"topic": "cats"}), ("read", {})]
    assert nothing.error == "unknown tool read"


async def test_a_tool_that_fails_says_why_to_the_model_and_to_the_record() -> None:
    wiki = Wiki()

    async def fails(_: dict[str, Any]) -> types.CallToolResult:
        return text("no such page", error=True)

    wiki.answers["read"] = fails
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        result = await toolbox.call(ALICE, read, call(read.id))

    assert (said(result), result.error) == (["no such page"], "no such page")


# -- huge ----------------------------------------------------------------------------------------------


class Flood:
    """Fifty megabytes of one answer, and how much of it was taken."""

    def __init__(self, head: bytes, media_type: str) -> None:
        self.head = head
        self.media_type = media_type
        self.given = 0

    async def body(self) -> AsyncIterator[bytes]:
        yield self.head
        for _ in range(800):
            self.given += 65536
            yield b"x" * 65536
            await asyncio.sleep(0)  # or nobody would notice that the client is gone

    def response(self) -> Response:
        return StreamingResponse(self.body(), media_type=self.media_type)


@pytest.mark.parametrize(
    ("flood", "words"),
    [
        (Flood(b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"', "application/json"), "larger"),
        (Flood(b'data: {"jsonrpc":"2.0","id":3,"result":{"content":[{"text":"', "text/event-stream"), "larger"),
    ],
    ids=["json", "sse"],
)
async def test_a_result_of_fifty_megabytes_is_not_read_and_the_session_goes_on(flood: Flood, words: str) -> None:
    wiki = Wiki()
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        wiki.before = lambda request: flood.response() if is_post(request) else None
        huge = await toolbox.call(ALICE, read, call(read.id))
        wiki.before = None
        small = await toolbox.call(ALICE, read, call(read.id))
        (status,) = toolbox.status()

    assert huge.error is not None
    assert words in huge.error
    assert flood.given < 20 * 1024 * 1024
    assert said(small) == ["read cats"]
    assert status.last_error is None


async def test_a_result_that_is_too_large_for_the_older_transport_ends_its_session_and_the_next_call_has_another() -> (
    None
):
    wiki = Wiki()

    async def megabytes(_: dict[str, Any]) -> types.CallToolResult:
        return text("x" * 2 * 1024 * 1024)

    wiki.answers["write"] = megabytes
    async with serving(wiki, "sse") as url, McpToolbox([at(url)], chance=lambda: 0.0) as toolbox:
        read, write = (await toolbox.tools(ALICE)).tools
        async with asyncio.timeout(5):
            huge = await toolbox.call(ALICE, write, call(write.id))
        await until(lambda: no_task_runs(toolbox))
        small = await toolbox.call(ALICE, read, call(read.id))

    assert huge.error == "the connection ended"
    assert said(small) == ["read cats"]


# -- gone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "sessions", "sse"])
async def test_a_server_that_dies_in_mid_call_gives_an_error_and_the_next_call_finds_it_again(era: Era) -> None:
    wiki, called = Wiki(), asyncio.Event()

    async def hangs(_: dict[str, Any]) -> types.CallToolResult:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    wiki.answers["read"] = hangs
    async with AsyncExitStack() as stack:
        living = AsyncExitStack()
        url = await living.enter_async_context(serving(wiki, era))
        toolbox = await stack.enter_async_context(McpToolbox([at(url)]))
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        calling = asyncio.create_task(toolbox.call(ALICE, read, call(read.id)))
        await called.wait()
        await living.aclose()
        async with asyncio.timeout(5):
            broken = await calling
        port = int(url.split(":")[2].split("/")[0])
        await stack.enter_async_context(serving(again := Wiki(), era, port=port))
        found = await toolbox.call(ALICE, read, call(read.id))

    assert broken.error is not None
    assert wiki.calls == [("read", {"topic": "cats"})]
    assert said(found) == ["read cats"]
    assert again.calls == [("read", {"topic": "cats"})]


async def test_one_call_that_breaks_breaks_no_other() -> None:
    wiki, held, go = Wiki(), asyncio.Event(), asyncio.Event()

    async def waits(_: dict[str, Any]) -> types.CallToolResult:
        held.set()
        await go.wait()
        return text("late, but whole")

    wiki.answers["write"] = waits
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)
        read, write = toolset.tools
        slow = asyncio.create_task(toolbox.call(ALICE, write, call(write.id)))
        await held.wait()
        wiki.before = lambda request: Response("gone", 502) if is_post(request) else None
        broken = await toolbox.call(ALICE, read, call(read.id))
        wiki.before = None
        go.set()
        whole = await slow

    assert broken.error == "the server answered 502"
    assert said(whole) == ["late, but whole"]


@pytest.mark.parametrize("status", [404, 400])
async def test_a_session_that_the_server_forgot_is_made_anew_and_the_call_is_sent_once_more(status: int) -> None:
    wiki = Wiki()
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        [forgotten] = {known for request in wiki.requests if (known := request.headers.get("mcp-session-id"))}

        def forget(request: Request) -> Response | None:
            if is_post(request) and request.headers.get("mcp-session-id") == forgotten:
                return Response("Bad Request: no valid session ID provided", status)
            return None

        wiki.before = forget
        result = await toolbox.call(ALICE, read, call(read.id))
        (state,) = toolbox.status()

    assert said(result) == ["read cats"]
    assert wiki.calls == [("read", {"topic": "cats"})]
    assert state.sessions == 1


async def test_a_server_that_forgets_every_session_is_asked_twice_and_no_more() -> None:
    wiki = Wiki()
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        refused = []

        def forget(request: Request) -> Response | None:
            if is_post(request) and request.headers.get("mcp-session-id") and wiki.lists > 1:
                refused.append(request)
                return Response("gone", 404)
            if is_post(request) and request.headers.get("mcp-session-id") and not refused and wiki.lists == 1:
                refused.append(request)
                return Response("gone", 404)
            return None

        wiki.before = forget
        result = await toolbox.call(ALICE, read, call(read.id))

    assert result.error == "the server does not know the session"
    assert len(refused) == 2
    assert wiki.calls == []


async def test_a_caller_that_gives_up_leaves_the_session_to_others() -> None:
    wiki, called, cancelled = Wiki(), asyncio.Event(), asyncio.Event()

    async def hangs(_: dict[str, Any]) -> types.CallToolResult:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    wiki.answers["write"] = hangs
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read, write = (await toolbox.tools(ALICE)).tools
        calling = asyncio.create_task(toolbox.call(ALICE, write, call(write.id)))
        await called.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        async with asyncio.timeout(5):
            await cancelled.wait()  # the server was told
        result = await toolbox.call(ALICE, read, call(read.id))

    assert said(result) == ["read cats"]


# -- who may not ---------------------------------------------------------------------------------------


async def test_a_token_is_not_carried_to_another_origin() -> None:
    trap, wiki = Wiki(), Wiki()
    async with serving(trap) as trap_url, serving(wiki) as url:
        wiki.before = lambda request: RedirectResponse(trap_url, 307)
        async with McpToolbox([at(url, auth="token", token=Secret("tok-1"))]) as toolbox:
            toolset = await toolbox.tools(ALICE)

    assert names(toolset) == []
    assert {request.headers["authorization"] for request in wiki.requests} == {"Bearer tok-1"}
    assert trap.requests == []


async def test_who_is_refused_is_refused_alone() -> None:
    wiki = Wiki()
    wiki.before = lambda request: Response("", 401) if request.headers["authorization"] == "Bearer bob" else None

    def named(_: McpServer, identity: Identity) -> FixedAuthorization:
        return FixedAuthorization(f"Bearer {identity.actor.id}")

    async with serving(wiki) as url, McpToolbox([at(url)], authorization=named) as toolbox:
        before = await toolbox.tools(BOB)
        alice = await toolbox.tools(ALICE)
        bob = await toolbox.tools(BOB)
        (status,) = toolbox.status()

    assert names(before) == names(bob) == []
    assert names(alice) == ["read", "write"]
    assert status.state == "up"


async def test_a_token_that_was_renewed_is_used_for_the_same_request() -> None:
    wiki = Wiki()

    class Renewing:
        def __init__(self) -> None:
            self.token = "old"
            self.asked: list[tuple[int, str | None]] = []

        def missing(self) -> str | None:
            return None

        def rights(self) -> object:
            return None

        def secrets(self) -> tuple[str, ...]:
            return ()

        async def header(self) -> str | None:
            return f"Bearer {self.token}"

        async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:
            self.asked.append((status, challenge))
            self.token = "new"
            return True

    source = Renewing()
    wiki.before = lambda request: (
        Response("", 401, {"www-authenticate": "Bearer x=y"}) if "old" in request.headers["authorization"] else None
    )
    async with serving(wiki) as url, McpToolbox([at(url)], authorization=lambda *_: source) as toolbox:
        toolset = await toolbox.tools(ALICE)

    assert names(toolset) == ["read", "write"]
    assert source.asked == [(401, "Bearer x=y")]


# -- what servers ask ----------------------------------------------------------------------------------


async def test_a_tool_that_wants_to_ask_the_user_is_told_that_nobody_is_there() -> None:
    wiki = Wiki()

    async def asks(_: dict[str, Any]) -> types.InputRequiredResult:
        return types.InputRequiredResult(request_state="s", input_requests=None)

    wiki.answers["read"] = asks
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        result = await toolbox.call(ALICE, read, call(read.id))

    assert result.error == "the tool asks the user for more, and nobody can be asked through a gateway"


# -- bounds --------------------------------------------------------------------------------------------


async def test_beyond_so_many_connections_the_one_that_was_unused_longest_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aibridge.mcp.sessions._MOST_CONNECTIONS", 2)
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(Wiki())) for _ in range(3)]
        toolbox = await stack.enter_async_context(
            McpToolbox([at(url, f"wiki{number}", groups=("g",) if number else ()) for number, url in enumerate(urls)])
        )
        await toolbox.tools(ALICE)
        await toolbox.tools(BOB)
        toolset = await toolbox.tools(Identity(Actor(id="carol", groups=("g",)), [], b""))
        await until(lambda: sum(status.sessions for status in toolbox.status()) <= 3)
        open_of = [status.sessions for status in toolbox.status()]

    assert len(toolset.tools) == 6
    assert open_of == [1, 1, 1]  # those of alice and bob were closed


# -- what servers say of what they were shown ----------------------------------------------------------


async def test_a_server_that_repeats_its_token_tells_it_to_nobody() -> None:
    token, header = "token-of-the-wiki-0123456789", "key-of-the-wiki-0123456789"
    wiki = Wiki()

    async def complains(_: Any) -> types.CallToolResult:
        shown = " ".join(wiki.requests[-1].headers.values())
        return text("x" * 480, f"not {shown}", error=True)

    async def refuses(_: Any) -> types.CallToolResult:
        raise MCPError(types.INVALID_PARAMS, f"{'x' * 190} {token} is not enough")

    wiki.answers |= {"read": complains, "write": refuses}
    async with serving(wiki) as url:
        server = at(url, auth="token", token=Secret(token), headers={"X-Key": Secret(header)})
        async with McpToolbox([server]) as toolbox:
            read, write = (await toolbox.tools(ALICE)).tools
            failed = await toolbox.call(ALICE, read, call(read.id))
            refused = await toolbox.call(ALICE, write, call(write.id))

    assert wiki.requests[-1].headers["authorization"] == f"Bearer {token}"
    assert "[redacted" in said(failed)[1]
    for result in (failed, refused):
        for word in (*said(result), result.error or ""):
            assert "token-of" not in word
            assert "key-of" not in word
