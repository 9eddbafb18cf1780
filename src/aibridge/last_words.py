"""What a client is told of an interception that fails: as an answer of its own, or in the midst of its stream.

It has a deadline: nobody who does not read keeps an interception from ending.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aibridge.dialects.base import Dialect, Reply
from aibridge.errors import AnswerBroken, Problem
from aibridge.providers.headers import NOSNIFF, request_ids

if TYPE_CHECKING:  # a value that is handed in; siblings do not know each other at run time
    from aibridge.reply_writer import ReplyWriter

INTERCEPTION_ID = b"x-aibridge-interception-id"
"""The header that every answer to an interception carries."""
_DEADLINE = 5.0  # seconds that a client has to take what went wrong


@dataclass(frozen=True, slots=True)
class LastWords:
    """Says in the words of `dialect`, through `writer`, how the interception of this id ended."""

    writer: ReplyWriter
    dialect: Dialect
    interception_id: str

    async def say(self, problem: Problem, reply: Reply | None, *, streaming: bool) -> None:
        """`reply` is what the client has begun to get, if it came so far, and `streaming` its form.

        Raises: AnswerBroken, when there is no way to say it.
        """
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._tell(problem, reply, streaming=streaming)
        except TimeoutError:
            raise AnswerBroken("the client does not read its answer") from None

    async def _tell(self, problem: Problem, reply: Reply | None, *, streaming: bool) -> None:
        if self.writer.ended:
            return
        if self.writer.status is None:
            ids = (*request_ids(self.interception_id), (INTERCEPTION_ID, self.interception_id.encode()))
            headers = [(b"content-type", b"application/json"), NOSNIFF, *problem.headers, *ids]
            body = self.dialect.error_body(problem, self.interception_id)
            await self.writer.answer(problem.status, headers, body)
        elif streaming and reply is not None:
            await self.writer.end(reply.fail(problem))
        else:
            raise AnswerBroken(problem.message)
