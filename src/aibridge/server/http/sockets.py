"""Sockets and file descriptors: listening, how many there may be, and what a client has not taken yet."""

import asyncio
import errno
import fcntl
import os
import resource
import socket
import struct
import termios
from collections.abc import Sequence

from aibridge.server.http.asgi import Address, Endpoints

# Pending connections that the kernel keeps for us; it cuts the number to net.core.somaxconn.
BACKLOG = 2048
# Bytes that the kernel takes on behalf of a slow reader (Linux doubles the number). Left to itself it grows to 4 MB,
# and thousands of slow readers of long streams then cost gigabytes; this still carries 5 MB/s over 100 ms.
_SEND_BUFFER = 256 * 1024


class CannotListen(Exception):
    """An address cannot be served; the text is one line for the person who configured it."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address of `host`; with port 0 all get the same free port.

    Raises:
        CannotListen
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            chosen = (address[0], port or (sockets[0].getsockname()[1] if sockets else 0), *address[2:])
            sockets.append(socket.create_server(chosen, family=family, backlog=BACKLOG))
            # Accepted connections inherit it (socket(7), tcp(7)).
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            # uvloop sets it on every connection, asyncio only where the socket names its protocol, which this does
            # not: an event would wait for the client's delayed acknowledgement of the one before, some 40 ms.
            sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        for opened in sockets:
            opened.close()
        # The text of a failed bind names the address a second time; that of a failed look-up has its own numbers.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise CannotListen(f"cannot listen on {host or '*'}:{port}: {reason}") from error
    return sockets


def inherited(descriptors: Sequence[int]) -> list[socket.socket]:
    """Listening sockets that another process opened and gave us by number."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft  # macOS refuses "unlimited"; its default then stands
    return hard


def descriptor_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def descriptors_are_scarce(spare: int) -> bool:
    """True when fewer than `spare` more files could be opened now."""
    opened: list[int] = []
    try:
        while len(opened) < spare:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def endpoints(transport: asyncio.BaseTransport) -> tuple[int, Endpoints]:
    """The descriptor and the two ends of a connection."""
    scheme = "https" if transport.get_extra_info("sslcontext") else "http"
    connected = transport.get_extra_info("socket")
    try:
        ends = Endpoints(scheme, _address(connected.getpeername()), _address(connected.getsockname()))
        return connected.fileno(), ends
    except OSError:  # it is gone already
        return -1, Endpoints(scheme, None, None)


def _address(name: object) -> Address | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


def unsent_bytes(transport: asyncio.Transport) -> int:
    """What was written and the client's kernel has not confirmed: our buffer and, where it tells, our kernel's."""
    waiting = transport.get_write_buffer_size()
    connected = transport.get_extra_info("socket")
    try:
        # tcp(7): SIOCOUTQ is the same number as TIOCOUTQ.
        queued = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):
        return waiting
    return waiting + int(struct.unpack("i", queued)[0])
