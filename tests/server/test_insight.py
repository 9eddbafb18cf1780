"""What `aibridge serve` shows of requests besides their records: spans, log lines, dumps; and no secret in any of it."""

import asyncio
import re
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest

from aibridge.server.demo.simulator import Incoming, ScriptedAnswer
from tests.server.installation import CENTRAL_KEY, Installation, Running, messages
from tests.tracing.collector import Collector, collecting

pytestmark = pytest.mark.anyio

PROMPT = "the-canary-of-the-prompt"
OWN = "sk-own-credential-of-the-caller-0123456789"
METERED = "[metrics]\nport = 0\n"
TRACED = f"{METERED}[tracing]\nenabled = true\n"


@pytest.fixture
def collector(installation: Installation) -> Iterator[Collector]:
    with collecting() as running:
        installation.environ |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": running.url,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        yield running


async def ask_everything(client: httpx2.AsyncClient, key: str) -> None:
    """Both modes of three dialects, passthrough, errors, and a break in the midst of a stream."""
    chat = {"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}]}
    for stream in (False, True):
        await client.post("/anthropic/v1/messages", json=messages(PROMPT, stream=stream))
        await client.post("/openai/v1/chat/completions", json={**chat, "stream": stream})
        await client.post("/openai/v1/responses", json={"model": "gpt-4.1", "input": PROMPT, "stream": stream})
        await client.post("/anthropic/v1/messages", json=messages(f"{PROMPT}: simulate error 529", stream=stream))
    await client.post("/anthropic/v1/messages", json=messages(f"{PROMPT}: simulate overloaded mid-stream", stream=True))
    await client.post("/anthropic/v1/messages", json=messages(f"{PROMPT}: simulate cut", stream=True))
    await client.get(f"/openai/v1/models?key={key}", headers={"x-odd": key, "traceparent": f"00-{key}-01"})
    await client.post("/anthropic/v1/messages", json=messages(PROMPT), headers={"x-api-key": OWN, "cookie": f"a={OWN}"})
    await client.post("/anthropic/v1/messages", content=PROMPT)
    await client.post(f"/anthropic/v1/messages?token={key}", json=messages(PROMPT), headers={"user-agent": f"x {key}"})


def came_with(credential: str, asked: Incoming) -> bool:
    return asked.header("x-api-key") == credential


async def end(server: Running) -> None:
    server.signal()
    assert await server.ended() == 0


async def test_spans_go_to_the_collector_that_the_variables_name(
    installation: Installation, collector: Collector
) -> None:
    installation.configure(TRACED)
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        answer = await client.post("/anthropic/v1/messages", json=messages("hello", stream=True))
        await client.get("/openai/v1/models")
        await end(server)

    intercepted, passed = collector.until(2)
    _, (create, record, (process, below)) = collector.tree(intercepted)
    assert (create, record, process) == (
        ("Intercept.CreateInterceptor", ()),
        ("Intercept.RecordInterception", ()),
        "Intercept.ProcessRequest",
    )
    assert [name for name, _ in below] == [
        "Intercept.ProcessRequest.Upstream",
        "Intercept.RecordPromptUsage",
        "Intercept.RecordTokenUsage",
        "Intercept.RecordInterceptionEnded",
    ]
    assert intercepted.attributes["interception_id"] == answer.headers["x-aibridge-interception-id"]
    assert passed.attributes["http.response.status_code"] == 200
    assert collector.resources[0].items() >= {("service.name", "aibridge"), ("deployment.environment.name", "test")}
    assert "not built yet" not in (installation.folder / "log").read_text()


async def test_the_sampler_is_the_one_that_the_variables_name(installation: Installation, collector: Collector) -> None:
    installation.environ |= {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_SERVICE_NAME": "gateway-of-the-test"}
    installation.configure(TRACED)
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        assert (await client.post("/anthropic/v1/messages", json=messages())).status_code == 200
        await end(server)

    assert collector.spans == []


async def test_every_worker_sends_its_spans(installation: Installation, collector: Collector) -> None:
    installation.environ["OTEL_SERVICE_NAME"] = "gateway-of-the-test"
    installation.configure(TRACED)
    key = await installation.key()
    async with installation.serving("--workers", "2") as server:
        for _ in range(4):
            async with server.client(key) as client:
                assert (await client.post("/anthropic/v1/messages", json=messages())).status_code == 200
        await end(server)

    assert len(collector.until(4)) == 4
    assert {resource["service.name"] for resource in collector.resources} == {"gateway-of-the-test"}


async def test_a_collector_that_is_down_delays_neither_answers_nor_the_end(installation: Installation) -> None:
    installation.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    installation.configure(TRACED)
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        for _ in range(3):
            assert (await client.post("/anthropic/v1/messages", json=messages())).status_code == 200
        server.signal()
        async with asyncio.timeout(30):  # no more than what the last spans are waited for, and the start of a process
            assert await server.ended() == 0


async def test_log_lines_tell_of_each_interception_where_that_is_wanted(installation: Installation) -> None:
    file = installation.configure(METERED)
    file.write_text(file.read_text().replace("[server]\n", '[server]\nlog_level = "debug"\n'))
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        fine = await client.post("/anthropic/v1/messages", json=messages())
        odd = await client.post("/anthropic/v1/messages", json=messages("simulate error 529"))
        cut = await client.post("/anthropic/v1/messages", json=messages("simulate cut", stream=True))
        await end(server)

    told = [line for line in installation.log() if line["logger"] == "aibridge.interceptions"]
    ids = [answer.headers["x-aibridge-interception-id"] for answer in (fine, odd, cut)]
    assert [(line["level"], line["event"], line["interception_id"]) for line in told] == [
        ("debug", "interception started", ids[0]),
        ("debug", "interception ended", ids[0]),
        ("debug", "interception started", ids[1]),
        ("warning", "interception failed", ids[1]),
        ("debug", "interception started", ids[2]),
        ("warning", "interception failed", ids[2]),
    ]
    started, ended, _, refused, _, broken = told
    assert (started["provider"], started["model"], started["streaming"]) == ("anthropic", "claude-opus-5-5", False)
    assert (ended["state"], ended["http_status"]) == ("completed", 200)
    assert (refused["cause"], refused["http_status"]) == ("overloaded_error", 529)
    assert broken["cause"] == "connection_error"
    assert broken["why"]


async def test_without_being_asked_for_only_what_failed_is_logged(installation: Installation) -> None:
    installation.configure(METERED)
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        await client.post("/anthropic/v1/messages", json=messages())
        await client.post("/anthropic/v1/messages", json=messages("simulate error 529"))
        await end(server)

    assert [line["event"] for line in installation.log() if line["logger"] == "aibridge.interceptions"] == [
        "interception failed"
    ]


async def test_exchanges_are_dumped_beside_the_configuration(installation: Installation) -> None:
    installation.configure(f'{METERED}[dumps]\nfolder = "dumps"\n')
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        answer = await client.post("/anthropic/v1/messages", json=messages("hello", stream=True))
        await client.get("/openai/v1/models")
        await end(server)

    name = answer.headers["x-aibridge-interception-id"]
    dumped = installation.folder / "dumps" / "anthropic" / "claude-opus-5-5" / f"{name}.response"
    assert dumped.read_bytes().endswith(answer.content)
    assert len(list((installation.folder / "dumps" / "openai" / "passthrough").iterdir())) == 2
    assert "debug dumps are on: prompts and answers are written to files" in [
        line["event"] for line in installation.log()
    ]


async def test_no_secret_is_in_any_span_log_line_metric_or_dump(
    installation: Installation, collector: Collector
) -> None:
    """Prompts are in dumps, which are for that, and nowhere else; secrets are nowhere."""
    file = installation.configure(f'{TRACED}propagate = true\n[dumps]\nfolder = "dumps"\n')
    file.write_text(file.read_text().replace("[server]\n", '[server]\nlog_level = "debug"\n'))
    key = await installation.key()
    for credential in (CENTRAL_KEY, OWN):
        echo = f'{{"error":{{"type":"odd {PROMPT}","message":"no such key: {credential} {key}"}}}}'
        installation.provider.script(
            ScriptedAnswer(status=400, steps=[echo.encode()], matches=partial(came_with, credential))
        )
    async with installation.serving() as server, server.client(key) as client:
        await ask_everything(client, key)
        address = re.search(r"metrics\s+(http\S+)", server.banner)
        assert address is not None
        metrics = await client.get(address[1], headers={"authorization": ""})
        await end(server)
    collector.until(14)

    log = (installation.folder / "log").read_bytes() + server.banner.encode()
    dumps = [path.read_bytes() for path in (installation.folder / "dumps").rglob("*.re*")]
    secret = (installation.folder / "server.secret").read_text().strip()
    spans = b"".join(collector.raw)
    assert b"aibridge_interceptions_total{" in metrics.content
    assert len(dumps) >= 26
    assert b"interception ended" in log
    for place in (log, spans, metrics.content, *dumps):
        for canary in (CENTRAL_KEY, key, OWN, secret):
            assert canary.encode() not in place
    for place in (log, spans, metrics.content):
        assert PROMPT.encode() not in place
