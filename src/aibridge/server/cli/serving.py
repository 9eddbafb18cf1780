"""`aibridge serve` and `aibridge demo`: what keeps running."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aibridge.server.cli.options import Config

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one (8787).")]


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on (127.0.0.1).")] = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="How many processes serve (1).")] = None,
    fd: Annotated[int | None, typer.Option(min=0, help="Serve on this inherited listening socket instead.")] = None,
    log: Annotated[Literal["auto", "json", "text"] | None, typer.Option(help="The form of log lines (auto).")] = None,
) -> int:
    """Run the gateway until it is told to stop (SIGTERM, Ctrl-C). What runs then is finished first."""
    from aibridge.server.config import At
    from aibridge.server.startup import start

    flags = {"host": host, "port": port, "workers": workers, "log": log}
    given: dict[At, object] = {("server", name): value for name, value in flags.items() if value is not None}
    return start(config, given, descriptor=fd)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the table of what was recorded.")] = False,
    port: Port = None,
) -> int:
    """Try the gateway without a key and without a network, in front of a simulated provider."""
    from aibridge.server.demo.cli import run

    return run(port, once=once)
