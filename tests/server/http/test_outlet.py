"""When a client counts as taking nothing. Time and the transport's figures are given."""

import asyncio
import socket
from typing import Any, cast

from aibridge.server.http.outlet import Outlet


class Backlog:
    """A transport with so many bytes unsent; its socket is gone, so that nothing else counts."""

    def __init__(self) -> None:
        self.size = 100_000
        self._closed = socket.socket()
        self._closed.close()

    def get_write_buffer_size(self) -> int:
        return self.size

    def get_extra_info(self, name: str) -> Any:
        return self._closed if name == "socket" else None


def outlet(backlog: Backlog) -> Outlet:
    return Outlet(cast("asyncio.Transport", backlog), 60.0)


def test_it_looks_in_quarters_and_expires_after_the_whole_time_without_a_byte() -> None:
    watched = outlet(Backlog())
    watched.pause(1000.0)
    seen = []
    for _ in range(4):
        now = watched.due
        seen.append((now, watched.expired(now)))

    assert seen == [(1015.0, False), (1030.0, False), (1045.0, False), (1060.0, True)]


def test_a_single_byte_taken_starts_the_time_anew() -> None:
    backlog = Backlog()
    watched = outlet(backlog)
    watched.pause(0.0)
    assert not watched.expired(45.0)
    backlog.size -= 1
    assert not watched.expired(60.0)
    assert not watched.expired(119.0)
    assert watched.expired(120.0)


def test_a_backlog_that_was_taken_is_not_watched_any_more() -> None:
    watched = outlet(Backlog())
    watched.pause(0.0)
    watched.resume(closing=False)

    assert not watched.paused
    assert watched.due == float("inf")


def test_while_closing_the_last_bytes_are_watched_too() -> None:
    watched = outlet(Backlog())
    watched.watch(0.0)
    watched.resume(closing=True)

    assert watched.due == 15.0


def test_nothing_unsent_is_not_watched() -> None:
    backlog = Backlog()
    backlog.size = 0
    watched = outlet(backlog)
    watched.watch(0.0)

    assert watched.due == float("inf")
