"""A large request that the provider refuses half-read: the client gets the provider's answer, not one of ours."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from aibridge.server.demo.simulator import SimulatedProvider
from tests.exchanges import EXCHANGES, Exchange
from tests.house.in_process import ADA, bridge_before
from tests.server.http.raw import connected
from tests.upstream.hasty_provider import BODY, hasty

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_an_early_refusal_reaches_the_client_as_it_came(exchange: Exchange, stream: bool) -> None:
    content = json.dumps({**json.loads(exchange.asked(stream=stream)), "padding": "x" * 5_000_000}).encode()
    async with hasty() as url, bridge_before(url, SimulatedProvider()) as house:
        port = urlsplit(house.url).port
        assert port is not None
        async with connected(port) as client:
            head = f"POST /{exchange.provider}{exchange.path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ADA}\r\n"
            await client.send(head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content)
            reply = await client.reply()

    assert (reply.status, reply.header("retry-after"), reply.body) == (413, "7", BODY)
    [end] = house.recorder.ends
    assert (end.state, end.http_status) == ("upstream_error", 413)
