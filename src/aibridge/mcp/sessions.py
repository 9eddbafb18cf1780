"""The sessions of each actor with each server: their lists put together, their calls, and which of them are kept.

The rule: no server costs a request. What is known is served; what is not is waited for once, for a few seconds in all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import mcp_types as types
import msgspec
from mcp.shared.exceptions import MCPError

from aibridge.actor import Actor
from aibridge.egress import trusted
from aibridge.mcp import results
from aibridge.mcp.known_server import KnownServer
from aibridge.mcp.login_tool import login_offer, login_result, login_tool
from aibridge.mcp.offers import Offer
from aibridge.mcp.outages import Outage
from aibridge.mcp.servers import McpServer
from aibridge.mcp.session import Session, settled
from aibridge.mcp.settings import ToolboxSettings
from aibridge.mcp.status import ServerStatus
from aibridge.mcp.transports import Outside
from aibridge.mcp.troubles import Unavailable, in_words
from aibridge.ports import Identity
from aibridge.tools import NO_TOOLS, Tool, ToolCall, ToolResult, Toolset

_CLOSING = 5.0  # seconds for sessions to say goodbye
_MOST_CONNECTIONS = 500
_MOST_SESSIONS = 10_000  # lists are shared, so that one costs a kilobyte
_MOST_TOOLSETS = 256  # different ones; people with the same rights share one
_INPUT = "the tool asks the user for more, and nobody can be asked through a gateway"
_log = logging.getLogger(__name__)


class Sessions:
    """What an `McpToolbox` is once the SDK is loaded. Made in a thread."""

    def __init__(self, servers: Sequence[McpServer], settings: ToolboxSettings) -> None:
        self._settings = settings
        self._outside = Outside(trusted(settings.ca_bundle), settings.complaints, settings.connecting)
        self._monotonic = settings.clock.monotonic
        self._known = {server.name: self._unknown(server) for server in servers}
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._toolsets: OrderedDict[tuple[bytes, ...], Toolset] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True

    def reconfigure(self, servers: Sequence[McpServer]) -> None:
        """From now on these are the servers. What is known of one that has not changed stays, and so do its sessions."""
        known, self._known = self._known, {}
        for server in servers:
            before = known.get(server.name)
            unchanged = before is not None and before.server == server
            self._known[server.name] = before if before is not None and unchanged else self._unknown(server)
        for key, session in list(self._sessions.items()):
            if self._known.get(session.known.server.name) is not session.known:
                del self._sessions[key]
                session.retire()

    def _unknown(self, server: McpServer) -> KnownServer:
        settings = self._settings
        return KnownServer(server, settings.pins, settings.observer, settings.clock, settings.chance)

    async def close(self) -> None:
        """Ends all connections; nobody is offered anything from now on."""
        self._open = False
        for session in self._sessions.values():
            session.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSING)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # -- the port --------------------------------------------------------------------------------------

    async def tools(self, identity: Identity) -> Toolset:
        sessions, announced = [], []
        for session in self._sessions_of(identity):
            if session.missing is None:
                sessions.append(session)
                continue
            session.leave_off()
            if session.known.server.announce_login:
                announced.append(login_offer(session.known.server))
        waited_for = [
            (connection, session.waits_until)
            for session in sessions
            if (connection := session.want()) is not None and not session.known.outage.failing
        ]
        if waited_for:
            until = max(limit for _, limit in waited_for)
            within = until - self._monotonic()
            if within > 0:
                await settled([connection for connection, _ in waited_for], within)
        return self._toolset([*(session.offer for session in sessions if session.offer is not None), *announced])

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        known = self._known.get(tool.server)
        if not self._open or known is None or not known.server.is_offered_to(identity.actor):
            return results.failure(call.call_id, "there is no such tool")
        if call.unrunnable is not None:
            return results.failure(call.call_id, call.unrunnable)
        arguments = _arguments(call.arguments)
        if arguments is None:
            return results.failure(call.call_id, "the arguments are not a JSON object")
        began, outcome = self._monotonic(), "cancelled"
        try:
            result = await self._called(self._session(known, identity), tool, call.call_id, arguments)
            outcome = "completed" if result.error is None else "failed"
            return result
        finally:
            self._settings.observer.called(tool.server, outcome, self._monotonic() - began)

    async def _called(self, session: Session, tool: Tool, call_id: str, arguments: dict[str, Any]) -> ToolResult:
        server, missing = session.known.server, session.missing
        if server.announce_login and tool == login_tool(server):
            return login_result(call_id, server, missing)
        if missing is not None:
            return results.failure(call_id, f"the server {tool.server} cannot be used: {missing}")
        try:
            given = await session.call(tool.name, arguments)
        except Unavailable as error:
            return results.failure(call_id, f"the server {tool.server} is not available: {error}")
        except MCPError as error:
            return results.failure(call_id, in_words(error, session.hidden))
        except Exception as error:  # noqa: BLE001  the edge to other people's servers: whatever it is, it is the result
            _log.debug("a call failed", extra={"server": tool.server, "tool": tool.name, "why": in_words(error)})
            return results.failure(call_id, in_words(error))
        if isinstance(given, types.InputRequiredResult):
            return results.failure(call_id, _INPUT)
        return results.result_of(call_id, given, session.hidden)

    # -- beside it -------------------------------------------------------------------------------------

    def status(self) -> list[ServerStatus]:
        """How each server does, in the order of the configuration."""
        return [known.status() for known in self._known.values()]

    def status_for(self, actor: Actor) -> list[ServerStatus]:
        """The same of the servers that are for this person, with the person's own session and list."""
        statuses = []
        for known in self._known.values():
            if known.server.is_offered_to(actor):
                session = self._sessions.get((actor.id, known.server.name))
                offer, sessions = (None, 0) if session is None else (session.offer, int(session.connected))
                statuses.append(known.status(of=offer, sessions=sessions))
        return statuses

    # -- sessions --------------------------------------------------------------------------------------

    def _sessions_of(self, identity: Identity) -> Iterator[Session]:
        if self._open:
            for known in self._known.values():
                if known.server.is_offered_to(identity.actor):
                    yield self._session(known, identity)

    def _session(self, known: KnownServer, identity: Identity) -> Session:
        key = (identity.actor.id, known.server.name)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(
                known,
                self._settings.authorization(known.server, identity),
                spawn=self._spawn,
                own_outage=Outage(self._monotonic, self._settings.chance),
                monotonic=self._monotonic,
                patience=self._settings.patience,
                idle=self._settings.idle,
                outside=self._outside,
            )
            self._forget_some()
        self._sessions.move_to_end(key)
        return session

    def _forget_some(self) -> None:
        """Whoever did not ask for the longest time is forgotten first; nobody who is being served is."""
        if len(self._sessions) > _MOST_SESSIONS:
            key = next((key for key, session in self._sessions.items() if not session.connected), None)
            if key is not None:
                del self._sessions[key]

    def _spawn(self, holding: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= _MOST_CONNECTIONS:
            oldest = next((session for session in self._sessions.values() if session.idle), None)
            if oldest is not None:
                oldest.close()
        task = asyncio.get_running_loop().create_task(holding)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _toolset(self, offers: list[Offer]) -> Toolset:
        if not offers:
            return NO_TOOLS
        key = tuple(offer.fingerprint for offer in offers)
        toolset = self._toolsets.get(key)
        if toolset is None:
            # Ids of two servers differ, unless two names were cut to the same 32 bits: then the first has it.
            tools: dict[str, Tool] = {}
            for offer in offers:
                for tool in offer.tools:
                    tools.setdefault(tool.id, tool)
            toolset = self._toolsets[key] = Toolset(tools.values())
            if len(self._toolsets) > _MOST_TOOLSETS:
                self._toolsets.popitem(last=False)
        else:
            self._toolsets.move_to_end(key)
        return toolset


def _arguments(text: str) -> dict[str, Any] | None:
    """A call's arguments; None: they are none that can be sent."""
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
