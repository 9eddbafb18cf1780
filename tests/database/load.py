"""A process that records as fast as it can and prints what it was promised, line by line: `started ID`, `ended ID OUT`.

    python -m tests.database.load DATABASE BOOT

A test reads the lines, kills the process, and asks the database whether every promise was kept.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aibridge.clock import SystemClock, new_id
from aibridge.database.boots import Boot
from aibridge.database.files import DatabaseFile
from aibridge.database.recovery import recover
from aibridge.database.upgrade import bring_up_to_date
from aibridge.database.writer import Writer
from aibridge.recorders.sqlite import SqliteRecorder
from tests.durable import ended, interception, prompt, tool, usage

AT_ONCE = 20


async def one(recorder: SqliteRecorder, number: int) -> None:
    start = interception(initiator=f"user-{number % 3}")
    await recorder.record_interception(start)
    say(f"started {start.id}")
    await recorder.record_prompt_usage(prompt(start.id, "x" * (number % 5000)))
    await recorder.record_token_usage(usage(start.id, output=number))
    await recorder.record_tool_usage(tool(start.id, f"toolu_{number}", arguments={"path": "a" * (number % 700)}))
    await recorder.record_interception_ended(ended(start.id))
    say(f"ended {start.id} {number}")


def say(line: str) -> None:
    # One write for each line: what a killed process wrote is whole.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def main(path: str, boot_id: str) -> None:
    clock = SystemClock()
    file = DatabaseFile.at(path)
    bring_up_to_date(file)
    boot = Boot.begin(file, boot_id, clock.now())
    recover(file, clock.now())
    writer = Writer(file, clock)
    writer.start()
    recorder = SqliteRecorder(writer, boot_id=boot.id)
    numbers = iter(range(1_000_000))
    ending = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ending.set)

    async def worker() -> None:
        while not ending.is_set():
            await one(recorder, next(numbers))

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(worker())
    await writer.close()
    boot.leave(clock.now())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else new_id()))
