"""Servers that are programs of this machine: started when they are needed, ended with the toolbox, found again after death."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from aibridge.credentials import Secret
from aibridge.mcp import McpServer, McpToolbox
from aibridge.ports import Identity
from tests.mcp.real_servers import ALICE, BOB, call, said

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("local_server.py")
BOUND = 30.0  # seconds; an interpreter starts, on a machine that may be busy


def local(*command: str, **settings: Any) -> McpServer:
    return McpServer(name="local", command=command or (sys.executable, str(PROGRAM)), **settings)


async def ran(toolbox: McpToolbox, identity: Identity, name: str) -> list[str]:
    tool = (await toolbox.tools(identity)).by_id[f"bmcp_local_{name}"]
    return list(said(await toolbox.call(identity, tool, call(tool.id, "{}"))))


def lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_program_is_started_for_each_person_and_ended_with_the_toolbox() -> None:
    async with McpToolbox([local(env={"OF_THE_SERVER": Secret("s-1")})], patience=BOUND) as toolbox:
        [secret] = await ran(toolbox, ALICE, "secret")
        variables = await ran(toolbox, ALICE, "variables")
        [mine], [again], [others] = [await ran(toolbox, who, "process") for who in (ALICE, ALICE, BOB)]
        (status,) = toolbox.status()

    assert secret == "s-1"
    assert set(variables) <= {"HOME", "LOGNAME", "LC_CTYPE", "OF_THE_SERVER", "PATH", "SHELL", "TERM", "USER"}
    assert mine == again != others
    assert (status.transport, status.url, status.state) == ("stdio", None, "up")
    assert not lives(mine)
    assert not lives(others)


async def test_a_program_that_dies_in_mid_call_is_started_again_for_the_next() -> None:
    async with McpToolbox([local()], patience=BOUND) as toolbox:
        [before] = await ran(toolbox, ALICE, "process")
        async with asyncio.timeout(BOUND):
            [broken] = await ran(toolbox, ALICE, "die")
            [after] = await ran(toolbox, ALICE, "process")

    assert broken == "The call failed: the connection ended"
    assert before != after


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-program-anywhere",), "it cannot be started (No such file or directory)"),
        ((sys.executable, "-c", "print('Welcome!')"), "the connection ended"),
    ],
    ids=["missing", "chatty"],
)
async def test_a_program_that_is_no_server_is_left_out_with_the_reason(command: tuple[str, ...], words: str) -> None:
    async with McpToolbox([local(*command)], patience=BOUND) as toolbox:
        toolset = await toolbox.tools(ALICE)
        (status,) = toolbox.status()

    assert toolset.tools == ()
    assert (status.state, status.last_error) == ("down", words)
