"""`aibridge demo` as a person starts it: a process of its own, with an environment full of things that it must ignore."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

BOUND = 90.0  # seconds; two interpreters start, on a machine that may be busy
# Nothing listens there: whoever takes one of these seriously fails.
_DEAD_END = "http://127.0.0.1:9"
_IGNORED = {
    "ANTHROPIC_API_KEY": "sk-ant-real-key",
    "ANTHROPIC_AUTH_TOKEN": "real-token",
    "ANTHROPIC_BASE_URL": _DEAD_END,
    "OPENAI_API_KEY": "sk-real-key",
    "OPENAI_BASE_URL": _DEAD_END,
    "HTTP_PROXY": _DEAD_END,
    "ALL_PROXY": _DEAD_END,
    "AIBRIDGE_CONFIG": "/nowhere/aibridge.toml",
    "AIBRIDGE_DATABASE__URL": "sqlite:////nowhere/aibridge.db",
    "AIBRIDGE_SERVER__HOST": "0.0.0.0",
}


@asynccontextmanager
async def demo_process(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A demo whose temporary and home folders are `folder`; killed if it still runs at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aibridge", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **_IGNORED},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass(frozen=True)
class ServedDemo:
    """What a demo said about itself when it had begun to serve."""

    said: str
    anthropic_url: str
    openai_url: str
    key: str
    config: str

    async def interceptions(self) -> list[dict[str, Any]]:
        """What the command that it prints lists about the person who follows its lines; the newest first."""
        command = [sys.executable, "-m", "aibridge", "interceptions", "list", "--json", "--config", self.config]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AIBRIDGE_")}
        shown = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environ)
        async with asyncio.timeout(BOUND):
            listed, _ = await shown.communicate()
        results: list[dict[str, Any]] = msgspec.json.decode(listed)["results"]
        return [each for each in results if each["initiator"]["username"] == "you"]


async def served(process: asyncio.subprocess.Process) -> ServedDemo:
    """Reads all that a demo says before it waits for a person."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(BOUND):
        while "\nCtrl-C" not in said:
            line = (await process.stdout.readline()).decode()
            assert line, f"it ended too early: {said}"
            said += line
    anthropic_url, key = re.findall(r'Anthropic\(base_url="(.+?)", api_key="(.+?)"\)', said)[0]
    openai_url = re.findall(r'OpenAI\(base_url="(.+?)"', said)[0]
    config = re.findall(r"interceptions list --config (\S+)", said)[0]
    return ServedDemo(said, anthropic_url, openai_url, key, config)
