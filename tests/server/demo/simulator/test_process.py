"""The simulated provider as a process of its own, with the ledger file that a kill test compares with."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from anthropic import AsyncAnthropic

from aibridge.server.demo.simulator import LedgerLine

pytestmark = pytest.mark.anyio

BOUND = 20.0  # seconds to start an interpreter on a busy machine


async def test_a_process_says_where_it_is_and_writes_a_line_at_each_start_and_end(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    arguments = ["-m", "aibridge.server.demo.simulator", "--port", "0", "--ledger", str(ledger)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(BOUND):
            base_url = (await process.stdout.readline()).decode().split()[-1]
            async with AsyncAnthropic(base_url=base_url, api_key="dummy") as client:
                message = await client.messages.create(
                    model="m", max_tokens=900, messages=[{"role": "user", "content": "Hi\nthere"}]
                )
    finally:
        process.send_signal(signal.SIGTERM)
        code = await process.wait()
    noise = await process.stderr.read()

    start, end = msgspec.json.Decoder(LedgerLine).decode_lines(ledger.read_bytes())
    assert code == 0
    assert noise == b""
    assert isinstance(start.body, dict)
    assert (start.at, start.exchange, start.body["messages"][0]["content"]) == ("start", 0, "Hi\nthere")
    assert (end.at, end.exchange, end.status, end.completed) == ("end", 0, 200, True)
    assert end.response_id == message.id
    assert end.usage is not None
    assert end.usage["output_tokens"] == message.usage.output_tokens
    assert b"dummy" not in ledger.read_bytes()
