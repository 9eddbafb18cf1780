"""`aibridge demo`: what it says, what it leaves, and that the lines which it prints work."""

import asyncio
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.server.demo.demo_process import BOUND, demo_process, served

pytestmark = pytest.mark.anyio


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_once_prints_what_was_recorded_of_each_dialect_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with asyncio.timeout(BOUND), demo_process(tmp_path, "--once") as process:
        output, complaints = await process.communicate()

    lines = output.decode().splitlines()
    header = next(line for line in lines if line.startswith("PERSON"))
    calls = lines.index(next(line for line in lines if line.startswith("PERSON  TOOL")))
    rows = [line.split() for line in lines[:calls] if line.startswith(("alice", "bob"))]
    called = [line.split() for line in lines[calls + 1 :]]
    assert complaints == b""
    assert process.returncode == 0
    assert " ".join(header.split()) == "PERSON CLIENT MODEL PROMPT IN OUT CACHE READ CACHE WRITE TOOLS THOUGHTS SESSION"
    assert [(row[0], " ".join(row[1:3]), row[3]) for row in rows] == [
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("alice", "Anthropic SDK", "claude-sonnet-5"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
        ("bob", "OpenAI SDK", "gpt-5.4"),
    ]
    first, _, third, *_ = (" ".join(row) for row in rows)
    assert "Why do swallows fly low before rain?" in first
    assert re.search(r"\? [1-9]\d* [1-9]\d* 0 0 - The prompt is", first)  # tokens, no tool, a thought
    assert re.search(r" - \d+ [1-9]\d* [1-9]\d* [1-9]\d* - - ", third)  # a tool's result is no prompt; the cache
    assert ["find_room" in row[4:] for row in rows] == [number == 1 for number in range(8)]
    assert ["office_hours" in row[4:] for row in rows] == [number == 4 for number in range(8)]
    assert [row[-1] == "lunch-plans" for row in rows] == [number in (5, 6) for number in range(8)]
    assert rows[1][-1] == rows[2][-1] != rows[0][-1]  # the tool's result belongs to the session of its call
    assert [(row[0], row[1], row[2], row[-1]) for row in called] == [
        ("alice", "find_ticket", '{"number":17}', "ok"),
        ("bob", "find_ticket", '{"number":23}', "ok"),
        ("bob", "find_person", '{"name":"Alan', "ok"),
    ]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", called[0][3])
    assert left_in(tmp_path) == []


async def test_once_that_is_interrupted_has_not_succeeded(tmp_path: Path) -> None:
    async with asyncio.timeout(BOUND), demo_process(tmp_path, "--once") as process:
        assert process.stdout is not None
        await process.stdout.readline()  # it serves
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()

    assert (process.returncode, complaints) == (130, b"")
    assert left_in(tmp_path) == []


async def test_a_served_demo_takes_the_lines_that_it_prints_and_shows_what_they_did(tmp_path: Path) -> None:
    async with demo_process(tmp_path, "--port", "0") as process:
        demo = await served(process)
        async with asyncio.timeout(BOUND):
            async with AsyncAnthropic(base_url=demo.anthropic_url, api_key=demo.key, max_retries=0) as anthropic:
                question = {"role": "user", "content": "A question of mine"}
                await anthropic.messages.create(model="m", max_tokens=500, messages=[question])  # type: ignore[list-item]  # a plain dict, as people write it
            async with AsyncOpenAI(base_url=demo.openai_url, api_key=demo.key, max_retries=0) as openai:
                await openai.responses.create(model="n", input="And another")
            mine = await demo.interceptions()
            process.send_signal(signal.SIGINT)
            _, complaints = await process.communicate()

    assert f"ANTHROPIC_BASE_URL={demo.anthropic_url} ANTHROPIC_AUTH_TOKEN={demo.key} claude" in demo.said
    assert f'base_url="{demo.openai_url}"' in demo.said
    assert [(each["client"], each["user_prompts"][0]["prompt"]) for each in mine] == [
        ("OpenAI SDK", "And another"),
        ("Anthropic SDK", "A question of mine"),
    ]
    assert complaints == b""
    assert process.returncode == 0
    assert left_in(tmp_path) == []


async def test_any_client_gets_what_only_the_helpdesk_knows(tmp_path: Path) -> None:
    async with demo_process(tmp_path, "--port", "0") as process:
        demo = await served(process)
        easy, steps = re.findall(r"^  (.*helpdesk ticket.*)$", demo.said, re.MULTILINE)
        async with asyncio.timeout(BOUND):
            async with AsyncAnthropic(base_url=demo.anthropic_url, api_key=demo.key, max_retries=0) as anthropic:
                asked: Any = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": easy}]}
                message = await anthropic.messages.create(**asked)
            async with AsyncOpenAI(base_url=demo.openai_url, api_key=demo.key, max_retries=0) as openai:
                asked = {"model": "n", "messages": [{"role": "user", "content": steps}]}
                completion = await openai.chat.completions.create(**asked)
                async with openai.responses.stream(model="n", input=steps) as stream:
                    response = await stream.get_final_response()
            mine = await demo.interceptions()
            process.send_signal(signal.SIGINT)
            await process.communicate()

    replies = [each.model_dump_json() for each in (message, completion, response)]
    assert "assigned to Grace Hopper" in replies[0]
    assert all("Ada Lovelace sits on floor 1" in reply for reply in replies[1:])
    assert not any("bmcp_" in reply or "find_" in reply for reply in replies)
    assert [[(call["tool"], call["input"], call["injected"]) for call in each["tool_usages"]] for each in mine] == [
        *[[("find_ticket", {"number": 42}, True), ("find_person", {"name": "Ada Lovelace"}, True)]] * 2,
        [("find_ticket", {"number": 17}, True)],
    ]


async def test_the_line_for_curl_works_as_it_stands(tmp_path: Path) -> None:
    async with demo_process(tmp_path, "--port", "0") as process:
        demo = await served(process)
        command = re.findall(r"^curl:\n((?:  .*\n)+)", demo.said, re.MULTILINE)[0]
        async with asyncio.timeout(BOUND):
            shell = await asyncio.create_subprocess_shell(
                command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            answer, _ = await shell.communicate()
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    if shell.returncode == 127:
        pytest.skip("curl is not installed")
    assert b'"This is claude-sonnet-5, simulated' in answer
    assert left_in(tmp_path) == []


async def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with asyncio.timeout(BOUND), demo_process(tmp_path, "--port", str(port)) as process:
            output, complaints = await process.communicate()

    assert output == b""
    assert complaints.decode() == (
        f"aibridge: cannot listen on 127.0.0.1:{port}: Address already in use (--port 0 takes a free one)\n"
    )
    assert process.returncode == 1
    assert left_in(tmp_path) == []
