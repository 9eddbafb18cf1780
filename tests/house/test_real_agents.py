"""Claude Code and Codex, the real programs, complete a turn with a tool of their own, and with one of the gateway's.

Both come from npm. They are taken from the PATH, or from the folder in $TEST_AGENTS, or else installed into a
temporary folder. Their homes are empty, their telemetry is off, and the only address that they are given is the demo's.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from aibridge.server.demo.helpdesk import served_helpdesk
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.exchanges import DialectName
from tests.fakes.turns import results_in
from tests.server.demo.demo_process import demo_process, served
from tests.server.installation import Installation, Running

pytestmark = [pytest.mark.anyio, pytest.mark.agents]

PACKAGES = {"claude": "@anthropic-ai/claude-code@latest", "codex": "@openai/codex@latest"}
INSTALLING = 240.0  # seconds; some hundred megabytes
TURN = 120.0  # seconds; it takes two when the machine is free


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the programs are."""
    path = os.environ.get("TEST_AGENTS", os.environ["PATH"])
    found = {name: shutil.which(name, path=path) for name in PACKAGES}
    if None not in found.values():
        return {name: Path(program) for name, program in found.items() if program is not None}
    if shutil.which("npm") is None:
        pytest.skip("neither the agents nor npm to install them are here")
    prefix = tmp_path_factory.mktemp("agents")
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--prefix",
        str(prefix),
        *PACKAGES.values(),
    ]
    try:
        installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALLING)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not come to an end")
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the agents: {installed.stderr.strip()[-300:]}")
    return {name: prefix / "node_modules" / ".bin" / name for name in PACKAGES}


async def run_agent(program: Path, *arguments: str, home: Path, environ: Mapping[str, str]) -> str:
    """What it says on standard output. The folder that it works in holds one file, `a-file-to-list.txt`."""
    workplace = home / "workplace"
    workplace.mkdir(parents=True, exist_ok=True)
    workplace.joinpath("a-file-to-list.txt").touch()
    path = f"{program.parent}:{Path(shutil.which('node') or '/usr/bin/node').parent}:/usr/bin:/bin"
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=workplace,
        env={"PATH": path, "HOME": str(home), **environ},
    )
    try:
        async with asyncio.timeout(TURN):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()[-2000:]
    return output.decode()


def for_claude(url: str, key: str) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": key,
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def configure_codex(home: Path, url: str) -> None:
    """The file that docs/how-to/clients.md shows; the sandbox would need rights that containers do not have."""
    settings = home / ".codex" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        f'model = "gpt-5.4"\nmodel_provider = "aibridge"\nsandbox_mode = "danger-full-access"\n\n'
        f'[model_providers.aibridge]\nname = "aibridge"\nbase_url = "{url}"\n'
        f'wire_api = "responses"\nenv_key = "AIBRIDGE_TOKEN"\n\n[analytics]\nenabled = false\n'
    )


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
