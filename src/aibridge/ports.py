"""Every door of a request on one page. A host passes an object with these methods in; nothing is inherited.

The rule of all doors: they are awaited inside a request, so they must be quick or bounded; what they raise is
said here, and nothing else may come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

import msgspec

from aibridge.actor import Actor
from aibridge.dialects.base import DialectName
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.errors import Header
from aibridge.link import Link
from aibridge.notices import Notice
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)
from aibridge.tools import Tool, ToolCall, ToolResult, Toolset


class Clock(Protocol):
    """Time is an argument: wall clock for what is written down, monotonic for durations."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps."""


class Ids(Protocol):
    """Makes identifiers."""

    def __call__(self) -> str:
        """A new UUIDv7 as lower-case text."""


class Identity(msgspec.Struct, frozen=True):
    """Who asks, and the request without the credentials of ours that said so.

    `headers` are the client's raw header pairs and `query` its raw query string, both without every value
    that is a gateway credential. A provider credential that is still in `headers` is the user's own (BYOK).
    `credential_id` names what let the request in (not the secret itself), so that its end can end the request too.
    """

    actor: Actor
    headers: Sequence[Header]  # a credential of the user's own may be in them
    query: bytes
    credential_id: str | None = None

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"Identity(actor={self.actor!r}, credential_id={self.credential_id!r})"


class Authenticator(Protocol):
    """Finds the actor of a request."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        """The identity behind an ASGI http scope.

        Raises:
            Refused: nobody is known (401), or may not ask (429); nothing was recorded.
        """


class Recorder(Protocol):
    """Keeps records. Methods return when a record is accepted, in order; two of them wait for durability.

    Raises:
        RecordingFailed: the record is not, and will not be, kept.
    """

    async def record_interception(self, record: InterceptionRecord) -> None:
        """Returns when the start is durable; the provider is asked only afterwards."""

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        """Returns when the end and all earlier records of that interception are durable."""

    async def record_token_usage(self, record: TokenUsageRecord) -> None: ...

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None: ...

    async def record_tool_usage(self, record: ToolUsageRecord) -> None: ...

    async def record_model_thought(self, record: ModelThoughtRecord) -> None: ...


class Observation(Protocol):
    """Follows one interception. The same rule as for `Observer`: quick, and nothing is raised."""

    def asked(self) -> None:
        """The provider is asked from now on; what came before was the gateway's own."""

    def answered(self, status: int) -> None:
        """The head of the provider's answer has come."""

    def unreadable(self) -> None:
        """An event or a body of the provider's could not be parsed; it was relayed all the same."""

    def ran(self, record: ToolUsageRecord, server: str) -> None:
        """An injected tool was run on that server, as configured; the record was accepted."""

    def read(self) -> None:
        """The provider's answer was read, as far as it will be; what follows is the gateway's own. May be said twice."""

    def over(self) -> None:
        """The end is durable, or will never be. Always comes, once."""


class Observer(Protocol):
    """Watches what no record says. Called in the midst of requests: it waits for nothing and raises nothing."""

    def intercepting(self, record: InterceptionRecord) -> Observation:
        """An interception begins; its start is not durable yet."""

    def passing(self, provider_name: str, route: str, method: str) -> None:
        """A request goes through on a passthrough route; `route` is the template."""

    def refused(self, provider_name: str | None, route: str | None, status: int) -> None:
        """A request was answered with an error of ours and left no record. None: it named no route."""

    def noticed(self, notice: Notice) -> None:
        """Something became known of a provider: a circuit, a key, a retry."""


@dataclass(frozen=True, slots=True)
class HeldFor:
    """Whose held turns: one actor's, in one dialect, at one provider. Nobody else's are ever found."""

    actor_id: str
    provider_name: str
    dialect: DialectName


