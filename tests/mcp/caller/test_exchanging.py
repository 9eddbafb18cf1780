"""Servers that are asked with a token which the person's own was exchanged for (RFC 8693)."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tests.mcp.caller.protected import (
    ADA,
    BOB,
    CLIENT,
    CLIENT_SECRET,
    GRANT,
    KIND,
    audiences_of,
    claims_of,
    house,
    offered,
    token_in,
)
from tests.mcp.real_servers import call, names, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

ID = "bmcp_tracker_read"
HUGE = b'{"access_token": "' + b"x" * 300_000 + b'"}'


def errors(error: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": "canary-of-the-endpoint"}, status)


async def test_each_person_is_let_in_by_a_token_that_is_for_the_server_alone() -> None:
    async with house(exchange=True) as h:
        h.exchange.scopes["sub-ada"] = "read write"
        own = [h.comes(ADA), h.comes(BOB)]
        for_ada, for_bob = await asyncio.gather(h.toolbox.tools(ADA), h.toolbox.tools(BOB))
        results = await asyncio.gather(*(h.toolbox.call(who, for_bob.tools[0], call(ID)) for who in (ADA, BOB)))
        shown = [claims_of(token, h.issuer, 0.0) for token in h.tracker.shown]

    assert (names(for_ada), names(for_bob)) == (["read", "write"], ["read"])
    assert [said(result)[0] for result in results] == ["read as sub-ada", "read as sub-bob"]
    assert set(h.tracker.shown) == set(h.exchange.given)
    assert [audiences_of(claims or {}) for claims in shown] == [[h.server.resource]] * 2
    assert {asked["subject_token"] for asked in h.exchange.asked} == set(own)
    assert {name: value for name, value in h.exchange.asked[0].items() if name != "subject_token"} == {
        "grant_type": GRANT,
        "subject_token_type": f"{KIND}access_token",
        "requested_token_type": f"{KIND}access_token",
        "resource": h.server.resource,
        "client_id": CLIENT,
    }


async def test_what_is_configured_is_asked_for() -> None:
    async with house(exchange=True, audience="tracker", scopes=("read", "write")) as h:
        h.comes(ADA)
        toolset = await h.toolbox.tools(ADA)
        (asked,) = h.exchange.asked

    assert names(toolset) == ["read"]
    assert (asked["audience"], asked["scope"]) == ("tracker", "read write")
    assert "resource" not in asked


@pytest.mark.parametrize(
    ("methods", "secret", "in_header", "in_form"),
    [
        (("client_secret_basic",), True, True, False),
        (("private_key_jwt", "client_secret_post"), True, False, True),
        ((), True, True, False),
        (("client_secret_basic",), False, False, False),
    ],
)
async def test_the_gateway_says_who_it_is_in_the_way_that_the_endpoint_takes(
    methods: tuple[str, ...], secret: bool, in_header: bool, in_form: bool
) -> None:
    heads: list[str | None] = []

    def refuses(request: Request) -> Response:
        heads.append(request.headers.get("authorization"))
        return errors("access_denied")

    more: dict[str, Any] = {"client_secret": None} if not secret else {}
    async with house(exchange=True, methods=methods, subject_token_type="id_token", **more) as h:
        h.comes(ADA)
        h.exchange.before = refuses
        await h.toolbox.tools(ADA)
        (asked,) = h.exchange.asked

    assert [head is not None and head.startswith("Basic ") for head in heads] == [in_header]
    assert (asked.get("client_secret") == CLIENT_SECRET) is in_form
    assert asked["client_id"] == CLIENT
    assert asked["subject_token_type"] == f"{KIND}id_token"


async def test_however_many_calls_wait_a_token_is_exchanged_once() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        h.exchange.open.clear()
        listing = [asyncio.create_task(h.toolbox.tools(ADA)) for _ in range(5)]
        direct = [asyncio.create_task(h.exchanges.token(ADA.actor.id, h.server)) for _ in range(50)]
        await h.exchange.came.wait()
        direct.pop().cancel()  # whoever gives up takes nobody's exchange along
        h.exchange.open.set()
        toolsets, tokens = await asyncio.gather(*listing), await asyncio.gather(*direct)
        calls = await asyncio.gather(*(h.toolbox.call(ADA, toolsets[0].tools[0], call(ID)) for _ in range(20)))

    assert len(h.exchange.asked) == 1
    assert {token.value for token in tokens} == {h.exchange.given[0]}
    assert {said(result)[0] for result in calls} == {"read as sub-ada"}


async def test_a_token_is_renewed_before_it_ends_and_nobody_waits_meanwhile() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        toolset = await h.toolbox.tools(ADA)
        h.clock.passed += 571  # of 600
        h.exchange.open.clear()
        meanwhile = await h.toolbox.call(ADA, toolset.tools[0], call(ID))
        h.exchange.open.set()
        await until(lambda: len(h.exchange.given) == 2)
        h.clock.passed += 60
        after = await h.toolbox.call(ADA, toolset.tools[0], call(ID))

    assert meanwhile.error is after.error is None
    assert h.tracker.shown == h.exchange.given
    assert len(h.exchange.given) == 2


async def test_a_token_that_the_server_refuses_is_exchanged_anew_and_not_again_and_again() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        toolset = await h.toolbox.tools(ADA)
        h.tracker.refuses.add(h.exchange.given[0])
        renewed = await h.toolbox.call(ADA, toolset.tools[0], call(ID))
        once = len(h.exchange.asked)
        h.tracker.refuses.update(h.exchange.given)
        refused = [await h.toolbox.call(ADA, toolset.tools[0], call(ID)) for _ in range(5)]
        twice = len(h.exchange.asked)
        h.clock.passed += 61
        later = await h.toolbox.call(ADA, toolset.tools[0], call(ID))

    assert said(renewed) == ["read as sub-ada"]
    assert (once, twice, len(h.exchange.asked)) == (2, 2, 3)
    assert all("401" in (result.error or "") for result in refused)
    assert said(later) == ["read as sub-ada"]


async def test_calls_that_are_refused_late_go_on_with_the_token_that_another_has_brought() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        toolset = await h.toolbox.tools(ADA)
        first = h.exchange.given[0]
        h.tracker.refuses.add(first)
        late = asyncio.Event()
        h.tracker.holds = lambda request: late if len(h.tracker.requests) % 2 and token_in(request) == first else None
        calls = [asyncio.create_task(h.toolbox.call(ADA, toolset.tools[0], call(ID))) for _ in range(10)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        late.set()
        results = await asyncio.gather(*calls)

    assert [said(result) for result in results] == [["read as sub-ada"]] * 10
    assert len(h.exchange.asked) == 2


@pytest.mark.parametrize("word", ["invalid_grant", "access_denied", "invalid_target", "consent_required"])
async def test_whoever_is_denied_a_token_is_told_so_and_the_endpoint_is_left_alone_for_a_while(word: str) -> None:
    async with house(exchange=True, announce_login=True) as h:
        h.comes(ADA)
        h.comes(BOB)
        subject = h.tokens.of(ADA.actor.id, None)
        assert subject is not None
        h.exchange.before = lambda _: errors(word) if h.exchange.asked[-1]["subject_token"] == subject.value else None
        denied = [await h.toolbox.tools(ADA) for _ in range(5)]
        (tool,) = denied[-1].tools
        result = await h.toolbox.call(ADA, tool, call(tool.id, "{}"))
        asked = len(h.exchange.asked)
        bobs = await h.toolbox.tools(BOB)
        (status,) = h.toolbox.status_for(ADA.actor)
        h.exchange.before = None
        h.clock.passed += 1.1
        let_in = await offered(h, ADA, "read")

    words = f"your identity provider gives you no token for this server ({word})"
    assert names(denied[0]) == []
    assert names(denied[-1]) == ["login"]
    assert asked == 1
    assert names(bobs) == ["read"]
    assert words in said(result)[0]
    assert status.last_error == words
    assert let_in


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (errors("invalid_client", 401), "exchanges no tokens for this server now (invalid_client)"),
        (errors("temporarily_unavailable"), "exchanges no tokens for this server now (temporarily_unavailable)"),
        (Response("canary", 500), "exchanges no tokens for this server now (it answers 500)"),
        (Response("canary", 429), "exchanges no tokens for this server now (it answers 429)"),
        (RedirectResponse("http://127.0.0.1:9/"), "exchanges no tokens for this server now (it answers 307)"),
        (Response("canary"), "gives for this server cannot be read"),
        (Response(b"\xff\xfe{"), "gives for this server cannot be read"),
        (Response(b"[" * 100_000), "gives for this server cannot be read"),
        (Response(HUGE), "127.0.0.1 answers with more than is read"),
        (JSONResponse({"token_type": "Bearer"}), "gives for this server cannot be read"),
    ],
)
async def test_an_endpoint_that_fails_costs_no_request_and_is_asked_later_and_later(
    answer: Response, words: str
) -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        h.comes(BOB)
        h.exchange.before = lambda _: answer
        toolsets = [await h.toolbox.tools(who) for who in (ADA, ADA, BOB, BOB)]
        at_once = len(h.exchange.asked)
        (status,) = h.toolbox.status()
        for _ in range(100):
            h.clock.passed += 1.0
            await h.toolbox.tools(ADA)
            await h.toolbox.tools(BOB)
            await until(lambda: not h.exchanges._tasks)
        in_vain = len(h.exchange.asked)
        h.exchange.before = None
        h.clock.passed += 61
        let_in = await offered(h, ADA, "read")

    assert {len(toolset.tools) for toolset in toolsets} == {0}
    assert at_once == 1
    assert words in (status.last_error or "")
    assert "canary" not in (status.last_error or "")
    assert in_vain <= 12
    assert let_in


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"token_type": "N_A"}, "is of a kind that is not sent"),
        ({"token_type": "DPoP"}, "is of a kind that is not sent"),
        ({"issued_token_type": f"{KIND}refresh_token"}, "is of a kind that is not sent"),
        ({"access_token": ""}, "cannot be sent"),
        ({"access_token": "a\nb: c"}, "cannot be sent"),
        ({"access_token": "é"}, "cannot be sent"),
        ({"access_token": "x" * 40_000}, "cannot be sent"),
        ({"expires_in": 0}, "has ended already"),
        ({"expires_in": -1}, "has ended already"),
        ({"expires_in": "soon"}, "cannot be read"),
        ({"expires_in": [1]}, "cannot be read"),
    ],
)
async def test_a_token_that_cannot_be_one_is_not_sent(field: dict[str, Any], words: str) -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        h.exchange.said = field
        toolset = await h.toolbox.tools(ADA)
        (status,) = h.toolbox.status()

    assert names(toolset) == []
    assert words in (status.last_error or "")
    assert h.tracker.shown == []


async def test_the_token_for_the_gateway_is_not_sent_where_it_comes_back_as_it_went() -> None:
    async with house(exchange=True) as h:
        h.exchange.said = {"access_token": h.comes(ADA)}
        toolset = await h.toolbox.tools(ADA)
        (status,) = h.toolbox.status()

    assert names(toolset) == []
    assert "is the one that it was given" in (status.last_error or "")
    assert h.tracker.shown == []


@pytest.mark.parametrize("lenient", [{"token_type": "bearer"}, {"expires_in": "600"}, {"issued_token_type": None}])
async def test_what_many_get_wrong_is_taken_all_the_same(lenient: dict[str, Any]) -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        h.exchange.said = lenient
        toolset = await h.toolbox.tools(ADA)

    assert names(toolset) == ["read"]


async def test_where_nobody_says_how_long_a_token_lives_it_is_not_used_for_long() -> None:
    async with house(exchange=True) as h:
        h.exchange.life = None
        h.comes(ADA)
        token = await h.exchanges.token(ADA.actor.id, h.server)
        h.exchange.said = {"expires_in": 10**12}
        h.comes(BOB, life=10**6)
        of_bob = await h.exchanges.token(BOB.actor.id, h.server)
        now = h.clock.now().timestamp()

    assert token.expires_at - now == pytest.approx(300)
    assert of_bob.expires_at - now == pytest.approx(86400)


async def test_an_endpoint_that_does_not_answer_is_given_up() -> None:
    async with house(exchange=True, deadline=0.05) as h:
        h.comes(ADA)
        h.exchange.open.clear()
        toolset = await h.toolbox.tools(ADA)
        (status,) = h.toolbox.status()
        h.exchange.open.set()

    assert names(toolset) == []
    assert "does not answer in time" in (status.last_error or "")


async def test_while_the_endpoint_is_down_a_token_holds_to_its_end_and_no_longer() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        toolset = await h.toolbox.tools(ADA)
        h.exchange.before = lambda _: Response("", 503)
        h.clock.passed += 590
        holds = await h.toolbox.call(ADA, toolset.tools[0], call(ID))
        await until(lambda: not h.exchanges._tasks)
        h.clock.passed += 10
        ended = await h.toolbox.call(ADA, toolset.tools[0], call(ID))

    assert said(holds) == ["read as sub-ada"]
    assert "exchanges no tokens for this server now (it answers 503)" in (ended.error or "")


async def test_with_a_newer_token_of_the_person_what_the_older_was_exchanged_for_is_not_used_any_more() -> None:
    async with house(exchange=True) as h:
        h.exchange.scopes["sub-ada"] = "read write"
        h.comes(ADA)
        before = await h.toolbox.tools(ADA)
        h.exchange.scopes["sub-ada"] = "read"
        h.comes(ADA, jti="newer")
        fewer = await offered(h, ADA, "read")
        shown = list(h.tracker.shown)
        h.comes(ADA, jti="newest")
        h.exchange.before = lambda _: errors("access_denied")
        denied = await h.toolbox.call(ADA, before.tools[0], call(ID))

    assert names(before) == ["read", "write"]
    assert fewer
    assert shown == h.exchange.given[:2]
    assert "(access_denied)" in (denied.error or "")
    assert h.tracker.shown == shown


async def test_a_token_is_not_used_for_longer_than_the_one_that_it_comes_from_lives() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA, life=100)
        toolset = await h.toolbox.tools(ADA)
        h.clock.passed += 100
        ended = await h.toolbox.call(ADA, toolset.tools[0], call(ID))
        asked = len(h.exchange.asked)

    assert "it has ended" in (ended.error or "")
    assert asked == 1


async def test_what_was_issued_for_a_server_is_forgotten_when_it_is_configured_otherwise() -> None:
    async with house(exchange=True) as h:
        h.comes(ADA)
        first = await h.exchanges.token(ADA.actor.id, h.server)
        h.exchanges.reconfigure([h.server])
        same = await h.exchanges.token(ADA.actor.id, h.server)
        other = replace(h.server, scopes=("read",))
        narrower = await h.exchanges.token(ADA.actor.id, other)
        h.exchanges.reconfigure([])
        left = len(h.exchanges._all)

    assert first is same
    assert narrower.value != first.value
    assert left == 0


async def test_where_the_endpoint_must_not_be_asked_no_token_leaves() -> None:
    async with house(exchange=True, private_endpoint=False) as h:
        h.comes(ADA)
        await h.toolbox.tools(ADA)
        (status,) = h.toolbox.status()

    assert "must be reached by https://" in (status.last_error or "")
    assert h.exchange.asked == []


async def test_no_secret_is_in_a_repr_or_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with house(exchange=True) as h:
        own = h.comes(ADA)
        await h.toolbox.tools(ADA)
        issued = await h.exchanges.token(ADA.actor.id, h.server)
        h.exchange.before = lambda _: errors("invalid_grant")
        own_too = h.comes(BOB)
        await h.toolbox.tools(BOB)
        texts = [repr(issued), repr(h.exchanges._all), repr(h.server), repr(h.tokens), *map(str, h.toolbox.status())]
    texts += [
        f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name.startswith("aibridge")
    ]

    assert len(texts) > 6
    for secret in (own, own_too, issued.value, CLIENT_SECRET, "canary-of-the-endpoint"):
        assert all(secret not in text for text in texts)
