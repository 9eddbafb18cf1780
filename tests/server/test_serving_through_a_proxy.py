"""`aibridge serve` behind a proxy that its environment names: it says so, and the password is in nothing that it writes."""

from pathlib import Path

import pytest

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.fakes.proxy import fake_proxy
from tests.server.installation import Installation, messages

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2hunter2"


async def test_a_server_tells_of_the_proxy_and_keeps_its_password(tmp_path: Path) -> None:
    async with (
        serve_simulator(SimulatedProvider()) as url,
        fake_proxy(url, user=f"ada:{PASSWORD}") as proxy,
    ):
        installation = Installation(
            tmp_path, SimulatedProvider(), "http://provider.example:99", {"HTTP_PROXY": proxy.url}
        )
        installation.configure('[dumps]\nfolder = "dumps"\n')
        key = await installation.key()
        async with installation.serving() as server, server.client(key) as client:
            answer = await client.post("/anthropic/v1/messages", json=messages("Hi"))
            server.signal()
            status = await server.ended()
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240  nothing else runs here

    assert (answer.status_code, status) == (200, 0)
    assert proxy.heads[0].startswith(b"POST http://provider.example:99/v1/messages HTTP/1.1\r\n")
    told = [line for line in installation.log() if line["event"] == "the provider is asked through a proxy"]
    assert [(line["provider"], line["proxy"]) for line in told] == [
        (name, f"http://{proxy.url.rpartition('@')[2]}") for name in ("anthropic", "openai")
    ]
    assert PASSWORD not in server.banner
    assert any(b"X-Provider" in each or b"provider.example" in each for each in written)  # the dumps are among them
    assert not any(PASSWORD.encode() in each for each in written)
