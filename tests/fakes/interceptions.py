"""One interception between fakes at its ports: everything but the interceptor and the dialects is written by a test."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aibridge import providers
from aibridge.actor import Actor
from aibridge.asked import Asked, telling
from aibridge.asking.states import ProviderStates, Surroundings
from aibridge.credentials import Scrubber
from aibridge.dialects.turns import Hidden
from aibridge.errors import Header, RecordingFailed
from aibridge.interception_ports import Ports
from aibridge.interceptor import Interception
from aibridge.model_names import ModelRules
from aibridge.offers import Offering
from aibridge.ports import HeldFor, Identity, Toolbox
from aibridge.providers.base import Provider
from aibridge.reply_writer import Interruption, ReplyWriter
from aibridge.routes import RouteTable
from aibridge.stores.conversations import MemoryConversationStore
from aibridge.tool_settings import ToolSettings
from tests.exchanges import Exchange
from tests.fakes.client import Client
from tests.fakes.clock import CountingIds, FakeClock
from tests.fakes.journal import Journal
from tests.fakes.observer import NotingObserver
from tests.fakes.recorder import ScriptedRecorder
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream, Step

KEY = "sk-central-0123456789abcdef"
ADA = Actor(id="user-ada", username="ada", email="ada@example.org", groups=("math",), metadata={"team": "engines"})
BOB = Actor(id="user-bob")
BOUND = 5.0


class JournalConversations(MemoryConversationStore):
    """Owners in memory; `down` is a database that cannot be written."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self.down = False

    async def own(self, provider_name: str, ids: Sequence[str], actor_id: str) -> None:
        if self.down:
            raise RecordingFailed("the database is down")
        await super().own(provider_name, ids, actor_id)
        self._journal.note("conversations", " ".join(ids))

    async def hold(self, held_for: HeldFor, reply_id: str, hidden: Hidden) -> None:
        if self.down:
            raise RecordingFailed("the database is down")
        await asyncio.sleep(0)
        await super().hold(held_for, reply_id, hidden)
        self._journal.note("conversations", "held")


@dataclass
class Stage:
    """Put up for one exchange; `run` plays it."""

    exchange: Exchange
    provider: Provider
    journal: Journal = field(default_factory=Journal)
    fail: Literal["closed", "usage-only", "open"] = "closed"
    recording_deadline: float = 5.0
    toolbox: Toolbox | None = None
    tools: ToolSettings = field(default_factory=ToolSettings)
    other: Provider | None = None  # beside the one that is asked: its fallback
    models: ModelRules | None = None

    def __post_init__(self) -> None:
        self.upstream = ScriptedUpstream(self.journal)
        self.recorder = ScriptedRecorder(self.journal)
        self.conversations = JournalConversations(self.journal)
        self.client = Client(self.journal)
        self.clock = FakeClock()
        self.ids = CountingIds()
        self.observer = NotingObserver()
        self.pauses: list[float] = []
        self.states = ProviderStates()
        around = Surroundings(clock=self.clock, observer=self.observer, randomness=lambda: 0.0, pause=self._pause)
        self.states.adopt(self.providers, around)
        self.interruption = Interruption()
        self.writer = ReplyWriter(self.client.send)

    @property
    def providers(self) -> list[Provider]:
        return [self.provider] if self.other is None else [self.provider, self.other]

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.passed += seconds

    def next_client(self) -> None:
        """The next request comes from another client."""
        self.client = Client(self.journal)
        self.interruption = Interruption()
        self.writer = ReplyWriter(self.client.send)

    def streams(self, *steps: Step, **options: Any) -> None:
        """The provider's next answer is a stream; by default the exchange's own, event by event."""
        self.upstream.answers.append(Scripted(steps or self.exchange.events, **options))

    def answers(self, *steps: Step, status: int = 200, headers: Sequence[Header] = ()) -> None:
        """The provider's next answer is one JSON body; by default the exchange's own."""
        self.upstream.answers.append(Scripted(steps or (self.exchange.body,), status, (JSON, *headers)))

    def interception(
        self,
        *,
        stream: bool = True,
        body: bytes | None = None,
        headers: Sequence[Header] = (),
        query: bytes = b"",
        actor: Actor = ADA,
    ) -> Interception:
        path = f"/{self.provider.name}{self.exchange.path}".encode()
        route = RouteTable(self.providers, prefixes=[""]).find("POST", path)
        assert route is not None
        assert route.rule.dialect is not None
        ports = Ports(
            upstream=self.upstream,
            recorder=self.recorder,
            conversations=self.conversations,
            clock=self.clock,
            ids=self.ids,
            scrubber=Scrubber([KEY]),
            attribution_key=b"k" * 32,
            states=self.states,
            models=self.models,
            observer=self.observer,
            offering=Offering(self.toolbox, self.tools, self.conversations),
            fail=self.fail,
            recording_deadline=self.recording_deadline,
        )
        asked = body if body is not None else self.exchange.asked(stream=stream)
        identity = Identity(actor, list(headers), query)
        return Interception(
            ports,
            Asked(route, route.rule.dialect, identity, telling(identity.headers), asked),
            self.writer,
            self.interruption,
        )

    async def run(self, **asked: Any) -> None:
        async with asyncio.timeout(BOUND):
            await self.interception(**asked).run()

    def begin(self, **asked: Any) -> "asyncio.Task[None]":
        """Runs it in a task, so that a test can do something meanwhile."""
        return asyncio.get_running_loop().create_task(self.run(**asked))

    async def begun(self, place: int, **asked: Any) -> "asyncio.Task[None]":
        """The same, once the loop has turned so often: each turn of it leaves it at another place."""
        task = self.begin(**asked)
        for _ in range(place):
            await asyncio.sleep(0)
        return task

    def hang_up(self) -> None:
        """The client goes, as the bridge sees it."""
        self.writer.abandon()
        self.interruption.interrupt("client_gone")


def stage(exchange: Exchange, *, provider: dict[str, Any] | None = None, **options: Any) -> Stage:
    settings: dict[str, Any] = {"base_url": "http://provider.test", **(provider or {})}
    if "keys" not in settings:
        settings.setdefault("key", KEY)
    make = providers.anthropic if exchange.provider == "anthropic" else providers.openai
    return Stage(exchange, make(**settings), **options)
