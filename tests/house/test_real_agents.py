"""Claude Code and Codex, the real programs, complete a turn with a tool of their own; who asked what is on record.

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

from tests.server.demo.demo_process import demo_process, served

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
    workplace.mkdir(parents=True)
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
            environ={
                "ANTHROPIC_BASE_URL": demo.anthropic_url,
                "ANTHROPIC_AUTH_TOKEN": demo.key,
                "DISABLE_TELEMETRY": "1",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            },
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
        # The file that docs/how-to/clients.md shows; the sandbox would need rights that containers do not have.
        home = tmp_path / "home"
        settings = home / ".codex" / "config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f'model = "gpt-5.4"\nmodel_provider = "aibridge"\nsandbox_mode = "danger-full-access"\n\n'
            f'[model_providers.aibridge]\nname = "aibridge"\nbase_url = "{demo.openai_url}"\n'
            f'wire_api = "responses"\nenv_key = "AIBRIDGE_TOKEN"\n\n[analytics]\nenabled = false\n'
        )
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
