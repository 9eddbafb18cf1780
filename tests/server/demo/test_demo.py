"""`aibridge demo` as a person starts it: a process of its own, with an environment full of things that it must ignore."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

pytestmark = pytest.mark.anyio

BOUND = 90.0  # seconds; two interpreters start, on a machine that may be busy
# Nothing listens there: whoever takes one of these seriously fails.
DEAD_END = "http://127.0.0.1:9"
IGNORED = {
    "ANTHROPIC_API_KEY": "sk-ant-real-key",
    "ANTHROPIC_AUTH_TOKEN": "real-token",
    "ANTHROPIC_BASE_URL": DEAD_END,
    "OPENAI_API_KEY": "sk-real-key",
    "OPENAI_BASE_URL": DEAD_END,
    "HTTP_PROXY": DEAD_END,
    "ALL_PROXY": DEAD_END,
    "AIBRIDGE_CONFIG": "/nowhere/aibridge.toml",
    "AIBRIDGE_DATABASE__URL": "sqlite:////nowhere/aibridge.db",
    "AIBRIDGE_SERVER__HOST": "0.0.0.0",
}


@asynccontextmanager
async def demo(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A demo whose temporary and home folders lie in `folder`."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **IGNORED}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aibridge", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        async with asyncio.timeout(BOUND):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_until(process: asyncio.subprocess.Process, last: str) -> str:
    """What it says, up to the line that begins with `last`."""
    assert process.stdout is not None
    said: list[str] = []
    while not said or not said[-1].startswith(last):
        line = (await process.stdout.readline()).decode()
        assert line, f"it ended before it said {last!r}: {''.join(said)}"
        said.append(line)
    return "".join(said)


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_once_prints_what_was_recorded_of_each_dialect_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with demo(tmp_path, "--once") as process:
        output, complaints = await process.communicate()

    lines = output.decode().splitlines()
    rows = [line.split() for line in lines if line.startswith(("alice", "bob"))]
    assert complaints == b""
    assert process.returncode == 0
    header = next(line for line in lines if line.startswith("PERSON"))
    assert " ".join(header.split()) == (
        "PERSON CLIENT MODEL PROMPT IN OUT CACHE READ CACHE WRITE TOOLS THOUGHTS SESSION"
    )
    assert [(row[0], " ".join(row[1:3]), row[3]) for row in rows] == [
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
    ]
    assert "Why do swallows fly low before rain?" in lines[lines.index("") + 2]
    assert ["find_room" in row for row in rows] == [False, True, False, False, False, False]
    assert ["office_hours" in row for row in rows] == [False, False, False, True, False, False]
    assert [row[-1] for row in rows if "lunch-plans" in row] == ["lunch-plans", "lunch-plans"]
    assert rows[1][-1] == rows[2][-1]  # the tool's result belongs to the session in which it was called
    assert all(int(number) > 0 for number in re.findall(r" (\d+) +(\d+) ", lines[lines.index("") + 2])[0])
    assert left_in(tmp_path) == []


async def test_a_served_demo_takes_the_lines_that_it_prints_and_shows_what_they_did(tmp_path: Path) -> None:
    async with demo(tmp_path, "--port", "0") as process:
        said = await read_until(process, "Ctrl-C")
        anthropic_url, key = re.findall(r'Anthropic\(base_url="(.+?)", api_key="(.+?)"\)', said)[0]
        openai_url = re.findall(r'OpenAI\(base_url="(.+?)"', said)[0]
        assert f"ANTHROPIC_BASE_URL={anthropic_url} ANTHROPIC_AUTH_TOKEN={key} claude" in said
        assert f'base_url="{openai_url}"' in said
        async with AsyncAnthropic(base_url=anthropic_url, api_key=key, max_retries=0) as anthropic:
            await anthropic.messages.create(
                model="m", max_tokens=500, messages=[{"role": "user", "content": "A question of mine"}]
            )
        async with AsyncOpenAI(base_url=openai_url, api_key=key, max_retries=0) as openai:
            await openai.responses.create(model="n", input="And another")
        config = re.findall(r"interceptions list --config (\S+)", said)[0]
        shown = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aibridge", "interceptions", "list", "--json", "--config", config),
            stdout=asyncio.subprocess.PIPE,
        )
        listed, _ = await shown.communicate()
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()

    mine = [each for each in msgspec.json.decode(listed)["results"] if each["initiator"]["username"] == "you"]
    assert [(each["client"], each["user_prompts"][0]["prompt"]) for each in mine] == [
        ("OpenAI SDK", "And another"),
        ("Anthropic SDK", "A question of mine"),
    ]
    assert complaints == b""
    assert process.returncode == 0
    assert left_in(tmp_path) == []


async def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with demo(tmp_path, "--port", str(port)) as process:
            output, complaints = await process.communicate()

    assert output == b""
    assert complaints.decode() == (
        f"aibridge: cannot listen on 127.0.0.1:{port}: Address already in use (--port 0 takes a free one)\n"
    )
    assert process.returncode == 1
    assert left_in(tmp_path) == []
