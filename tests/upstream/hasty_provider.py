"""A provider that answers before it has read what it is sent. A process of its own: only so it answers meanwhile.

What it does is the path that it is asked for: `/HOW/FRAMING`, see `_HOW` and `_ANSWERS`; by itself it closes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

BODY = b'{"error":{"message":"too large"}}' * 100
_STATUS = b"HTTP/1.1 413 Content Too Large\r\nretry-after: 7\r\ncontent-type: application/json\r\n"
_ANSWERS = {
    "length": _STATUS + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(BODY) + BODY,
    "kept": _STATUS + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": _STATUS + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "closing": _STATUS + b"\r\n" + BODY,
    "nothing": b"",
}
_SOME = 200_000  # bytes of the body that `later` reads first


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _end(connection: socket.socket) -> None:
    """Sends nothing more, and leaves what comes unread."""
    socket.socket.shutdown(connection, socket.SHUT_WR)
    _ENDED.append(connection)


# With much unread, closing too resets the connection.
_HOW = {"close": socket.socket.close, "later": socket.socket.close, "reset": _reset, "end": _end}
_ENDED: list[socket.socket] = []


def _serve(connection: socket.socket) -> None:
    read = b""
    while b"\r\n\r\n" not in read and (data := connection.recv(4096)):
        read += data
    how, framing = read.split(b" ", 2)[1].decode().split("/")[-2:]
    if how not in _HOW:
        how, framing = "close", "length"
    size = len(read)
    while how == "later" and size < _SOME and (data := connection.recv(65536)):
        size += len(data)
    connection.sendall(_ANSWERS[framing])
    _HOW[how](connection)


@asynccontextmanager
async def hasty(scheme: str = "http", certificate: Path | str = "") -> AsyncIterator[str]:
    """The URL of the provider that answers too early."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(certificate), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            yield f"{scheme}://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


def main(certificate: str = "") -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if context is not None:
        context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with suppress(OSError):  # the client was hasty too
                _serve(connection if context is None else context.wrap_socket(connection, server_side=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
