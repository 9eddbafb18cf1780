"""The spans of a request, as a collector receives them by OTLP: which there are, what hangs from what, what they say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from aibridge import providers
from aibridge.errors import AnswerBroken, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.providers.bedrock import bedrock
from aibridge.tracing import Tracing
from tests.exchanges import EXCHANGES, MESSAGES, PROMPT, Exchange
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.client import Client
from tests.fakes.cloud import PlainProof
from tests.fakes.house import House, opened, path_of
from tests.fakes.interceptions import ADA, KEY
from tests.fakes.journal import Journal
from tests.fakes.recorder import fails
from tests.fakes.upstream import JSON, Scripted
from tests.tracing.collector import Collector, Span, Tree, collecting

pytestmark = pytest.mark.anyio

MODES = [pytest.param(exchange, stream, id=f"{exchange.dialect}-{'stream' if stream else 'blocking'}")
         for exchange in EXCHANGES for stream in (True, False)]  # fmt: skip
CREATE: Tree = ("Intercept.CreateInterceptor", ())
RECORD: Tree = ("Intercept.RecordInterception", ())
UPSTREAM: Tree = ("Intercept.ProcessRequest.Upstream", ())
PROMPTED: Tree = ("Intercept.RecordPromptUsage", ())
THOUGHT: Tree = ("Intercept.RecordModelThought", ())
TOOL: Tree = ("Intercept.RecordToolUsage", ())
TOKENS: Tree = ("Intercept.RecordTokenUsage", ())
ENDED: Tree = ("Intercept.RecordInterceptionEnded", ())
CUT_SHORT: dict[str, tuple[Tree, ...]] = {  # what three events and an error leave
    "messages": (PROMPTED, THOUGHT, TOKENS),
    "chat_completions": (PROMPTED,),
    "responses": (PROMPTED,),
}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01".encode()


def intercepted(*below: Tree) -> Tree:
    return "Intercept", (CREATE, RECORD, ("Intercept.ProcessRequest", below))


def recorded(exchange: Exchange) -> tuple[Tree, ...]:
    """What a whole answer leaves: our chat exchange has no thought in it."""
    return (PROMPTED, TOOL, TOKENS) if exchange.thought is None else (PROMPTED, THOUGHT, TOOL, TOKENS)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@asynccontextmanager
async def traced(
    collector: Collector, *, propagate: bool = False, bridge: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[House]:
    """A bridge between fakes that exports; after the block the collector has everything."""
    provider = TracerProvider(**options)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")))
    try:
        async with opened(tracing=Tracing(provider, propagate=propagate), **(bridge or {})) as house:
            yield house
    finally:
        await asyncio.to_thread(provider.shutdown)


def answer(house: House, exchange: Exchange, stream: bool) -> None:
    (house.streams if stream else house.answers)(exchange)


def root_of(collector: Collector) -> Span:
    (root,) = collector.roots()
    return root


# -- whole answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exchange", "stream"), MODES)
async def test_a_whole_answer_is_one_tree(collector: Collector, exchange: Exchange, stream: bool) -> None:
    async with traced(collector) as house:
        answer(house, exchange, stream)
        client = await asked(house.bridge, path_of(exchange), exchange.asked(stream=stream))

    root = root_of(collector)
    assert collector.tree(root) == intercepted(UPSTREAM, *recorded(exchange), ENDED)
    assert collector.failed() == []
    assert len({span.trace_id for span in collector.spans}) == 1
    assert {(span.said, span.events) for span in collector.spans} == {("", 0)}
    assert root.kind == "SERVER"
    assert root.attributes == {
        "actor_id": ADA.id,
        "client": "Unknown",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "interception_id": (client.header("x-aibridge-interception-id") or b"").decode(),
        "model": exchange.request["model"],
        "provider": exchange.provider,
        "request_path": f"/{exchange.provider}{exchange.path}",
        "state": "completed",
        "streaming": stream,
        "user_id": ADA.id,
    }


@pytest.mark.parametrize(("exchange", "stream"), MODES)
async def test_the_upstream_span_follows_the_genai_conventions(
    collector: Collector, exchange: Exchange, stream: bool
) -> None:
    async with traced(collector) as house:
        answer(house, exchange, stream)
        await asked(house.bridge, path_of(exchange), exchange.asked(stream=stream))

    span, root = collector.named("Intercept.ProcessRequest.Upstream"), root_of(collector)
    first_chunk = span.attributes["gen_ai.response.time_to_first_chunk"]
    assert 0 < first_chunk * 1e9 <= span.end - span.start + 1e6
    assert root.start <= span.start <= span.end <= root.end
    assert span.kind == "CLIENT"
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": exchange.provider,
        "gen_ai.request.model": exchange.request["model"],
        "gen_ai.request.stream": stream,
        "gen_ai.response.id": exchange.response_id,
        "gen_ai.response.model": json.loads(exchange.body)["model"],
        "gen_ai.response.time_to_first_chunk": first_chunk,
        "gen_ai.usage.cache_read.input_tokens": exchange.final.cache_read,
        "gen_ai.usage.cache_write.input_tokens": 0,
        "gen_ai.usage.input_tokens": exchange.final.input + exchange.final.cache_read,
        "gen_ai.usage.output_tokens": exchange.final.output,
        "http.response.status_code": 200,
        "server.address": f"{exchange.provider}.test",
        "server.port": 80,
    }


async def test_a_provider_on_bedrock_is_called_so(collector: Collector) -> None:
    on_aws = bedrock(credentials=PlainProof(), region="us-east-1", model="claude-a", small_fast_model="claude-b")
    async with traced(collector, bridge={"providers": [on_aws]}) as house:
        answer(house, MESSAGES, stream=False)
        await asked(house.bridge, "/bedrock/v1/messages", MESSAGES.asked(stream=False))

    root, span = root_of(collector), collector.named("Intercept.ProcessRequest.Upstream")
    assert root.attributes["aws_bedrock"] is True
    assert root.attributes["model"] == span.attributes["gen_ai.request.model"] == "claude-a"
    assert span.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert span.attributes["server.address"] == "bedrock-runtime.us-east-1.amazonaws.com"


async def test_the_identifier_that_the_provider_was_given_is_on_the_span(collector: Collector) -> None:
    async with traced(collector) as house:
        house.streams(MESSAGES)
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    told = json.loads(house.upstream.requests[0].body)["metadata"]["user_id"]
    assert root_of(collector).attributes["user_id"] == told


# -- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("exchange", "stream"), MODES)
async def test_an_error_of_the_provider(collector: Collector, exchange: Exchange, stream: bool) -> None:
    body = b'{"error":{"type":"rate_limit_error","message":"too much of ' + PROMPT.encode() + b'"}}'
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted((body,), 429, (JSON,)))
        await asked(house.bridge, path_of(exchange), exchange.asked(stream=stream))

    assert collector.tree(root_of(collector)) == intercepted(UPSTREAM, PROMPTED, ENDED)
    assert collector.failed() == [
        "Intercept.ProcessRequest.Upstream: rate_limit_error",
        "Intercept.ProcessRequest: rate_limit_error",
        "Intercept: rate_limit_error",
    ]
    assert root_of(collector).attributes["http.response.status_code"] == 429
    assert PROMPT.encode() not in b"".join(collector.raw)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.dialect)
async def test_an_error_in_the_midst_of_a_stream(collector: Collector, exchange: Exchange) -> None:
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted((*exchange.events[:3], exchange.error)))
        await asked(house.bridge, path_of(exchange), exchange.asked(stream=True))

    root = root_of(collector)
    assert collector.tree(root) == intercepted(UPSTREAM, *CUT_SHORT[exchange.dialect], ENDED)
    assert [line.partition(":")[0] for line in collector.failed()] == [
        "Intercept.ProcessRequest.Upstream",
        "Intercept.ProcessRequest",
        "Intercept",
    ]
    assert (root.attributes["state"], root.attributes["http.response.status_code"]) == ("upstream_error", 200)
    assert collector.named("Intercept.ProcessRequest.Upstream").attributes["http.response.status_code"] == 200


@pytest.mark.parametrize(
    ("error", "state"),
    [(UpstreamReset("the connection broke"), "upstream_error"), (UpstreamStalled("silence"), "upstream_stalled")],
)
async def test_a_stream_that_breaks_off(collector: Collector, error: Exception, state: str) -> None:
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted((*MESSAGES.events[:3], error)))
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    assert collector.tree(root_of(collector)) == intercepted(UPSTREAM, PROMPTED, THOUGHT, TOKENS, ENDED)
    assert root_of(collector).attributes["state"] == state
    assert collector.named("Intercept.ProcessRequest.Upstream").attributes["error.type"] == type(error).__name__


async def test_each_attempt_has_a_span_of_its_own(collector: Collector) -> None:
    keys = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
    pooled = providers.anthropic(base_url="http://anthropic.test", keys=keys)
    async with traced(collector, bridge={"providers": [pooled]}) as house:
        house.upstream.answers.append(Scripted((b"{}",), 429, (JSON,)))
        house.streams(MESSAGES)
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    assert collector.tree(root_of(collector)) == intercepted(UPSTREAM, UPSTREAM, *recorded(MESSAGES), ENDED)
    first, second = (span for span in collector.spans if span.name == "Intercept.ProcessRequest.Upstream")
    assert (first.attributes["http.response.status_code"], first.attributes["error.type"]) == (429, "429")
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.response.status_code"] == 200
    assert second.attributes["http.request.resend_count"] == 1
    assert collector.failed() == ["Intercept.ProcessRequest.Upstream: 429"]


async def test_a_provider_that_cannot_be_reached(collector: Collector) -> None:
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted(before=(UpstreamUnreachable("no connection"),)))
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    assert collector.tree(root_of(collector)) == intercepted(UPSTREAM, PROMPTED, ENDED)
    assert "Intercept.ProcessRequest.Upstream: UpstreamUnreachable" in collector.failed()
    assert root_of(collector).attributes["http.response.status_code"] == 502


async def test_a_client_that_hangs_up_is_no_error(collector: Collector) -> None:
    async with traced(collector) as house:
        house.holds(MESSAGES, 3)
        under_way = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await under_way.client.until(len(b"".join(MESSAGES.events[:3])))
        under_way.hang_up()
        await under_way.done()

    root = root_of(collector)
    assert collector.tree(root) == intercepted(UPSTREAM, PROMPTED, THOUGHT, TOKENS, ENDED)
    assert root.attributes["state"] == "client_gone"
    assert collector.failed() == []


async def test_a_request_that_cannot_be_recorded_never_gets_to_the_provider(collector: Collector) -> None:
    async with traced(collector) as house:
        house.recorder.faults["record_interception"] = fails
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    assert client.status == 503
    assert collector.tree(root_of(collector)) == ("Intercept", (CREATE, RECORD))
    assert collector.failed() == ["Intercept.RecordInterception: RecordingFailed", "Intercept: RecordingFailed"]


async def test_a_body_that_is_none_fails_before_there_is_a_record(collector: Collector) -> None:
    async with traced(collector) as house:
        await asked(house.bridge, path_of(MESSAGES), b"{")

    assert collector.tree(root_of(collector)) == ("Intercept", (CREATE,))
    assert collector.failed() == ["Intercept.CreateInterceptor: 400", "Intercept: 400"]


async def test_what_the_host_cancels_is_followed_to_its_end(collector: Collector) -> None:
    async with traced(collector) as house:
        house.holds(MESSAGES, 3)
        under_way = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await under_way.client.until(len(b"".join(MESSAGES.events[:3])))
        under_way.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await under_way.task

    root = root_of(collector)
    assert collector.tree(root) == intercepted(UPSTREAM, PROMPTED, THOUGHT, TOKENS, ENDED)
    assert root.attributes["state"] == "gateway_aborted"


# -- passthrough ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "failed"), [(200, []), (404, ["Passthrough: 404"])])
async def test_passthrough_is_one_span(collector: Collector, status: int, failed: list[str]) -> None:
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted((b"{}",), status, (JSON,)))
        await asked(house.bridge, "/anthropic/v1/models/claude-x", method="GET")

    root = root_of(collector)
    assert collector.tree(root) == ("Passthrough", ())
    assert collector.failed() == failed
    assert root.kind == "SERVER"
    assert root.attributes.items() >= {
        ("actor_id", ADA.id),
        ("http.request.method", "GET"),
        ("http.response.status_code", status),
        ("provider", "anthropic"),
        ("request_path", "/anthropic/v1/models/*"),
    }


async def test_passthrough_that_breaks_off(collector: Collector) -> None:
    async with traced(collector) as house:
        house.upstream.answers.append(Scripted((b"{", UpstreamReset("the connection broke")), 200, (JSON,)))
        with pytest.raises(AnswerBroken):
            await asked(house.bridge, "/anthropic/v1/models", method="GET")

    assert collector.failed() == ["Passthrough: AnswerBroken"]


# -- context -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/anthropic/v1/models"])
async def test_a_clients_trace_goes_on_here_and_not_to_the_provider(collector: Collector, path: str) -> None:
    bridged = path.endswith("messages")
    async with traced(collector) as house:
        house.streams(MESSAGES)
        await asked(
            house.bridge,
            path,
            MESSAGES.asked(stream=True) if bridged else b"",
            method="POST" if bridged else "GET",
            headers=[(b"Traceparent", PARENT), (b"tracestate", b"vendor=1")],
        )

    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert root_of(collector).parent_id == "00f067aa0ba902b7"
    assert [name for name, _ in house.upstream.requests[0].headers if b"trace" in name.lower()] == []


async def test_the_provider_is_told_the_trace_where_that_is_switched_on(collector: Collector) -> None:
    async with traced(collector, propagate=True) as house:
        house.streams(MESSAGES)
        await asked(
            house.bridge,
            path_of(MESSAGES),
            MESSAGES.asked(stream=True),
            headers=[(b"traceparent", PARENT), (b"tracestate", b"vendor=1")],
        )

    told = dict(house.upstream.requests[0].headers)
    asking = collector.named("Intercept.ProcessRequest.Upstream")
    assert told[b"traceparent"] == f"00-{TRACE_ID}-{asking.span_id}-01".encode()
    assert told[b"tracestate"] == b"vendor=1"


@pytest.mark.parametrize("headers", [[(b"traceparent", b"nonsense")], [(b"traceparent", PARENT)] * 2])
async def test_a_context_that_is_none_begins_a_new_trace(
    collector: Collector, headers: list[tuple[bytes, bytes]]
) -> None:
    async with traced(collector) as house:
        house.streams(MESSAGES)
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True), headers=headers)

    assert root_of(collector).parent_id == ""
    assert root_of(collector).trace_id != TRACE_ID


async def test_a_host_that_traces_is_the_parent(collector: Collector) -> None:
    tracer = TracerProvider().get_tracer("host")
    async with traced(collector) as house:
        house.streams(MESSAGES)
        with tracer.start_as_current_span("host") as span:
            await asked(
                house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True), headers=[(b"traceparent", PARENT)]
            )

    assert root_of(collector).parent_id == trace.format_span_id(span.get_span_context().span_id)


async def test_what_is_not_sampled_is_served_without_spans(collector: Collector) -> None:
    async with traced(collector, propagate=True, sampler=ALWAYS_OFF) as house:
        house.streams(MESSAGES)
        house.upstream.answers.append(Scripted((b"{}",), 200, (JSON,)))
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))
        await asked(house.bridge, "/anthropic/v1/models", method="GET")

    assert client.body == MESSAGES.stream
    assert collector.spans == []
    told = dict(house.upstream.requests[0].headers)
    assert int(told[b"traceparent"].rpartition(b"-")[2], 16) & 1 == 0


async def test_requests_at_the_same_time_keep_their_spans_apart(collector: Collector) -> None:
    async with traced(collector) as house:
        for _ in range(5):
            house.streams(MESSAGES)
        await asyncio.gather(*(asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True)) for _ in range(5)))

    trees = [collector.tree(root) for root in collector.roots()]
    assert trees == [intercepted(UPSTREAM, *recorded(MESSAGES), ENDED)] * 5
    assert len({root.attributes["interception_id"] for root in collector.roots()}) == 5


async def test_what_a_task_does_after_a_request_belongs_to_no_request(collector: Collector) -> None:
    async with traced(collector) as house:
        house.streams(MESSAGES)
        client = Client(Journal())
        body = {"type": "http.request", "body": MESSAGES.asked(stream=True), "more_body": False}
        never = asyncio.get_running_loop().create_future()
        messages = iter([body])

        async def receive() -> Any:
            return next(messages, None) or await never

        await house.bridge(scope_of(path_of(MESSAGES)), receive, client.send)
        house.upstream.answers.append(Scripted((b"{}",), 200, (JSON,)))
        timeouts = UpstreamTimeouts(1.0, 1.0, 1.0)
        async with house.bridge._upstream.open(UpstreamRequest("GET", "http://a.test/", (), b""), timeouts) as response:
            await response.read()

    assert client.body == MESSAGES.stream
    assert [span.name for span in collector.spans].count("Intercept.ProcessRequest.Upstream") == 1


async def test_nothing_of_a_secret_or_a_prompt_is_on_a_span(collector: Collector) -> None:
    own = b"sk-own-credential-of-the-caller"
    async with traced(collector, propagate=True) as house:
        for exchange in EXCHANGES:
            for stream in (True, False):
                answer(house, exchange, stream)
                await asked(
                    house.bridge,
                    path_of(exchange),
                    exchange.asked(stream=stream),
                    headers=[(b"authorization", b"Bearer " + own), (b"user-agent", b"curl/1 " + own)],
                    query=b"key=" + own,
                )
        body = json.dumps({"error": {"type": f"odd {PROMPT}", "message": f"{KEY} {PROMPT}"}}).encode()
        house.upstream.answers.append(Scripted((body,), 400, (JSON,)))
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    sent = b"".join(collector.raw)
    assert len(collector.roots()) == 7
    for secret in (own, KEY.encode(), PROMPT.encode()):
        assert secret not in sent
    assert collector.roots()[-1].attributes["error.type"] == "other"
