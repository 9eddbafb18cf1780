"""From a name to a socket that is connected: all addresses of a name are tried, a slow one does not hold up the rest.

RFC 8305 ("happy eyeballs"): addresses of both families in turn, a new attempt every quarter of a second, the first
connection wins. asyncio can do this, uvloop cannot; so it is done here, for both.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import TypeAlias

Address: TypeAlias = tuple[int, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""Family, and what `connect` takes in it."""

ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried beside one that has not answered (RFC 8305 section 5)."""

# A provider may think for minutes without a byte. Some networks forget a connection that is silent for so long, four
# minutes at the least, and then neither side learns that it is gone: the kernel asks after one minute.
_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


async def connected(host: str, port: int) -> socket.socket:
    """A connection to `host`. Raises: OSError, UnicodeError for a name that cannot be one."""
    return await first_to_answer(in_turn(await _addresses(host, port)))


def in_turn(addresses: Sequence[Address]) -> list[Address]:
    """The families by turns, beginning with that of the first address, which the system likes best."""
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain(*zip_longest(preferred, others)) if address is not None]


async def first_to_answer(addresses: Sequence[Address]) -> socket.socket:
    """The first connection that comes about. Raises: OSError, of the first address that failed."""
    if len(addresses) == 1:
        return await _attempt(addresses[0])
    failed: list[BaseException] = []
    running: set[asyncio.Task[socket.socket]] = set()
    try:
        for address in addresses:
            running.add(asyncio.create_task(_attempt(address)))
            winner, running = await _winner(running, failed, ATTEMPT_DELAY)
            if winner is not None:
                return winner
        while running:
            winner, running = await _winner(running, failed, None)
            if winner is not None:
                return winner
        raise failed[0]
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


async def _winner(
    running: set[asyncio.Task[socket.socket]], failed: list[BaseException], patience: float | None
) -> tuple[socket.socket | None, set[asyncio.Task[socket.socket]]]:
    """Waits until an attempt is decided, at most for `patience`: the connection if there is one, and who still tries."""
    done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    winner = None
    for task in done:
        error = task.exception()
        if error is not None:
            failed.append(error)
        elif winner is None:
            winner = task.result()
        else:
            task.result().close()
    return winner, running


async def _addresses(host: str, port: int) -> list[Address]:
    try:
        known = ip_address(host)
    except ValueError:
        pass
    else:
        if "%" not in host:  # the number of a zone is the system's to find out
            return [(socket.AF_INET if known.version == 4 else socket.AF_INET6, (host, port))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return [(family, address) for family, _, _, _, address in found]


async def _attempt(address: Address) -> socket.socket:
    family, where = address
    attempt = socket.socket(family, socket.SOCK_STREAM)
    try:
        attempt.setblocking(False)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _ALIVE:
            if hasattr(socket, option):
                attempt.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        await asyncio.get_running_loop().sock_connect(attempt, where)
    except BaseException:
        attempt.close()
        raise
    return attempt
