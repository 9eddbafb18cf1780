"""An HTTP proxy of the tests' own: it opens tunnels (CONNECT) and passes on whole requests, and notes what it was asked.

Whatever host a request names, it connects to `target`: so tests need no names that resolve.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes.listening import listening
from tests.waiting import BOUND


@dataclass
class FakeProxy:
    target: tuple[str, int]
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"  # to CONNECT
    silent: bool = False  # never answers
    url: str = ""
    heads: list[bytes] = field(default_factory=list)  # of every connection, the first head that came
    shown: list[object] = field(default_factory=list)  # the certificates of those who connected

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shown.append(writer.get_extra_info("peercert"))
        try:
            async with asyncio.timeout(BOUND):
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if self.silent:
                    await reader.read()
                    return
                if head.startswith(b"CONNECT "):
                    writer.write(self.answer)
                    await writer.drain()
                    if b" 200 " not in self.answer:
                        return
                    head = b""
                far_reader, far_writer = await asyncio.open_connection(*self.target)
                try:
                    far_writer.write(_in_origin_form(head))
                    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
                finally:
                    far_writer.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # one of the sides left
        finally:
            writer.close()


@asynccontextmanager
async def fake_proxy(
    target_url: str,
    *,
    tls: ssl.SSLContext | None = None,
    user: str = "",
    answer: bytes | None = None,
    silent: bool = False,
) -> AsyncIterator[FakeProxy]:
    """`user` (`name:password`, quoted) stands in the proxy's URL."""
    port = int(target_url.rpartition(":")[2].partition("/")[0])
    proxy = FakeProxy(("127.0.0.1", port), silent=silent)
    if answer is not None:
        proxy.answer = answer
    scheme, at = ("https" if tls else "http"), (f"{user}@" if user else "")
    async with listening(proxy.serve, tls=tls) as own:
        proxy.url = f"{scheme}://{at}127.0.0.1:{own}"
        yield proxy


def _in_origin_form(head: bytes) -> bytes:
    """As a proxy passes a request on: without the host in its line, and without what was for the proxy."""
    if not head:
        return b""
    line, *rest = head.split(b"\r\n")
    method, target, version = line.split(b" ")
    path = b"/" + target.split(b"//", 1)[1].partition(b"/")[2]
    kept = [each for each in rest if not each.lower().startswith(b"proxy-")]
    return b"\r\n".join([b" ".join((method, path, version)), *kept])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
