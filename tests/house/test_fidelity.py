"""Invariant 1 on real sockets: with nothing offered the client gets the provider's bytes, and the provider the client's.

Only the field that names the person differs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aibridge.server.demo.simulator import ScriptedAnswer
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, Exchange
from tests.house.gateway_client import Received, sent
from tests.house.in_process import InProcess, in_process
from tests.strategies import json_texts
from tests.strategies.chunks import chunkings

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
NAMED = b'"ada"'

# What stands between a provider's events, or inside its stream, and tells nobody anything.
_BETWEEN = st.sampled_from(
    [
        b": keep-alive\n\n",
        b":\n\n",
        b"event: unheard_of\ndata: {}\n\n",
        b"id: 7\nretry: 10\n\n",
        b"data: [1,\ndata: 2]\n\n",
        b"\n\n",
        b'data: {"odd": "\xc3\xa9\xf0\x9f\x98\x80\xff"}\n\n',
    ]
)


class Served:
    """A house in an event loop that goes on from one example to the next."""

    def __init__(self, runner: asyncio.Runner, house: InProcess) -> None:
        self._runner = runner
        self._house = house

    def ask(self, exchange: Exchange, answer: list[bytes], *, stream: bool, body: bytes | None = None) -> Received:
        """The provider's next answer, as the client gets it."""
        kind = b"text/event-stream" if stream else b"application/json"
        self._house.provider.script(ScriptedAnswer(headers=[(b"content-type", kind)], steps=answer or (b"",)))

        async def exchange_it() -> Received:
            async with sent(self._house.url, exchange, stream=stream, body=body) as waiting:
                return await waiting.rest()

        self._house.provider.ledger.clear()
        return self._runner.run(exchange_it())

    @property
    def asked(self) -> bytes:
        """What reached the provider."""
        [one] = self._house.provider.ledger
        return one.body


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        house = runner.run(stack.enter_async_context(in_process()))
        yield Served(runner, house)
        runner.run(stack.aclose())


@st.composite
def streams(draw: st.DrawFn, exchange: Exchange) -> bytes:
    """The exchange's stream with odd things between its events, and any of the three line ends."""
    pieces: list[bytes] = []
    for event in exchange.events:
        pieces += draw(st.lists(_BETWEEN, max_size=1))
        pieces.append(event)
    ends = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    return b"".join(pieces).replace(b"\n", ends)


@every_dialect
@settings(max_examples=60)
@given(data=st.data())
def test_a_stream_arrives_byte_for_byte_however_it_is_cut(
    served: Served, exchange: Exchange, data: st.DataObject
) -> None:
    stream = data.draw(streams(exchange))
    received = served.ask(exchange, data.draw(chunkings(stream)), stream=True)

    assert (received.status, received.whole) == (200, True)
    assert bytes(received.body) == stream


@every_dialect
@settings(max_examples=60)
@given(data=st.data())
def test_a_body_arrives_byte_for_byte_however_it_is_cut(
    served: Served, exchange: Exchange, data: st.DataObject
) -> None:
    texts = json_texts.objects.map(lambda text: text.encode("utf-8", "surrogatepass"))
    body = data.draw(st.one_of(st.just(exchange.body), texts, st.binary(max_size=200)))
    received = served.ask(exchange, data.draw(chunkings(body)), stream=False)

    assert (received.status, received.whole) == (200, True)
    assert bytes(received.body) == body


def _member(name: str, value: str) -> str:
    return f"{json.dumps(name)}:{value}"


@st.composite
def requests(draw: st.DrawFn, exchange: Exchange) -> tuple[bytes, bytes | None]:
    """A client's body, and what must go upstream where the client named somebody itself."""
    odd = json_texts.values.map(lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    members = [_member(name, json.dumps(value)) for name, value in exchange.request.items()]
    members += [_member(f"odd {number}", draw(odd)) for number in range(draw(st.integers(0, 3)))]
    mark = "\x00here\x00"
    named = draw(st.booleans())
    if named and exchange is MESSAGES:
        beside = [_member("other", draw(odd))] if draw(st.booleans()) else []
        inner = draw(st.permutations([_member("user_id", mark), *beside]))
        members.append(_member("metadata", "{" + ", ".join(inner) + "}"))
    elif named:
        members.append(_member(exchange.attribution[0], mark))
    text = "{" + draw(st.sampled_from([",", ", ", " ,\n\t"])).join(draw(st.permutations(members))) + "}"
    said = draw(st.sampled_from(['"somebody else"', '"\\u0061da"', '""', "null"]))
    body = text.replace(mark, said).encode()
    return body, text.replace(mark, NAMED.decode()).encode() if named else None


@every_dialect
@settings(max_examples=100)
@given(data=st.data())
def test_a_request_goes_up_byte_for_byte_but_for_the_name(
    served: Served, exchange: Exchange, data: st.DataObject
) -> None:
    body, expected = data.draw(requests(exchange))
    received = served.ask(exchange, [exchange.body], stream=False, body=body)

    assert received.status == 200
    if expected is not None:
        assert served.asked == expected
    else:
        field = rb'"metadata":\{"user_id":"ada"\}' if exchange is MESSAGES else rb'"%b":"ada"'
        added = re.compile(rb",\s*" + (field if exchange is MESSAGES else field % exchange.attribution[0].encode()))
        assert len(added.findall(served.asked)) == 1
        assert added.sub(b"", served.asked) == body


@settings(max_examples=30)
@example(asked=b'"stream": true')
@example(asked=b'"stream": true, "stream_options": {"include_usage": false}')
@example(asked=b'"stream":true,"stream_options":{"include_obfuscation":false}')
@given(asked=st.sampled_from([b'"stream": true', b'"stream": true, "stream_options": null']))
def test_usage_that_we_asked_for_leaves_no_trace_in_a_chat(served: Served, asked: bytes) -> None:
    body = b'{"model": "m", "messages": [], ' + asked + b"}"
    received = served.ask(CHAT, list(CHAT.events), stream=True, body=body)
    upstream = json.loads(served.asked)

    assert upstream["stream_options"]["include_usage"] is True
    assert set(upstream) - {"stream_options"} == {"model", "messages", "stream", "user"}
    expected = b"".join(event for event in CHAT.events if b'"choices": []' not in event)
    assert bytes(received.body) == expected.replace(b', "usage": null', b"")
