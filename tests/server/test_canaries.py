"""Secrets of every kind that a server can hold, while everything that it can write is on: none of them is in any of it.

Whoever is shown a secret here says it again in its answers, as careless servers do.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge.server.demo.simulator import Incoming, ScriptedAnswer, SimulatedProvider, serve_simulator
from tests.fakes.aws import REGION, FakeAws, fake_aws
from tests.fakes.cloud_http import Answer, Asked
from tests.fakes.proxy import fake_proxy
from tests.mcp.real_servers import Wiki, serving, text
from tests.server.installation import Installation, messages
from tests.tracing.collector import Collector, collecting

pytestmark = pytest.mark.anyio

SECRETS = {
    "AWS_SECRET": "canary-secret-key-of-aws-0123456789+/abcd",
    "AWS_TOKEN": "canary-session-token-of-aws-0123456789",
    "MCP_TOKEN": "canary-token-of-the-wiki-0123456789",
    "MCP_HEADER": "canary-header-of-the-wiki-0123456789",
    "MCP_ENV": "canary-of-a-local-program-0123456789",
}
PASSWORD, WRONG_PASSWORD = "canary-password-of-the-proxy", "canary-password-that-is-wrong"
LOGS = "[server]\n"


def configured(installation: Installation, aws: FakeAws, wiki: str, wrong_proxy: str) -> None:
    file = installation.configure(
        f"""
[[providers]]
type = "anthropic"
name = "claude-on-aws"
[providers.bedrock]
base_url = "{aws.url}"
region = "{REGION}"
access_key = "AKIAIOSFODNN7EXAMPLE"
secret_key = "env:AWS_SECRET"
session_token = "env:AWS_TOKEN"
models = {{ "claude-opus-5-5" = "us.anthropic.claude-sonnet-4-5-20250929-v1:0" }}
[[providers]]
type = "openai"
name = "beyond"
base_url = "http://provider.example:98/v1"
keys = ["env:OPENAI_API_KEY"]
proxy = "{wrong_proxy}"
[[mcp_servers]]
name = "wiki"
url = "{wiki}"
allow_private = true
auth = "token"
token = "env:MCP_TOKEN"
headers = {{ "X-Key" = "env:MCP_HEADER" }}
[[mcp_servers]]
name = "closed"
url = "{wiki}/closed"
allow_private = true
auth = "token"
token = "env:MCP_TOKEN"
[[mcp_servers]]
name = "local"
command = ["/bin/sh", "-c", "echo $INNER; echo $INNER >&2; exit 1"]
env = {{ INNER = "env:MCP_ENV" }}
[metrics]
port = 0
[tracing]
enabled = true
propagate = true
[dumps]
folder = "dumps"
"""
    )
    file.write_text(file.read_text().replace(LOGS, f'{LOGS}log_level = "debug"\n'))
    installation.environ |= SECRETS


def talkative() -> Wiki:
    """A server whose tool fails with what it was shown, and which lets nobody in elsewhere, and says whom."""
    wiki = Wiki()

    async def says_all(arguments: dict[str, object]) -> object:
        shown = [value for request in wiki.requests for _, value in request.headers.items()]
        return text(" ".join(shown), error=True)

    def closed(request: Request) -> Response | None:
        if not request.url.path.endswith("/closed"):
            return None
        return JSONResponse({"error": f"not {request.headers['authorization']}"}, 401)

    wiki.answers["read"] = says_all  # type: ignore[assignment]  # what it gives is a result all the same
    wiki.before = closed
    return wiki


def repeats(asked: Asked) -> Answer:
    """Bedrock's own way of refusing a signature says what was signed."""
    said = f"SignatureDoesNotMatch: {asked.headers} {SECRETS['AWS_SECRET']} {SECRETS['AWS_TOKEN']}"
    return Answer([json.dumps({"message": said}).encode()], 403)


def _asks(what: str) -> Callable[[Incoming], bool]:
    return lambda asked: f'"{what}"'.encode() in asked.body


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def test_no_secret_of_clouds_servers_of_tools_and_proxies_is_in_anything_that_is_written(
    tmp_path: Path, collector: Collector
) -> None:
    provider, wiki = SimulatedProvider(), talkative()
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with (
        serve_simulator(provider) as url,
        fake_proxy(url, user=f"ada:{PASSWORD}") as proxy,
        fake_proxy(url, user=f"bob:{WRONG_PASSWORD}", answer=refusal) as wrong,
        fake_aws() as aws,
        serving(wiki) as wiki_url,
    ):
        aws.answer = repeats
        environ = {
            "HTTP_PROXY": proxy.url,
            "NO_PROXY": "127.0.0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        installation = Installation(tmp_path, provider, "http://provider.example:99", environ)
        configured(installation, aws, wiki_url, wrong.url)
        provider.script(ScriptedAnswer(407, steps=[b'{"error":{"message":"who?"}}'], matches=_asks("who")))
        key = await installation.key()
        answers = []
        async with installation.serving() as server, server.client(key) as client:
            for stream in (True, False):
                for path, prompt in (
                    ("/anthropic/v1/messages", "use wiki_read"),
                    ("/anthropic/v1/messages", "who"),
                    ("/claude-on-aws/v1/messages", "hello"),
                ):
                    answers.append(await client.post(path, json=messages(prompt, stream=stream)))
                answers.append(await client.post("/beyond/v1/responses", json={"model": "gpt", "input": "hello"}))
            answers += [await client.get("/api/v2/aibridge/mcp"), await client.get("/api/v2/aibridge/providers")]
            answers.append(await client.get("/api/v2/aibridge/interceptions"))
            found = re.search(r"metrics\s+(http\S+)", server.banner)
            assert found is not None
            metrics = await client.get(found[1], headers={"authorization": ""})
            server.signal()
            assert await server.ended() == 0
        collector.until(8)

    assert {tool for tool, _ in wiki.calls} == {"read"}
    assert any(SECRETS["MCP_HEADER"] in request.headers.values() for request in wiki.requests)
    assert len(aws.asked) == 2
    assert any(head.startswith(b"POST http://provider.example:99") for head in proxy.heads)
    assert b"aibridge_mcp_calls_total{" in metrics.content
    assert {span.name for span in collector.spans} >= {
        "ServerProxyManager.Init",
        "StreamableHTTPServerProxy.Init",
        "StreamableHTTPServerProxy.Init.fetchTools",
        "Intercept.ProcessRequest.ToolCall",
    }
    written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}  # noqa: ASYNC240  nothing else runs here
    assert any("dumps/claude-on-aws" in path for path in written)
    places = {
        "the spans": b"".join(collector.raw),
        "the metrics": metrics.content,
        "the banner": server.banner.encode(),
        **{f"the answer {number}": answer.content for number, answer in enumerate(answers)},
        **{path: content for path, content in written.items() if not path.endswith("aibridge.toml")},
    }
    found_in = [
        (where, name)
        for where, content in places.items()
        for name, secret in {**SECRETS, "PASSWORD": PASSWORD, "WRONG": WRONG_PASSWORD}.items()
        if secret.encode() in content
    ]
    assert found_in == []
