"""Which program called, and which of its sessions. Correlation only, never identity: a client can say what it likes.

One table, as data: User-Agents and headers as real clients send them. They change monthly; a new one is a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from aibridge.dialects.base import DialectName
from aibridge.errors import Header

UNKNOWN = "Unknown"
LONGEST = 256  # characters of an id; what is longer is none


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientApp:
    """One row: recognised by how its lower-cased User-Agent starts, by `originator`, or by a header that it has.

    With `and_header` the start of the User-Agent counts only beside that header; with `no_user_agent` the header
    counts only where no User-Agent was sent. `session_headers` name the session, the first one that is usable.
    """

    name: str
    starts: tuple[str, ...] = ()
    and_header: bytes | None = None
    originator: bytes | None = None
    header: bytes | None = None
    no_user_agent: bool = False
    session_headers: tuple[bytes, ...] = ()

    def matches(self, user_agent: str, headers: dict[bytes, bytes]) -> bool:
        if self.starts and user_agent.startswith(self.starts):
            return self.and_header is None or self.and_header in headers
        if self.originator is not None and headers.get(b"originator", b"").lower() == self.originator:
            return True
        return self.header is not None and self.header in headers and not (self.no_user_agent and user_agent)


# The first row that matches decides.
CLIENT_APPS = (
    ClientApp(name="Mux", starts=("mux/",), session_headers=(b"x-mux-workspace-id",)),
    ClientApp(name="Claude Code", starts=("claude",), session_headers=(b"x-claude-code-session-id",)),
    # Today it sends the first two; `session_id`, with an underscore, is what older releases sent.
    ClientApp(name="Codex", starts=("codex",), session_headers=(b"session-id", b"thread-id", b"session_id")),
    ClientApp(name="Zed", starts=("zed/",)),
    ClientApp(name="GitHub Copilot (VS Code)", starts=("githubcopilotchat/",), session_headers=(b"x-interaction-id",)),
    ClientApp(name="GitHub Copilot (CLI)", starts=("copilot/",), session_headers=(b"x-client-session-id",)),
    ClientApp(
        name="Kilo Code",
        starts=("kilo-code/", "kilo/"),
        originator=b"kilo-code",
        session_headers=(b"x-kilocode-taskid", b"x-session-id", b"x-opencode-session", b"x-session-affinity"),
    ),
    ClientApp(name="Roo Code", starts=("roo-code/",), originator=b"roo-code"),
    ClientApp(name="Coder Agents", starts=("coder-agents/",), session_headers=(b"x-coder-chat-id",)),
    ClientApp(name="Charm Crush", starts=("charm crush/", "charm-crush/")),
    ClientApp(name="Cursor", header=b"x-cursor-client-version"),
    ClientApp(
        name="OpenCode",
        starts=("opencode/",),
        session_headers=(b"x-session-id", b"x-opencode-session", b"x-session-affinity"),
    ),
    ClientApp(name="Junie", starts=("junie:",)),
    ClientApp(name="OpenAI Agents", starts=("agents/python",)),
    ClientApp(name="Pydantic AI", starts=("pydantic-ai/",)),
    ClientApp(name="LangChain", starts=("langchain-",)),
    ClientApp(name="LiteLLM", starts=("litellm/",)),  # aider too
    ClientApp(name="AI SDK", starts=("ai-sdk", "ai/")),  # Cline too
    # With a provider of the user's own the Copilot CLI names only the SDK; `x-initiator` is its own.
    ClientApp(
        name="GitHub Copilot (CLI)",
        starts=("openai/js", "anthropic/js"),
        and_header=b"x-initiator",
        session_headers=(b"x-client-session-id",),
    ),
    ClientApp(name="Anthropic SDK", starts=("anthropic/", "asyncanthropic/")),
    ClientApp(name="OpenAI SDK", starts=("openai/", "asyncopenai/")),
    ClientApp(name="Goose", header=b"agent-session-id", no_user_agent=True, session_headers=(b"agent-session-id",)),
)
# Most requests have no header that tells a client, so that the User-Agent alone decides: one look at it is enough.
_TELLING = frozenset(
    {app.header for app in CLIENT_APPS if app.header} | {app.and_header for app in CLIENT_APPS if app.and_header}
) | {b"originator"}
_BY_START = tuple(app for app in CLIENT_APPS if app.starts and app.and_header is None)
_STARTS = re.compile("|".join(f"({'|'.join(map(re.escape, app.starts))})" for app in _BY_START))
_AGENT, _PARENT_AGENT = b"x-claude-code-agent-id", b"x-claude-code-parent-agent-id"
_AGENT_HEADERS = frozenset({_AGENT, _PARENT_AGENT})
_SESSION_HEADERS = {app.name: app.session_headers for app in CLIENT_APPS}
READ = frozenset({b"user-agent", *_TELLING, *_AGENT_HEADERS}.union(*_SESSION_HEADERS.values()))
"""The names, in lower case, of all headers that are looked at here."""


class _ClaudeCodeUser(msgspec.Struct):
    session_id: str | None = None


_CLAUDE_CODE_USER = msgspec.json.Decoder(_ClaudeCodeUser)


class Caller(msgspec.Struct, frozen=True):
    """What a request says of the program that sent it."""

    client: str
    session_id: str | None
    agent_id: str | None
    parent_agent_id: str | None
    user_agent: str | None


def caller_of(headers: Sequence[Header], session_hint: str | None, dialect: DialectName) -> Caller:
    """All of it at once; `session_hint` as in `session_of`."""
    found = _first_of_each(headers)
    client = _recognised(found)
    # Only of what is there a usable value is looked for: most requests have none of these headers.
    agents = (None, None) if _AGENT_HEADERS.isdisjoint(found) else agent_ids(headers)
    session = session_of(client, headers, session_hint, dialect)
    return Caller(client, session, *agents, _as_text(found.get(b"user-agent", b"")))


def recognise(headers: Sequence[Header]) -> str:
    """The name of the client, or `UNKNOWN`."""
    return _recognised(_first_of_each(headers))


def _recognised(found: dict[bytes, bytes]) -> str:
    user_agent = found.get(b"user-agent", b"").decode("latin-1").strip().lower()
    if _TELLING.isdisjoint(found):
        row = _STARTS.match(user_agent)
        return _BY_START[row.lastindex - 1].name if row is not None and row.lastindex else UNKNOWN
    return next((app.name for app in CLIENT_APPS if app.matches(user_agent, found)), UNKNOWN)


def session_of(client: str, headers: Sequence[Header], session_hint: str | None, dialect: DialectName) -> str | None:
    """The client's id of the session, or None.

    `session_hint` is what the body says (see `Request.session_hint`): in messages Claude Code's `user_id`, in
    responses the `prompt_cache_key`, which stands in for any client without a better word.
    """
    named = _first_usable(headers, _SESSION_HEADERS.get(client, ()))
    if named is not None or session_hint is None:
        return named
    if dialect == "responses":
        return _usable(session_hint)
    if dialect == "messages" and client == "Claude Code":
        return _usable(_claude_code_session(session_hint))
    return None


def agent_ids(headers: Sequence[Header]) -> tuple[str | None, str | None]:
    """The subagent that asks and the agent that started it, as Claude Code tells them."""
    return _first_usable(headers, (_AGENT,)), _first_usable(headers, (_PARENT_AGENT,))


def user_agent(headers: Sequence[Header]) -> str | None:
    """What the client calls itself, for the record: one line, and not more than 512 characters of it."""
    return _as_text(next((value for name, value in headers if name.lower() == b"user-agent"), b""))


def _as_text(value: bytes) -> str | None:
    text = value.decode("utf-8", errors="replace")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    return text[:512] or None


def _first_of_each(headers: Sequence[Header]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value)
    return found


def _first_usable(headers: Sequence[Header], names: Iterable[bytes]) -> str | None:
    for name in names:
        for found, value in headers:
            if found.lower() == name and (usable := _usable(_text(value))) is not None:
                return usable
    return None


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _usable(text: str | None) -> str | None:
    text = text.strip() if text is not None else ""
    return text if 0 < len(text) <= LONGEST and text.isprintable() else None


def _claude_code_session(user_id: str) -> str | None:
    """The session in `metadata.user_id`: a JSON object today, `user_..._account_..._session_...` before."""
    try:
        return _CLAUDE_CODE_USER.decode(user_id).session_id
    except (msgspec.DecodeError, UnicodeEncodeError):
        return user_id.rpartition("_session_")[2] if "_session_" in user_id else None
