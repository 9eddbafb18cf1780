"""What a provider sends after the end of its answer, for as long as that is worth waiting for. The answer is complete."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aibridge.dialects.base import Reply
from aibridge.errors import UpstreamFailure
from aibridge.ports import UpstreamResponse

if TYPE_CHECKING:  # a value that is handed in; siblings do not know each other at run time
    from aibridge.reply_writer import ReplyWriter

_DEADLINE = 1.0  # seconds that a provider has to close after its terminal event


async def relay_trailer(response: UpstreamResponse, reply: Reply, writer: ReplyWriter) -> None:
    """Relays it, and ends the client's answer."""
    with contextlib.suppress(TimeoutError, UpstreamFailure):
        async with asyncio.timeout(_DEADLINE):
            while chunk := await response.read():
                reply.receive(chunk)
                await writer.send(reply.finish())
    await writer.end()


async def read_out(response: UpstreamResponse) -> None:
    """Drops it: once an answer is read to its end, its connection can be used again."""
    with contextlib.suppress(TimeoutError, UpstreamFailure):
        async with asyncio.timeout(_DEADLINE):
            while not response.at_end and await response.read():
                pass
