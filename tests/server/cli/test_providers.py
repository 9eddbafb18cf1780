"""`aibridge providers`, beside a running server and without one."""

from pathlib import Path

import msgspec
import pytest

from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from aibridge.server.demo.simulator.exchange import Incoming
from tests.server.installation import CENTRAL_KEY, Installation, messages

pytestmark = pytest.mark.anyio

SECOND = "second-key-of-the-organisation"
POOL = f"""
[[providers]]
type = "anthropic"
name = "pooled"
base_url = "URL"
keys = ["env:ANTHROPIC_API_KEY", "{SECOND}"]
[providers.circuit_breaker]
enabled = true
[[providers]]
type = "copilot"
enabled = false
"""


async def test_providers_are_listed_and_tried_beside_a_server(tmp_path: Path) -> None:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as url:
        house = Installation(tmp_path, provider, url)
        file = str(house.configure(POOL.replace("URL", url)))
        before = await house.run("providers", "list", "--config", file)
        admin = tmp_path / "key"
        admin.write_text(await house.key(None, "--scope", "admin"))
        use = await house.key()

        def first(incoming: Incoming) -> bool:
            return (b"x-api-key", CENTRAL_KEY.encode()) in incoming.headers

        async with house.serving() as server, server.client(use) as client:
            provider.script(ScriptedAnswer(429, None, (b"{}",), first))
            assert (await client.post("/pooled/v1/messages", json=messages())).status_code == 200
            asked = ("--url", server.url, "--key-file", str(admin), "--config", file)
            listed = await house.run("providers", "list", *asked)
            told = (await house.run("providers", "list", "--json", *asked)).json()
            admin.write_text(use)
            of_member = await house.run("providers", "list", *asked)
        provider.script(ScriptedAnswer(401, None, (b"{}",), first))
        tried = await house.run("providers", "test", "pooled", "--config", file)
        fine = (await house.run("providers", "test", "anthropic", "--config", file, "--json")).json()
        off = await house.run("providers", "test", "copilot", "--config", file)
        unknown = await house.run("providers", "test", "nobody", "--config", file)

    rows = {line.split("\t")[0]: line.split("\t") for line in before.out.splitlines()}
    assert rows["pooled"] == ["pooled", "anthropic", "-", "cent...tion; seco...tion", "on", "0", url]
    assert "as configured: there is no key in" in before.err
    rows = {line.split("\t")[0]: line.split("\t") for line in listed.out.splitlines()}
    keys = "cent...tion cooling; seco...tion usable"
    assert rows["pooled"] == ["pooled", "anthropic", "impaired", keys, "closed", "0", url]
    assert rows["copilot"][2] == "off"
    assert listed.err.startswith("as process ")
    pooled = next(one for one in told["results"] if one["name"] == "pooled")
    assert [key["state"] for key in pooled["keys"]] == ["cooling", "usable"]
    assert pooled["keys"][0]["cooling"][0]["model"] == messages()["model"]
    rows = {line.split("\t")[0]: line.split("\t") for line in of_member.out.splitlines()}
    assert rows["pooled"] == ["pooled", "anthropic", "impaired", "?", "?", "0", "?"]  # as members see it
    assert (tried.status, tried.err) == (1, "aibridge: provider pooled does not work\n")
    assert [line.partition(", in ")[0] for line in tried.out.splitlines()] == [
        "pooled with key cent...tion: refuses the key (HTTP 401)",
        "pooled with key seco...tion: answers, with 3 models",
    ]
    assert fine["works"] is True
    assert (off.status, off.err) == (1, "aibridge: provider copilot is switched off\n")
    assert unknown.status == 1
    assert unknown.err == "aibridge: there is no provider nobody: there are anthropic, openai, pooled, copilot\n"
    for said in (before, listed, tried, of_member):
        assert CENTRAL_KEY not in said.out + said.err
        assert SECOND not in said.out + said.err
    assert msgspec.json.encode(told).count(b"cent...tion") == 3
