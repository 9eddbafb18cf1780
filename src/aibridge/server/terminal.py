"""The terminal that a server was started in. When it is closed we are told so by SIGHUP, which daemons reload at."""

from __future__ import annotations

import os
import signal


class Terminal:
    """Made at the start, before anybody takes SIGHUP. Under `nohup` there is none: the server outlives it."""

    def __init__(self) -> None:
        self._was_there = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_there()

    @property
    def closed(self) -> bool:
        return self._was_there and not _is_there()


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:  # ENXIO: no terminal controls us, or not any more
        return False
    return True
