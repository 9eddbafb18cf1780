"""Claude Code and Codex, the real programs, complete a turn with a tool of their own, and with one of the gateway's.

Their homes are empty, their telemetry is off, and the only address that they are given is the demo's.
"""

import signal
import uuid
from pathlib import Path

import pytest

from aibridge.server.demo.helpdesk import served_helpdesk
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.exchanges import DialectName
from tests.fakes.turns import results_in
from tests.house.agents import configure_codex, for_claude, run_agent
from tests.server.demo.demo_process import demo_process, served
from tests.server.installation import Installation, Running

pytestmark = [pytest.mark.anyio, pytest.mark.agents]


async def test_claude_code_uses_its_bash_tool_and_everything_is_on_record(
    agents: dict[str, Path], tmp_path: Path
) -> None:
    prompt = "Use the Bash tool to list files"
    async with demo_process(tmp_path, "--port", "0") as process:
        demo = await served(process)
        said = await run_agent(
            agents["claude"],
            *("-p", prompt, "--allowedTools", "Bash"),
            home=tmp_path / "home",
            environ=for_claude(demo.anthropic_url, demo.key),
        )
        second, first = await demo.interceptions()
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert "a-file-to-list.txt" in said
    for each in (first, second):
        assert each["client"] == "Claude Code"
        assert (each["state"], each["http_status"], each["provider"]) == ("completed", 200, "anthropic")
        assert each["session_id"] == each["client_session_id"] == str(uuid.UUID(each["session_id"]))
        assert each["token_usages"][0]["output_tokens"] > 0
        assert not each["token_usages"][0]["partial"]
        assert each["upstream_user"] == each["initiator"]["id"]
    assert first["session_id"] == second["session_id"]
    assert [each["prompt"] for each in first["user_prompts"]] == [prompt]
    assert [(each["tool"], each["input"]["command"]) for each in first["tool_usages"]] == [("Bash", "ls")]
    assert first["token_usages"][0]["cache_write_tokens"] > 0
    assert (second["user_prompts"], second["tool_usages"]) == ([], [])
    assert second["thread_parent_id"] == first["id"]
    assert second["token_usages"][0]["cache_read_tokens"] > 0


async def test_codex_uses_its_shell_tool_and_everything_is_on_record(agents: dict[str, Path], tmp_path: Path) -> None:
    prompt = "Use your shell tool to list files"
    async with demo_process(tmp_path, "--port", "0") as process:
        demo = await served(process)
        home = tmp_path / "home"
        configure_codex(home, demo.openai_url)
        said = await run_agent(
            agents["codex"],
            *("exec", "--skip-git-repo-check", prompt),
            home=home,
            environ={"AIBRIDGE_TOKEN": demo.key},
        )
        second, first = await demo.interceptions()
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert "a-file-to-list.txt" in said
    for each in (first, second):
        assert each["client"] == "Codex"
        assert (each["state"], each["http_status"], each["provider"]) == ("completed", 200, "openai")
        assert each["session_id"] == each["client_session_id"] == str(uuid.UUID(each["session_id"]))
        assert each["token_usages"][0]["output_tokens"] > 0
        assert each["model_thoughts"] != []
    assert first["session_id"] == second["session_id"]
    assert [each["prompt"] for each in first["user_prompts"]] == [prompt]
    assert [(each["tool"], each["input"]["cmd"]) for each in first["tool_usages"]] == [("exec_command", "ls")]
    assert (second["user_prompts"], second["tool_usages"]) == ([], [])


TICKET = "Who works on helpdesk ticket 17?"
GOES_ON = {
    "claude": (("-p", TICKET), ("--continue", "-p", "Thanks. Good night.")),
    "codex": (
        ("exec", "--skip-git-repo-check", TICKET),
        ("exec", "--skip-git-repo-check", "resume", "--last", "Thanks. Good night."),
    ),
}


@pytest.mark.parametrize(("agent", "dialect"), [("claude", "messages"), ("codex", "responses")])
async def test_an_agent_is_told_what_only_the_gateway_could_look_up_also_after_a_restart_of_it(
    agents: dict[str, Path], tmp_path: Path, agent: str, dialect: DialectName
) -> None:
    provider = SimulatedProvider()
    home = tmp_path / "agent"

    async def told(server: Running, words: tuple[str, ...]) -> str:
        if agent == "codex":
            configure_codex(home, f"{server.url}/openai/v1")
        environ = {"AIBRIDGE_TOKEN": key, **for_claude(f"{server.url}/anthropic", key)}
        return await run_agent(agents[agent], *words, home=home, environ=environ)

    async with serve_simulator(provider) as provider_url, served_helpdesk() as (helpdesk_url, _):
        installation = Installation(tmp_path, provider, provider_url)
        installation.configure(f'[[mcp_servers]]\nname = "helpdesk"\nurl = "{helpdesk_url}"\nallow_private = true\n')
        key = await installation.key()
        asks, goes_on = GOES_ON[agent]
        async with installation.serving() as server:
            answer = await told(server, asks)
            server.signal()
            assert await server.ended() == 0
        async with installation.serving() as server:
            await told(server, goes_on)
    listed = (await installation.run("interceptions", "list", "--json", "--config", str(installation.file))).json()
    after, before = listed["results"]
    results = [results_in(dialect, exchange.body) for exchange in provider.ledger if exchange.path != "/v1/models"]

    assert "assigned to Grace Hopper" in answer
    assert "bmcp_" not in answer
    assert not any(b"bmcp_" in file.read_bytes() for file in home.rglob("*") if file.is_file())
    [called] = before["tool_usages"]
    assert (called["tool"], called["input"], called["injected"]) == ("find_ticket", {"number": 17}, True)
    assert (called["server_url"], called["invocation_error"]) == (helpdesk_url, None)
    assert (after["tool_usages"], after["client"]) == ([], before["client"])
    assert [prompt["prompt"] for prompt in after["user_prompts"]] == ["Thanks. Good night."]
    first, second, third = results
    assert (first, len(second)) == ({}, 1)
    assert third == second
