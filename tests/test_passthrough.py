"""Passthrough routes: relayed unread, but for credentials, redirects, secrets, and whose the things are."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from aibridge import providers
from aibridge.errors import AnswerBroken, RecordingFailed, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.client import Client
from tests.fakes.house import House, opened, problem
from tests.fakes.interceptions import ADA, BOB, KEY
from tests.fakes.upstream import JSON, Scripted

pytestmark = pytest.mark.anyio

BEARER = [(b"authorization", b"Bearer sk-own-0123456789abcdef")]


def answers(house: House, body: bytes = b"{}", status: int = 200, **headers: str) -> None:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    house.upstream.answers.append(Scripted((body,) if body else (), status, (JSON, *pairs)))


async def get(house: House, path: str, **options: Any) -> Client:
    return await asked(house.bridge, path, method="GET", **options)


# -- relayed as it came ---------------------------------------------------------------------------------


async def test_an_answer_is_relayed_in_the_pieces_in_which_it_comes() -> None:
    goes_on = asyncio.Event()
    async with opened() as house:
        house.upstream.answers.append(Scripted((b'{"data":', goes_on, b"[]}"), 200, ((b"Content-Length", b"11"), JSON)))
        listing = call(house.bridge, scope_of("/anthropic/v1/models", "GET", query=b"limit=2"))
        await listing.client.until(8)
        assert listing.client.header("content-length") == b"11"
        goes_on.set()
        client = await listing.done()

        assert client.body == b'{"data":[]}'
        assert client.header("content-security-policy") == b"sandbox"
        assert client.header("x-content-type-options") == b"nosniff"
        [sent] = house.upstream.requests
        assert (sent.method, sent.url) == ("GET", "http://anthropic.test/v1/models?limit=2")
        assert (b"x-api-key", KEY.encode()) in sent.headers
        assert dict(sent.headers)[b"x-forwarded-for"] == b"127.0.0.1"
        assert dict(sent.headers)[b"user-agent"] == b"aibridge"
        assert house.upstream.decoded == [True]  # the client asked the provider for no coding
        assert house.recorder.attempts == []


async def test_a_body_goes_up_as_it_came_also_when_it_is_compressed() -> None:
    body = gzip.compress(b'{"events": []}')
    async with opened() as house:
        answers(house)
        headers = [(b"content-encoding", b"gzip"), (b"content-type", b"application/json")]
        await asked(house.bridge, "/anthropic/api/event_logging/batch", body, headers=headers)

        [sent] = house.upstream.requests
        assert sent.body == body
        assert (b"content-encoding", b"gzip") in sent.headers


async def test_a_head_request_has_headers_and_no_body() -> None:
    async with opened() as house:
        answers(house, b"", content_length="5000")
        client = await asked(house.bridge, "/openai/v1/models", method="HEAD")

        assert (client.status, client.body, client.header("content-length")) == (200, b"", b"5000")


async def test_a_head_request_for_what_is_not_there_tells_the_length_that_a_get_would() -> None:
    async with opened() as house:
        answers(house, b"", 404, content_length="5000")
        client = await asked(house.bridge, "/openai/v1/models/none", method="HEAD")

        assert (client.status, client.body, client.header("content-length")) == (404, b"", b"5000")


async def test_not_modified_is_relayed_and_any_other_redirect_refused() -> None:
    for status in (300, 301, 302, 303, 305, 307, 308):
        async with opened() as house:
            answers(house, b"there", status, location="https://elsewhere.test/")
            client = await get(house, "/openai/v1/models")

            assert client.status == 502
            assert str(status) in problem(client)
            assert client.header("location") is None
            assert len(house.upstream.requests) == 1
    async with opened() as house:
        answers(house, b"", 304, etag="x")
        client = await get(house, "/openai/v1/models")
        assert (client.status, client.header("etag")) == (304, b"x")


# -- what goes wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
async def test_an_error_of_the_provider_passes_with_known_secrets_taken_out(status: int) -> None:
    async with opened() as house:
        answers(house, b'{"error": "with ' + KEY.encode() + b' in it"}', status, retry_after="7", content_length="1")
        client = await get(house, "/openai/v1/models")

        assert (client.status, client.body) == (status, b'{"error": "with [redacted] in it"}')
        assert client.header("retry-after") == b"7"
        assert client.header("content-length") == str(len(client.body)).encode()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_central_key_is_a_502_and_ones_own_is_told_as_it_is(status: int) -> None:
    async with opened() as house:
        answers(house, b'{"error": "bad key"}', status)
        assert (await get(house, "/openai/v1/models")).status == 502
        answers(house, b'{"error": "bad key sk-own-0123456789abcdef"}', status)
        client = await get(house, "/openai/v1/models", headers=BEARER)

        assert (client.status, client.body) == (status, b'{"error": "bad key [redacted]"}')


@pytest.mark.parametrize(
    ("failure", "status"),
    [(UpstreamUnreachable("none"), 502), (UpstreamReset("none"), 502), (UpstreamStalled("none"), 504)],
)
async def test_a_provider_that_cannot_be_reached_is_told_in_the_providers_words(
    failure: Exception, status: int
) -> None:
    for path in ("/anthropic/v1/models", "/openai/v1/models"):
        async with opened() as house:
            house.upstream.answers.append(Scripted(before=(failure,)))
            client = await get(house, path)

            assert client.status == status
            assert problem(client) == "none"
            assert ("type" in json.loads(client.body)) == path.startswith("/anthropic")


async def test_an_answer_that_breaks_off_is_cut_and_not_ended() -> None:
    async with opened() as house:
        house.upstream.answers.append(Scripted((b'{"data":', UpstreamReset("none")), 200, (JSON,)))
        listing = call(house.bridge, scope_of("/openai/v1/models", "GET"))
        with pytest.raises(AnswerBroken):
            await listing.done()

        assert listing.client.body == b'{"data":'
        assert not listing.client.ended


async def test_an_error_that_breaks_off_keeps_its_status() -> None:
    async with opened() as house:
        house.upstream.answers.append(Scripted((b'{"error":', UpstreamReset("none")), 429, (JSON,)))
        client = await get(house, "/openai/v1/models")

        assert (client.status, client.body, client.ended) == (429, b'{"error":', True)


async def test_copilot_wants_the_users_own_token() -> None:
    async with opened() as house:
        client = await get(house, "/copilot/models")
        assert client.status == 401
        assert house.upstream.requests == []
        answers(house)
        assert (await get(house, "/copilot/models", headers=BEARER)).status == 200


async def test_a_credential_of_ones_own_may_be_unwelcome() -> None:
    provider = providers.openai(base_url="http://openai.test/v1", key=KEY, allow_byok=False)
    async with opened(providers=[provider]) as house:
        assert (await get(house, "/openai/v1/models", headers=BEARER)).status == 403
        assert house.upstream.requests == []


async def test_an_error_body_is_held_up_to_a_megabyte() -> None:
    async with opened() as house:
        house.upstream.answers.append(Scripted([b"x" * 65536] * 40, 500, (JSON,)))
        assert len((await get(house, "/openai/v1/models")).body) == 1024 * 1024


# -- whose the things are -------------------------------------------------------------------------------

STORED = [
    ("GET", "/openai/v1/responses/{id}"),
    ("DELETE", "/openai/v1/responses/{id}"),
    ("GET", "/openai/v1/responses/{id}/input_items"),
    ("POST", "/openai/v1/responses/{id}/cancel"),
    ("GET", "/openai/v1/conversations/{id}"),
    ("POST", "/openai/v1/conversations/{id}"),
    ("DELETE", "/openai/v1/conversations/{id}"),
    ("GET", "/openai/v1/conversations/{id}/items"),
    ("POST", "/openai/v1/conversations/{id}/items"),
]


async def conversation_of_ada(house: House) -> None:
    answers(house, b'{"id": "conv_1", "object": "conversation"}')
    created = await asked(house.bridge, "/openai/v1/conversations", b"{}", actor=ADA)
    assert created.status == 200
    house.upstream.requests.clear()


@pytest.mark.parametrize(("method", "path"), STORED)
async def test_what_somebody_stored_is_theirs_alone(method: str, path: str) -> None:
    async with opened() as house:
        await conversation_of_ada(house)
        answers(house)
        mine = await asked(house.bridge, path.format(id="conv_1"), b"{}", method, actor=ADA)
        theirs = await asked(house.bridge, path.format(id="conv_1"), b"{}", method, actor=BOB)
        nobodys = await asked(house.bridge, path.format(id="conv_2"), b"{}", method, actor=ADA)

        assert (mine.status, theirs.status, nobodys.status) == (200, 404, 404)
        assert problem(theirs) == "no stored object with id 'conv_1' was found"
        assert problem(nobodys) == "no stored object with id 'conv_2' was found"
        assert len(house.upstream.requests) == 1


async def test_items_that_somebody_adds_to_a_conversation_are_theirs() -> None:
    async with opened() as house:
        await conversation_of_ada(house)
        answers(house, b'{"object": "list", "data": [{"id": "msg_1"}, {"id": "msg_2"}, "odd", {"id": 3}]}')
        added = await asked(house.bridge, "/openai/v1/conversations/conv_1/items", b'{"items": []}', actor=ADA)
        again = b'{"items": [{"type": "item_reference", "id": "msg_2"}]}'
        answers(house, b'{"id": "conv_2"}')
        hers = await asked(house.bridge, "/openai/v1/conversations", again, actor=ADA)
        his = await asked(house.bridge, "/openai/v1/conversations", again, actor=BOB)

        assert (added.status, hers.status, his.status) == (200, 200, 404)


async def test_with_a_key_of_ones_own_the_provider_decides() -> None:
    async with opened() as house:
        answers(house)
        client = await get(house, "/openai/v1/responses/resp_9", headers=BEARER, actor=BOB)

        assert client.status == 200
        answers(house, b'{"id": "conv_9"}')
        await asked(house.bridge, "/openai/v1/conversations", b"{}", headers=BEARER, actor=BOB)
        assert (await get(house, "/openai/v1/conversations/conv_9", actor=BOB)).status == 404


@pytest.mark.parametrize("path", ["/openai/v1/responses/input_tokens", "/openai/v1/conversations"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "reference",
    [
        b'{"model": "m", "previous_response_id": "conv_1"}',
        b'{"model": "m", "conversation": {"id": "conv_1"}}',
        b'{"items": [{"type": "message", "content": [{"type": "input_file", "file_id": "conv_1"}]}]}',
        b'{"tools": [{"type": "file_search", "vector_store_ids": ["conv_1"]}]}',
        b'{"tools": [{"type": "code_interpreter", "container": "conv_1"}]}',
        b'{"items": [{"type": "item_reference", "id": "conv_1"}]}',
        b'{"input": [{"type": "message", "role": "user", "content": "hi"}, {"id": "conv_1"}]}',
        b'{"items": [{"type": "\\u0069tem_reference", "id": "conv_1"}]}',
        b'{"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_id": "conv_1"}]}]}',
    ],
)
async def test_a_body_that_names_what_somebody_else_stored_is_refused_in_any_coding(
    path: str, coding: str, reference: bytes
) -> None:
    async with opened() as house:
        await conversation_of_ada(house)
        body = gzip.compress(reference) if coding == "gzip" else reference
        headers = [(b"content-encoding", coding.encode())]
        refused = await asked(house.bridge, path, body, headers=headers, actor=BOB)
        assert refused.status == 404
        assert house.upstream.requests == []

        answers(house)
        allowed = await asked(house.bridge, path, body, headers=headers, actor=ADA)
        assert allowed.status == 200
        [sent] = house.upstream.requests
        assert sent.body == reference
        assert b"gzip" not in dict(sent.headers).values()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([(b"content-encoding", b"br")], b"x", 415),
        ([(b"content-encoding", b"gzip")], b"x", 415),
        ([], b'{"conversation": ', 400),
        ([], b'{"input": [], "input": [{"type": "item_reference", "id": "x"}]}', 400),
        ([], b'{"input": [{"type": "message", "type": "item_reference", "id": "x"}]}', 400),
        ([], b'{"input": [{"type": "item_reference", "id": "\xff"}]}', 400),
    ],
)
async def test_a_body_that_cannot_be_read_cannot_be_checked_and_is_refused(
    headers: list[tuple[bytes, bytes]], body: bytes, status: int
) -> None:
    async with opened() as house:
        client = await asked(house.bridge, "/openai/v1/responses/input_tokens", body, headers=headers)

        assert client.status == status
        assert house.upstream.requests == []


async def test_a_new_conversation_is_not_shown_before_it_has_an_owner() -> None:
    class Down:
        async def own(self, provider_name: str, ids: object, actor_id: str) -> None:
            raise RecordingFailed("the database is down")

        async def owner(self, provider_name: str, stored_id: str) -> None:
            return None

    async with opened(conversations=Down()) as house:
        answers(house, b'{"id": "conv_1"}')
        client = await asked(house.bridge, "/openai/v1/conversations", b"{}")

        assert client.status == 503
        assert b"conv_1" not in client.body


async def test_an_answer_too_large_to_look_for_an_id_in_is_refused() -> None:
    async with opened() as house:
        house.upstream.answers.append(Scripted([b"x" * 65536] * 17, 200, (JSON,)))
        assert (await asked(house.bridge, "/openai/v1/conversations", b"{}")).status == 502


@pytest.mark.parametrize("body", [b"[]", b"no JSON", b'{"id": 7}', b""])
async def test_a_new_conversation_without_an_id_is_relayed(body: bytes) -> None:
    async with opened() as house:
        answers(house, body)
        client = await asked(house.bridge, "/openai/v1/conversations", b"{}")

        assert (client.status, client.body) == (200, body)
