"""What a dialect is: pure functions and machines over bytes. No sockets, no clock, no actor, no logger.

A dialect is one wire format. It parses a client's body into a `Request`, and a `Request` makes a `Reply`:
a machine that takes the provider's bytes and gives the client's bytes, plus the facts that it read on the way.
Facts carry neither time nor ids; the interceptor stamps them.

Two promises hold for every reply, whatever the chunks:
- What `receive` and `finish` return, joined, is what the provider sent (apart from traces of what we asked for).
- The terminal event is never in what `receive` returns; it waits for `finish`, after the records are durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import msgspec

from aibridge.errors import Problem
from aibridge.records import JsonValue
from aibridge.tools import ToolCall

DialectName = Literal["messages", "chat_completions", "responses"]

# -- facts: what a reply saw --------------------------------------------------------------------------


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's numbers for one turn. `input_tokens` is without cached tokens."""

    response_id: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    extra: Mapping[str, int | str] = msgspec.field(default_factory=dict)
    partial: bool = False
    model: str | None = None  # that answered, as the provider calls it


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made. `input` is parsed, raw text, or None.

    Dialects tell calls of the client's and of hosted tools. Calls of injected tools are the interceptor's to tell,
    after they ran.
    """

    response_id: str | None
    call_id: str | None
    tool: str
    input: JsonValue = None
    injected: bool = False
    server: str | None = None  # where an injected tool was run; None: it was not
    server_url: str | None = None
    invocation_error: str | None = None


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of reasoning that the provider let us see."""

    content: str
    source: str


class StoredIds(msgspec.Struct, frozen=True):
    """Ids under which the provider keeps something of this reply. They get an owner before the client sees them."""

    ids: tuple[str, ...]


class Unreadable(msgspec.Struct, frozen=True):
    """An event or body that could not be parsed. It was relayed unchanged; `what` holds no payload."""

    what: str


Fact = TokenUsage | ToolUse | Thought | StoredIds | Unreadable

# -- turns ---------------------------------------------------------------------------------------------

TurnOutcome = Literal[
    "complete",  # the dialect's terminal event came (or a whole blocking body)
    "failed",  # the provider said in the stream that it failed; what it said was relayed
    "cut",  # the body ended before a terminal event
]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream answer, read to its end. `error_type` and `error_message` are the provider's, when it failed."""

    outcome: TurnOutcome
    response_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    calls: tuple[ToolCall, ...] = ()
    """Calls of injected tools, in their order."""
    runnable: bool = False
    """The calls are to be run: the turn is complete, and the provider stopped for tools and not for lack of room."""
    mixed: bool = False
    """There are calls of the client's own beside ours: the reply ends with this turn, after ours have run."""
    said: bytes = b""
    """The turn as the next request carries it, in the dialect's own JSON; empty where there are no calls of ours."""

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"Turn(outcome={self.outcome!r}, response_id={self.response_id!r}, error_type={self.error_type!r}, error_message={self.error_message!r}, calls={self.calls!r}, runnable={self.runnable!r}, mixed={self.mixed!r})"


Plain = Callable[[bytes], object]


class Reply(Protocol):
    """The one answer that the client sees, made from the turns of one interception."""

    @property
    def finished(self) -> bool:
        """True once the terminal event came in. Bytes that follow it are withheld with it."""

    @property
    def response_id(self) -> str | None:
        """The first turn's id at the provider, once known."""

    def receive(self, chunk: bytes) -> bytes:
        """Takes upstream bytes, returns those that the client may have now: whole events, often none."""

    def facts(self) -> tuple[Fact, ...]:
        """What was learned since the last call. Empty most of the time."""

    @property
    def plain(self) -> Plain | None:
        """What may be shown a chunk in the place of `receive`, until that is called again.

        When it says something true it has seen the chunk: whole events that tell nothing, and that the client gets as
        they are. Else `receive` is to see it. None: `receive` is to see everything.
        """

    def end_turn(self) -> Turn:
        """The upstream body is over (or will not be read further). Completes the facts; call `facts` after it.

        A second call returns the same turn and completes nothing.
        """

    def finish(self) -> bytes:
        """The withheld bytes: terminal event and what followed it. To be called once, after a complete turn."""

    def fail(self, problem: Problem, /) -> bytes:
        """Instead of `finish`: an error in the dialect's words, ending the stream. A fragment is dropped.

        For a stream: an error event. For a blocking body nothing can be said once bytes are out: b"".
        """


class Request(Protocol):
    """A client's body: a few fields read or set, every other byte as it came."""

    @property
    def model(self) -> str: ...

    @property
    def streaming(self) -> bool: ...

    @property
    def background(self) -> bool:
        """The client wants an answer to be fetched later (responses only)."""

    @property
    def prompt(self) -> str | None:
        """The person's last words, without what clients put around them; None when there are none."""

    @property
    def correlating_tool_call_id(self) -> str | None:
        """The id of the last tool result in the request: whose call it answers is this request's parent."""

    @property
    def session_hint(self) -> str | None:
        """What the body says of the session: `metadata.user_id` (messages), `prompt_cache_key` (responses)."""

    @property
    def stores(self) -> bool:
        """The provider will keep something of the reply under an id (see `StoredIds`)."""

    @property
    def references(self) -> tuple[str, ...]:
        """Ids of things stored at the provider that the body refers to, in order, without doubles."""

    def attributed_to(self, identifier: str) -> Self:
        """A copy that names the person to the provider; the client's own value is overwritten.

        A request that has no place for a name returns itself.
        """

    def asking_model(self, model: str) -> Self:
        """A copy that the provider reads this model in. `model` stays what the client asked for."""

    def asking_usage(self) -> Self:
        """A copy that makes the provider report usage although the client did not ask (chat streams only).

        The reply hides the traces. Other dialects and requests return themselves.
        """

    def body(self) -> bytes:
        """What goes upstream. The same request gives the same bytes every time."""

    def reply(self, *, stream: bool) -> Reply:
        """A fresh machine for the answer. `stream` says what the provider sent: an event stream or one body."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format, as a value. Each folder beside this file makes one."""

    name: DialectName
    parse: Callable[[bytes], Request]
    """The request in a client's body. Raises InvalidRequest (400: no JSON, no object, no model, doubled key)."""
    error_body: Callable[[Problem, str | None], bytes]
    """A problem as the JSON body that this dialect's clients understand; the second argument is a request id."""
    error_event: Callable[[Problem], bytes]
    """A problem as a whole SSE event that ends a stream."""
    read_error: Callable[[bytes], tuple[str | None, str | None]]
    """Type and message out of a provider's error body, as far as it can be read. Never raises."""
    identifier_limit: int
    """The longest identifier of a person that the provider takes, in characters."""
    keepalive: bytes
    """A whole SSE frame that says nothing: sent between events while a stream is silent."""
