"""A whole bridge between fakes: an ASGI application whose provider, recorder and clients a test plays."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aibridge import providers
from aibridge.bridge import RequestBridge
from aibridge.ports import Upstream
from tests.exchanges import Exchange
from tests.fakes.client import Client
from tests.fakes.interceptions import KEY
from tests.fakes.journal import Journal
from tests.fakes.recorder import ScriptedRecorder
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream


class House:
    """A bridge between fakes. `around` puts something before its way out."""

    def __init__(self, *, around: Callable[[Upstream], Upstream] | None = None, **options: Any) -> None:
        journal = Journal()
        self.upstream = ScriptedUpstream(journal)
        self.recorder = ScriptedRecorder(journal)
        anthropic = providers.anthropic(base_url="http://anthropic.test", key=KEY)
        openai = providers.openai(base_url="http://openai.test/v1", key=KEY)
        settings: dict[str, Any] = {"providers": [anthropic, openai, providers.copilot()], **options}
        upstream = self.upstream if around is None else around(self.upstream)
        self.bridge = RequestBridge(recorder=self.recorder, upstream=upstream, **settings)

    def streams(self, exchange: Exchange) -> None:
        self.upstream.answers.append(Scripted(exchange.events))

    def answers(self, exchange: Exchange) -> None:
        self.upstream.answers.append(Scripted((exchange.body,), 200, (JSON,)))

    def holds(self, exchange: Exchange, count: int) -> None:
        """A stream that stays at its first events."""
        self.upstream.answers.append(Scripted((*exchange.events[:count], asyncio.Event())))


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[House]:
    house = House(**options)
    async with house.bridge:
        yield house


def path_of(exchange: Exchange) -> str:
    return f"/{exchange.provider}{exchange.path}"


def problem(client: Client) -> str:
    message: str = json.loads(client.body)["error"]["message"]
    return message
