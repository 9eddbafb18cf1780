"""One of several serving processes, as the supervisor starts it: `python -m aibridge.server.worker ORDERS`.

It reads the configuration as the supervisor did, from the same file, variables and flags; the sockets it inherits.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from aibridge.server.config.layers import At
from aibridge.server.workers import Inherited, tell_ready, watch_supervisor


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told on its command line. No secret is among it."""

    file: str | None
    flags: list[tuple[list[str | int], str | int]]
    worker: int
    listening: list[int]
    supervisor: int
    metrics: str | None  # the folder of the supervisor that sums them


def command(file: Path | None, flags: Mapping[At, object], metrics: Path | None, inherited: Inherited) -> list[str]:
    """The command line that starts a worker."""
    orders = {
        "file": None if file is None else str(file),
        "flags": list(flags.items()),
        "worker": inherited.worker,
        "listening": inherited.listening,
        "supervisor": inherited.supervisor,
        "metrics": None if metrics is None else str(metrics),
    }
    return [sys.executable, "-m", "aibridge.server.worker", msgspec.json.encode(orders).decode()]


def main(orders: Orders) -> int:
    """Serves until a signal, or until the supervisor is gone; the exit status."""
    # The supervisor's word for rereading the configuration again, which is taken as soon as we serve.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # its word for an end at once: nothing has begun yet
    import uvloop  # noqa: PLC0415  `startup` imports this module

    from aibridge.server.config import load  # noqa: PLC0415  as above
    from aibridge.server.http.sockets import inherited, raise_descriptor_limit  # noqa: PLC0415  as above
    from aibridge.server.process import serve_process  # noqa: PLC0415  as above
    from aibridge.server.reloading import Rereading  # noqa: PLC0415  as above
    from aibridge.server.startup import planned, replanned  # noqa: PLC0415  as above

    flags = {tuple(at): value for at, value in orders.flags}
    read = partial(load, None if orders.file is None else Path(orders.file), os.environ, flags)
    plan = planned(read())
    raise_descriptor_limit()
    if orders.metrics is not None:
        from aibridge.server.metrics_files import count_in  # noqa: PLC0415  only when somebody asks for metrics

        count_in(orders.metrics, orders.worker)
    ready = partial(tell_ready, orders.supervisor)
    gone = partial(watch_supervisor, orders.supervisor)
    listening = inherited(orders.listening)
    rereading = Rereading(read, partial(replanned, bound=listening), watches=False, says=False)
    return uvloop.run(serve_process(plan, listening, ready, until=gone, rereading=rereading, supervised=True))


def run(text: str) -> int:
    """`main`, and what goes wrong as one line."""
    from aibridge.server.cli.failures import in_words  # noqa: PLC0415  as above

    try:
        return main(msgspec.json.decode(text, type=Orders))
    except Exception as error:
        words = in_words(error)
        if words is None:
            raise
        print(f"aibridge: {words}", file=sys.stderr)  # noqa: T201  it speaks to a person
        return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
