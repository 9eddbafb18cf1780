"""Users of `aibridge serve` who ask one thing after the other, in every dialect; some hang up in the midst of an answer."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.server.installation import BOUND, Running

USERS = 8
PATHS = {
    "messages": "/anthropic/v1/messages",
    "chat": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
}
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


def dialect_of(number: int) -> str:
    return ("messages", "chat", "responses")[number % 3]


@dataclass(frozen=True)
class Question:
    """A request with a tool of the client's own. Whoever `leaves` closes the connection behind the first bytes."""

    dialect: str
    model: str
    prompt: str
    stream: bool
    leaves: bool
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"model": self.model, "stream": self.stream}
        said = [{"role": "user", "content": self.prompt}]
        match self.dialect:
            case "messages":
                tools = [{"name": "list_files", "input_schema": _SCHEMA}]
                return {**plain, "max_tokens": 500, "messages": said, "tools": tools}
            case "chat":
                function = {"name": "list_files", "parameters": _SCHEMA}
                return {**plain, "messages": said, "tools": [{"type": "function", "function": function}]}
            case _:
                tool = {"type": "function", "name": "list_files", "parameters": _SCHEMA}
                return {**plain, "input": self.prompt, "tools": [tool]}


async def load(server: Running, key: str, requests: int, asked: Callable[[int], Question]) -> None:
    """So many requests, of which `asked` says each by its number."""
    numbers = itertools.count()

    async def user() -> None:
        async with server.client(key) as client:
            while (number := next(numbers)) < requests:
                question = asked(number)
                path, headers = PATHS[question.dialect], question.headers
                try:
                    async with client.stream("POST", path, json=question.body(), headers=headers) as answer:
                        async for _ in answer.aiter_raw():
                            if question.leaves:
                                break  # and the connection is closed
                except httpx2.HTTPError:
                    pass  # cut, as the model's name asks for; or the server was killed

    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
        for _ in range(USERS):
            group.create_task(user())
