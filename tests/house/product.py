"""The product as processes: the simulated provider with its ledger, `aibridge serve`, and the commands beside it.

A gateway gets its listening socket from the test, so that its address outlives it: who connects while it is dead waits
in the socket's queue and is answered by the next one. Every process is ended by its own pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

BOUND = 60.0  # seconds; the machines that run this are shared
CENTRAL_KEY = "sk-central-key-of-the-house-tests"


def environment(home: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests: no keys, no configuration, no proxies."""
    return {"PATH": os.environ["PATH"], "HOME": str(home)}


@asynccontextmanager
async def provider(folder: Path, *, pace: float) -> AsyncIterator[tuple[str, Path]]:
    """The simulated provider: its URL, and the file of its ledger."""
    ledger = folder / "ledger.jsonl"
    command = (sys.executable, "-m", "aibridge.server.demo.simulator", "--pace", str(pace), "--ledger", str(ledger))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=environment(folder), process_group=0
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(BOUND):
            line = (await process.stdout.readline()).decode()
        yield line.split()[-1], ledger
    finally:
        await end(process, signal.SIGTERM)


async def end(process: asyncio.subprocess.Process, sign: signal.Signals) -> int:
    """Sends the signal, unless the process has ended; its exit status."""
    if process.returncode is None:
        process.send_signal(sign)
    async with asyncio.timeout(BOUND):
        return await process.wait()


@dataclass(frozen=True)
class House:
    """One folder with a configuration, a database, a listening socket and the log of whoever served."""

    folder: Path
    database: Path
    listening: socket.socket
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "aibridge.toml"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def port(self) -> int:
        port: int = self.listening.getsockname()[1]
        return port

    async def serve(self, *flags: str, wrapper: Sequence[str] = ()) -> asyncio.subprocess.Process:
        """Starts a gateway; it need not serve yet (see `load.ready`)."""
        descriptor = self.listening.fileno()
        command = (sys.executable, "-m", "aibridge", "serve", "--config", str(self.config), "--fd", str(descriptor))
        with (self.folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *wrapper,
                *command,
                *flags,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(self.folder), **self.variables},
                pass_fds=(descriptor,),
                process_group=0,
            )

    @asynccontextmanager
    async def serving(self, *flags: str, wrapper: Sequence[str] = ()) -> AsyncIterator[asyncio.subprocess.Process]:
        """A gateway, killed if it still runs at the end of the block."""
        process = await self.serve(*flags, wrapper=wrapper)
        try:
            yield process
        finally:
            await end(process, signal.SIGKILL)

    async def command(self, *words: str) -> Any:
        """What a command of `aibridge` prints with `--json`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aibridge", *words, "--json", "--config", str(self.config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment(self.folder), **self.variables},
        )
        try:
            async with asyncio.timeout(BOUND):
                said, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, complaints.decode()
        return msgspec.json.decode(said)

    async def key(self, *words: str) -> str:
        """A new key."""
        made = await self.command("keys", "create", *words)
        return str(made["key"])


@asynccontextmanager
async def house(
    folder: Path, upstream: str, *, database: Path | None = None, server: str = "", recording: str = ""
) -> AsyncIterator[House]:
    """A house whose providers are `upstream`; `server` and `recording` are lines of those tables."""
    file = database or folder / "aibridge.db"
    (folder / "aibridge.toml").write_text(
        f'[server]\nlog = "text"\n{server}\n[database]\nurl = "sqlite:///{file}"\n[recording]\n{recording}\n'
        f'[[providers]]\ntype = "anthropic"\nbase_url = "{upstream}/"\nkeys = ["{CENTRAL_KEY}"]\n'
        f'[[providers]]\ntype = "openai"\nbase_url = "{upstream}/v1"\nkeys = ["{CENTRAL_KEY}"]\n'
    )
    with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listening:
        yield House(folder, file, listening)
