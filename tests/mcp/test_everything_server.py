"""The reference server of the protocol's authors, over streamable HTTP, SSE and stdio: its tools are listed and called."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aibridge.mcp import McpServer, McpToolbox
from aibridge.tools import Image, Text
from tests.mcp.npm import programs
from tests.mcp.real_servers import ALICE, at, call, said

pytestmark = [pytest.mark.anyio, pytest.mark.agents]

PROGRAM = "mcp-server-everything"
BOUND = 30.0  # seconds until it serves


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    wanted = {PROGRAM: "@modelcontextprotocol/server-everything@latest"}
    return str(programs(tmp_path_factory.mktemp("everything"), wanted) / PROGRAM)


@asynccontextmanager
async def running(program: str, transport: str, home: Path) -> AsyncIterator[int]:
    """Its port, once it listens there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = f"{Path(shutil.which('node') or '/usr/bin/node').parent}:/usr/bin:/bin"
    process = await asyncio.create_subprocess_exec(
        *(program, transport),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": path, "HOME": str(home), "PORT": str(port)},
    )
    try:
        async with asyncio.timeout(BOUND):
            while not await _listens(port):
                assert process.returncode is None, "it has ended"
                await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def server(program: str, transport: str, home: Path) -> AsyncIterator[McpServer]:
    if transport == "stdio":
        yield McpServer(name="everything", command=(program, "stdio"))
        return
    async with running(program, transport, home) as port:
        yield at(f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}", "everything")


@pytest.mark.parametrize("transport", ["streamableHttp", "sse", "stdio"])
async def test_its_tools_are_offered_and_give_back_text_images_and_resources(
    program: str, transport: str, tmp_path: Path
) -> None:
    async with server(program, transport, tmp_path) as everything, McpToolbox([everything], patience=BOUND) as toolbox:
        toolset = await toolbox.tools(ALICE)
        (status,) = toolbox.status()
        by_name = {each.name: each for each in toolset.tools}

        async def ran(name: str, arguments: str) -> tuple[Text | Image, ...]:
            async with asyncio.timeout(BOUND):
                result = await toolbox.call(ALICE, by_name[name], call(by_name[name].id, arguments))
            assert result.error is None
            return result.content

        echoed = await ran("echo", '{"message": "hello"}')
        summed = await ran("get-sum", '{"a": 2, "b": 3}')
        image = await ran("get-tiny-image", "{}")
        links = await ran("get-resource-links", '{"count": 2}')
        structured = await ran("get-structured-content", '{"location": "New York"}')
        async with asyncio.timeout(BOUND):
            wrong = await toolbox.call(ALICE, by_name["get-sum"], call(by_name["get-sum"].id, '{"a": "x"}'))

    assert status.state == "up"
    assert status.transport == {"streamableHttp": "streamable_http"}.get(transport, transport)
    assert {"bmcp_everything_echo", "bmcp_everything_get-tiny-image"} <= set(toolset.by_id)
    assert echoed == (Text("Echo: hello"),)
    assert summed == (Text("The sum of 2 and 3 is 5."),)
    assert [part.media_type for part in image if isinstance(part, Image)] == ["image/png"]
    assert len([part for part in links if isinstance(part, Text) and part.text.startswith("[a resource: ")]) == 2
    assert any(isinstance(part, Text) and "temperature" in part.text for part in structured)
    assert wrong.error is not None
    assert said(wrong)
