"""`aibridge` as its users have it: commands and servers as processes of their own, in one folder, with a clean
environment and a simulated provider behind it.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import msgspec

from aibridge.server.demo.simulator import SimulatedProvider

BOUND = 60.0  # seconds; an interpreter starts, on a machine that may be busy
CENTRAL_KEY = "central-key-of-the-organisation"
_ADDRESS = re.compile(r"serves at (http://\S+)")


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.status == 0, self.err
        return msgspec.json.decode(self.out)


@dataclass
class Running:
    """A server that says that it is ready."""

    process: asyncio.subprocess.Process
    url: str
    banner: str

    def client(self, key: str | None = None) -> httpx2.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=BOUND, trust_env=False)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(BOUND):
            return await self.process.wait()


@dataclass
class Installation:
    """One configuration in one folder; `environ` is all that its processes see."""

    folder: Path
    provider: SimulatedProvider
    provider_url: str
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_API_KEY": CENTRAL_KEY,
            "OPENAI_API_KEY": CENTRAL_KEY,
            **self.environ,
        }

    @property
    def file(self) -> Path:
        return self.folder / "aibridge.toml"

    def configure(self, more: str = "") -> Path:
        """A configuration file like the benchmark's, and `more`."""
        self.file.write_text(
            f"""
[server]
host = "127.0.0.1"
[database]
url = "sqlite:///{self.folder}/aibridge.db"
[auth]
modes = ["key"]
[[providers]]
type = "anthropic"
base_url = "{self.provider_url}/"
keys = ["env:ANTHROPIC_API_KEY"]
[[providers]]
type = "openai"
base_url = "{self.provider_url}/v1/"
keys = ["env:OPENAI_API_KEY"]
{more}"""
        )
        return self.file

    async def run(self, *arguments: str) -> Ran:
        process = await self._start(*arguments, out=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(BOUND):
                out, err = await process.communicate()
        finally:
            await _ended(process)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def key(self, user: str | None = None, *options: str) -> str:
        """A new key; without a user it belongs to `admin`."""
        whose = () if user is None else ("--user", user)
        made = await self.run(
            "keys", "create", "--name", "test", *whose, *options, "--config", str(self.file), "--json"
        )
        return str(made.json()["key"])

    @asynccontextmanager
    async def serving(self, *options: str, process: Mapping[str, Any] = MappingProxyType({})) -> AsyncIterator[Running]:
        """A server with the configuration file, killed if it still runs at the end of the block."""
        async with self.started(
            "serve", "--config", str(self.file), "--port", "0", *options, process=process
        ) as server:
            yield server

    @asynccontextmanager
    async def started(
        self, *arguments: str, process: Mapping[str, Any] = MappingProxyType({})
    ) -> AsyncIterator[Running]:
        """A server; what it logs is in the file `log`. `process` is how it is started besides."""
        running = await self._start(*arguments, out=asyncio.subprocess.PIPE, log=self.folder / "log", **process)
        try:
            async with asyncio.timeout(BOUND):
                banner = await _banner(running)
            address = _ADDRESS.search(banner)
            assert address is not None, (self.folder / "log").read_text()
            server = Running(running, address[1], banner)
            await _ready(server)
            yield server
        finally:
            await _ended(running)

    def log(self) -> list[dict[str, Any]]:
        """The log lines of the last server."""
        return [msgspec.json.decode(line) for line in (self.folder / "log").read_text().splitlines()]

    async def _start(
        self, *arguments: str, out: int, log: Path | None = None, **options: Any
    ) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "aibridge", *arguments)
        if log is None:
            return await asyncio.create_subprocess_exec(
                *command, stdout=out, stderr=asyncio.subprocess.PIPE, env=self.environ, cwd=self.folder
            )
        with log.open("w") as file:
            return await asyncio.create_subprocess_exec(
                *command, stdout=out, stderr=file, env=self.environ, cwd=self.folder, **options
            )


def messages(text: str = "hello", *, stream: bool = False, **more: Any) -> dict[str, Any]:
    """The body of a request to the Messages API."""
    asked = [{"role": "user", "content": text}]
    return {"model": "claude-opus-5-5", "max_tokens": 200, "messages": asked, "stream": stream, **more}


async def _banner(process: asyncio.subprocess.Process) -> str:
    """What a server says until its first empty line, or its end."""
    assert process.stdout is not None
    lines = []
    while (line := (await process.stdout.readline()).decode()).strip():
        lines.append(line)
    return "".join(lines)


async def _ready(server: Running) -> None:
    """With several workers the sockets listen before the first of them serves; the kernel lets us wait.

    Where only tokens let people in, a server is ready once it has fetched the issuer's keys.
    """
    async with asyncio.timeout(BOUND), server.client() as client:
        while True:
            if (await client.get("/readyz")).status_code == 200:
                return
            await asyncio.sleep(0.05)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
