"""Claude Code and Codex, the real programs.

Both come from npm. They are taken from the PATH, or from the folder in $TEST_AGENTS, or else installed into a
temporary folder.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGES = {"claude": "@anthropic-ai/claude-code@latest", "codex": "@openai/codex@latest"}
INSTALLING = 240.0  # seconds; some hundred megabytes
TURN = 120.0  # seconds; it takes two when the machine is free


def found_or_installed(folder: Path) -> dict[str, Path]:
    """Where the programs are. Skips the test where they cannot be had."""
    path = os.environ.get("TEST_AGENTS", os.environ["PATH"])
    found = {name: shutil.which(name, path=path) for name in PACKAGES}
    if None not in found.values():
        return {name: Path(program) for name, program in found.items() if program is not None}
    if shutil.which("npm") is None:
        pytest.skip("neither the agents nor npm to install them are here")
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--prefix",
        str(folder),
        *PACKAGES.values(),
    ]
    try:
        installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALLING)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not come to an end")
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the agents: {installed.stderr.strip()[-300:]}")
    return {name: folder / "node_modules" / ".bin" / name for name in PACKAGES}


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
