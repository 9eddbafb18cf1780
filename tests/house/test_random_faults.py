"""An answer that is cut anywhere, in any slices: the client has whole events and then an error, and the record agrees.

The short form cuts at random places, the long one at every byte of the answer, its head included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.server.demo.simulator import Incoming, ScriptedAnswer, SimulatedProvider, serve_simulator
from tests.exchanges import EXCHANGES, Exchange, last_event
from tests.house.fault_proxy import Ending, Fault, FaultProxy, fault_proxy
from tests.house.gateway_client import Received, sent
from tests.house.in_process import InProcess, bridge_before
from tests.waiting import until

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
# About as long as the simulator's head; a place beyond the answer's end cuts nothing.
HEAD = 130


class Faulty:
    """A house with a proxy before its provider, in an event loop that goes on from one example to the next."""

    def __init__(self, runner: asyncio.Runner, gateway: InProcess, proxy: FaultProxy) -> None:
        self._runner = runner
        self.gateway = gateway
        self._proxy = proxy

    def ask(self, exchange: Exchange, fault: Fault, *, stream: bool) -> Received:
        kind = b"text/event-stream" if stream else b"application/json"
        steps = exchange.events if stream else (exchange.body,)
        # The gateway must not keep a connection from an earlier example, which has the fault of that one.
        headers = [(b"content-type", kind), (b"connection", b"close")]
        provider, recorder = self.gateway.provider, self.gateway.recorder

        def is_this(one: Incoming) -> bool:
            # A request that never arrives leaves its answer behind, for the next of its kind.
            return one.path.endswith(exchange.upstream_path) and (b'"stream": true' in one.body) is stream

        provider.script(ScriptedAnswer(headers=headers, steps=steps, matches=is_this))
        for records in vars(recorder).values():
            records.clear()
        self._proxy.fault = fault

        async def exchange_it() -> Received:
            async with sent(self.gateway.url, exchange, stream=stream) as waiting:
                received = await waiting.rest()
            await until(lambda: self.gateway.bridge.in_flight == 0)
            return received

        return self._runner.run(exchange_it())


@pytest.fixture(scope="module")
def faulty() -> Iterator[Faulty]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()

        async def opened() -> tuple[InProcess, FaultProxy]:
            provider = SimulatedProvider(keep=1)
            url = await stack.enter_async_context(serve_simulator(provider))
            proxy = await stack.enter_async_context(fault_proxy(url))
            return await stack.enter_async_context(bridge_before(proxy.url, provider)), proxy

        yield Faulty(runner, *runner.run(opened()))
        runner.run(stack.aclose())


def check(faulty: Faulty, exchange: Exchange, fault: Fault, *, stream: bool) -> None:
    received = faulty.ask(exchange, fault, stream=stream)
    recorder = faulty.gateway.recorder
    [started], [ended] = recorder.interceptions, recorder.ends
    body = bytes(received.body)

    assert ended.interception_id == started.id
    assert len(recorder.prompts) == 1
    assert received.whole
    assert ended.http_status == received.status
    if ended.state == "completed":
        assert body == (exchange.stream if stream else exchange.body)
        [used] = recorder.token_usages
        assert (used.output_tokens, used.partial) == (exchange.final.output, False)
        return
    assert (ended.state, ended.error_type) == ("upstream_error", "connection_error")
    if received.status == 200:
        assert stream
        last = last_event(body)
        assert exchange.is_error(last)
        relayed = body.removesuffix(last)
        assert exchange.stream.startswith(relayed)
        assert exchange.events[-1] not in relayed
        known = {usage.output for usage in exchange.usage if usage is not None}
        assert {used.output_tokens for used in recorder.token_usages} <= known
    else:
        assert received.status == 502
        # Where only the end of the framing was missing, all that the provider said is known.
        assert {used.output_tokens for used in recorder.token_usages} <= {exchange.final.output}


@every_dialect
@both_modes
@settings(max_examples=40)
@given(
    place=st.floats(0, 1.05),
    ending=st.sampled_from(["reset", "half-close"]),
    slices=st.sampled_from([1, 7, 100, 65_536]),
)
def test_an_answer_that_is_cut_at_a_random_place(
    faulty: Faulty, exchange: Exchange, stream: bool, place: float, ending: Ending, slices: int
) -> None:
    size = HEAD + len(exchange.stream) + 10 * len(exchange.events) if stream else HEAD + len(exchange.body)
    check(faulty, exchange, Fault(slices=slices, after=int(place * size), ending=ending), stream=stream)


@pytest.mark.slow
@every_dialect
@both_modes
def test_an_answer_that_is_cut_at_every_byte(faulty: Faulty, exchange: Exchange, stream: bool) -> None:
    size = HEAD + len(exchange.stream) + 10 * len(exchange.events) if stream else HEAD + len(exchange.body)
    for after in range(size + 20):
        ending: Ending = "half-close" if after % 2 else "reset"
        check(faulty, exchange, Fault(after=after, ending=ending), stream=stream)
