"""The simulated provider as a process of its own: ``python -m aibridge.server.demo.simulator --port 9000``.

It says its address in one line on standard output as soon as it can be reached, and ends on SIGINT or SIGTERM.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator, write_ledger

_KEPT_EXCHANGES = 100  # the file has them all


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m aibridge.server.demo.simulator",
        description="Serve a simulated provider (Anthropic, OpenAI and Copilot at once) on loopback.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default: 0)")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between the events of a stream (default: 0)")
    parser.add_argument("--ledger", type=Path, help="file to which a JSON line is appended at each start and end")
    options = parser.parse_args()
    with contextlib.ExitStack() as opened:
        observe = None
        if options.ledger is not None:
            observe = write_ledger(opened.enter_context(options.ledger.open("ab")))
        app = SimulatedProvider(pace=options.pace, keep=_KEPT_EXCHANGES, observe=observe)
        asyncio.run(_serve(app, options.port))
    return 0


async def _serve(app: SimulatedProvider, port: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with serve_simulator(app, port=port) as base_url:
        print(f"simulated provider at {base_url}", flush=True)  # noqa: T201  whoever started it reads this line
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(main())
