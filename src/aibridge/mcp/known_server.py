"""What this process knows of one server, whoever asks: how it was reached, whether it is out, what it offers, its status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import mcp_types as types
from msgspec.structs import replace

from aibridge.errors import RecordingFailed
from aibridge.mcp.connection import Reached
from aibridge.mcp.offers import Offer, Offers, Unlistable, offered
from aibridge.mcp.outages import Outage
from aibridge.mcp.servers import McpServer
from aibridge.mcp.status import LeftOutTool, OfferedTool, ServerStatus, unused
from aibridge.mcp.troubles import Unavailable
from aibridge.ports import Clock
from aibridge.tool_ports import Pins, ToolboxObserver

_CHANGED = "its definition has changed since it was first seen"
_MOST_REPORTED = 10_000
_log = logging.getLogger(__name__)


class KnownServer:
    """`chance` gives numbers from 0 to 1."""

    def __init__(
        self, server: McpServer, pins: Pins, observer: ToolboxObserver, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self.server = server
        self.outage = Outage(clock.monotonic, chance)
        self.reached_by: Reached | None = None
        self._pins = pins
        self._observer = observer
        self._clock = clock
        self._offers = Offers()
        self._offer: Offer | None = None
        self._changed: frozenset[str] = frozenset()
        self._reported: set[str] = set()
        self._up: bool | None = None
        self._since: datetime | None = None
        self._error: tuple[str, datetime] | None = None
        self._sessions = 0

    async def read(self, reached: Reached, tools: Sequence[types.Tool]) -> Offer:
        """A list came: what is offered of it.

        Raises:
            Unlistable: nothing.
        """
        offer = offered(self.server, tools)
        try:
            changed = await self._pins.changed(self.server.name, offer.definitions)
        except RecordingFailed:
            if self.server.pin == "strict":
                raise Unlistable("nobody can say at the moment whether its tools have changed") from None
            changed = frozenset()
        self._report({name: offer.definitions[name] for name in changed})
        if self.server.pin == "strict":
            offer = offer.without(changed, _CHANGED)
        self._offer = self._offers.one(offer)
        self._changed = changed
        self.reached_by = reached
        self.outage.worked()
        self._is_up(up=True)
        return self._offer

    def broke(self, why: Unavailable) -> None:
        """An open connection ended by itself. Whether the server is down, the next attempt will say."""
        self._error = (str(why), self._clock.now())

    def failed(self, why: Unavailable) -> None:
        """A connection could not be made."""
        self._error = (str(why), self._clock.now())
        if why.personal:
            self.outage.worked()  # it is there
            return
        self.reached_by = None
        self.outage.failed()
        self._is_up(up=False)

    def opened(self) -> None:
        self._sessions += 1
        self._observer.sessions(self.server.name, self._sessions)

    def closed(self) -> None:
        self._sessions -= 1
        self._observer.sessions(self.server.name, self._sessions)

    def _is_up(self, *, up: bool) -> None:
        if up is self._up:
            return
        self._up, self._since = up, self._clock.now()
        self._observer.reached(self.server.name, up=up)
        told: dict[str, object] = {"server": self.server.name}
        if up:
            _log.info("an MCP server is up", extra=told)
        else:
            _log.warning("an MCP server is down", extra={**told, "why": self._error[0] if self._error else ""})

    def _report(self, changed: dict[str, str]) -> None:
        for name, definition in changed.items():
            if len(self._reported) > _MOST_REPORTED:
                self._reported.clear()
            if definition not in self._reported:  # once, not with each person who sees it
                self._reported.add(definition)
                self._observer.changed(self.server.name)
                action = "withdrawn" if self.server.pin == "strict" else "offered all the same"
                told = {"server": self.server.name, "tool": name, "action": action}
                _log.warning("the definition of an MCP tool has changed", extra=told)

    def status(self, *, of: Offer | None = None, sessions: int | None = None) -> ServerStatus:
        """As one person has it (`of`, `sessions`), or as it was read last, by whoever it was."""
        offer, server = self._offer if sessions is None else of, self.server
        return replace(
            unused(server),
            transport=self.reached_by.kind if self.reached_by else server.transport,
            state={None: "unused", True: "up", False: "down"}[self._up],
            protocol_version=self.reached_by.protocol_version if self.reached_by else None,
            since=self._since,
            sessions=self._sessions if sessions is None else sessions,
            last_error=self._error[0] if self._error else None,
            last_error_at=self._error[1] if self._error else None,
            tools=tuple(OfferedTool(t.id, t.name, t.description) for t in offer.tools) if offer else (),
            left_out=tuple(LeftOutTool(each.name, each.why) for each in offer.left_out) if offer else (),
            changed=tuple(sorted(self._changed)),
        )