class ConversationStore(Protocol):
    """Knows whose the things are that a provider stores under our one central key, and keeps what clients did not see
    of their replies. State, not records.
    """

    async def own(self, provider_name: str, ids: Sequence[str], actor_id: str) -> None:
        """Makes `actor_id` the owner of provider-side ids; durable on return. The first owner stays.

        Raises:
            RecordingFailed: it could not be made durable; the client must not see the ids.
        """

    async def owner(self, provider_name: str, stored_id: str) -> str | None:
        """The actor whose request created `stored_id`, or None when nobody here did."""

    def may_hold(self, actor_id: str) -> bool:
        """False: for this actor `held` would find nothing, and `resolved` no other id. Asked at every request: quick."""

    async def hold(self, held_for: HeldFor, reply_id: str, hidden: Hidden) -> None:
        """Keeps what the client did not see of one reply, in place of what was kept of it before; durable on return.

        Its `upstream_id` is what `resolved` gives from now on.

        Raises:
            RecordingFailed: it could not be made durable; the client must not see the reply's end.
        """

    async def held(self, held_for: HeldFor, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        """What is held under those of `anchors` that are known, the newest reply first. What was used is kept longer."""

    async def resolved(self, held_for: HeldFor, stored_id: str) -> str:
        """The id under which the provider keeps what the client knows as `stored_id`; mostly the same one."""


class Toolbox(Protocol):
    """Lists and runs injected tools with one actor's rights. Nothing is raised: a tool that fails has a result too."""

    async def tools(self, identity: Identity) -> Toolset:
        """What this actor is offered now; the same object for as long as nothing changed.

        Waits a few seconds at most, and only for lists that were never read; a server that is down is left out.
        """

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        """Runs `call`. The caller bounds the time, and cancels to give up."""


class Purpose(msgspec.Struct, frozen=True):
    """What a request to a provider is for, for those who watch the way out. Passthrough knows no model and no id."""

    provider_name: str
    model: str | None = None
    interception_id: str | None = None
    attempt: int = 0
    """How often the same was asked before: with another key, or again after a failure."""


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One request to a provider, ready to be sent: nothing is added to it but framing and Host."""

    method: str
    url: str  # already quoted; sent as it is
    headers: Sequence[Header]  # the provider's key is in them
    body: bytes
    purpose: Purpose | None = None  # not sent
    link: Link | None = None  # how the provider is reached; None: straight

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return (
            f"UpstreamRequest(method={self.method!r}, url={self.url!r}, purpose={self.purpose!r}, link={self.link!r})"
        )


class UpstreamTimeouts(msgspec.Struct, frozen=True):
    """Deadlines for one request, in seconds."""

    connect: float
    first_byte: float  # from the request's start to the first byte of the answer's body
    stall: float  # between two bytes of the answer


class UpstreamResponse(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[Header]:
        """As the provider sent them, names and values byte for byte, in order."""

    async def read(self) -> bytes:
        """The next bytes of the body as soon as there are any; b"" once it is whole.

        A body that was compressed although identity was asked for comes decoded, and its
        `Content-Encoding` and `Content-Length` are gone from `headers` (see `Upstream.open`).

        Raises:
            UpstreamReset: the body broke off. UpstreamStalled: nothing came in time.
        """

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        """While nothing is to be read: what comes next goes to `take`, at once and from within the event loop.

        Returns when `take` has said False (which it does only once), and whenever `read` has more to say: an end, an
        error, bytes. It may always return at once.
        """

    @property
    def at_end(self) -> bool:
        """True when `read` would return b"" without waiting."""


class OpenUpstream(Protocol):
    """An upstream request in the making; leaving the block cancels whatever is unfinished."""

    async def __aenter__(self) -> UpstreamResponse:
        """Raises: UpstreamUnreachable, UpstreamStalled, Refused when no connection may be opened for it."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Upstream(Protocol):
    """The way out to providers. Never follows a redirect, never adds a header."""

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> OpenUpstream:
        """Sends `request`. With `decode` a compressed body is decoded (see `UpstreamResponse.read`)."""

    async def close(self) -> None:
        """Closes what is pooled. Open responses break off."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What authenticates one request at a cloud, as headers to be added to it, and nothing changed afterwards.

    `hint` is the mask that records show; `secrets` are values that an answer must not repeat to a client.
    """

    headers: Sequence[Header] = field(repr=False)
    hint: str
    secrets: Sequence[str] = field(default=(), repr=False)


class CredentialSource(Protocol):
    """Finds, keeps and renews the credentials for a cloud, whose keys expire and whose requests are signed."""

    @property
    def hint(self) -> str:
        """The mask of the credential that was used last; `...` before there was one."""

    @property
    def secrets(self) -> Sequence[str]:
        """What must be written nowhere, as far as it is known before anything is asked: what was configured."""

    async def proof(self, request: UpstreamRequest) -> Proof:
        """What proves this very request. Called for each attempt; nearly always at once.

        Raises:
            UpstreamUnreachable: there is no credential now. The message says what is missing, without secrets.
        """


class Tracing(Protocol):
    """Follows requests as trees of spans: stands before recorder, upstream and toolbox, and around each request.

    It raises nothing of its own and waits for nothing (see `aibridge.tracing`).
    """

    def recording(self, recorder: Recorder) -> Recorder:
        """The same recorder, with spans."""

    def asking(self, upstream: Upstream) -> Upstream:
        """The same way out, with spans."""

    def calling(self, toolbox: Toolbox) -> Toolbox:
        """The same tools, with a span for each list that is waited for, and for each call."""

    def following(
        self,
        method: str,
        provider_name: str,
        path: str,
        identity: Identity,
        *,
        bridged: bool,
        platform: str | None = None,
    ) -> AbstractContextManager[None]:
        """Follows what is done in the block, by this task and those that it starts. `path` is the route's template.

        `platform` is the cloud that serves the provider in its own way, if one does.
        """
