"""The tokens that people's own were exchanged for, by person and server, in the memory of this process.

The rule: a token is shown for the person and the server that it was issued for, as long as the token that it comes from
is the person's newest. However many calls wait, the identity provider is asked once; one that fails, later and later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aibridge.egress import Trusted, trusted
from aibridge.mcp.authorization import NotAuthorized
from aibridge.mcp.caller.exchange import ExchangeDenied, ExchangeFailed, FindEndpoint, Issued, TokenEndpoint, exchanged
from aibridge.mcp.caller.tokens import NOBODY, CallerToken, CallerTokenSource
from aibridge.mcp.oauth.fetching import fetching
from aibridge.mcp.outages import Outage
from aibridge.mcp.servers import McpServer
from aibridge.ports import Clock

_DEADLINE = 10.0  # seconds; calls wait for it
_AGAIN = 60.0  # seconds in which a token that was got in the place of a refused one is not got anew
_MOST = 10_000  # with some kilobytes each
_SLOW = "your token cannot be exchanged now: your identity provider does not answer in time"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    """How it stands with one person's token for one server."""

    server: McpServer
    subject: CallerToken
    outage: Outage
    issued: Issued | None = field(default=None, repr=False)
    was_refused_at: float | None = None  # the one before, by the server
    exchanging: asyncio.Task[None] | None = None
    denied: str | None = None


@dataclass(slots=True)
class _Road:
    """How it stands with exchanging for one server, whoever asks."""

    server: McpServer
    outage: Outage
    why: str = _SLOW


class Exchanges:
    """An async context manager: leaving it waits for what is being exchanged.

    Args:
        tokens: what people came with.
        find: the token endpoint of their identity provider, for servers that name none.
        clock, chance: time, and numbers from 0 to 1, as arguments.
        ca_bundle: a file with the authorities (PEM) that endpoints are verified by; by default the machine's.
        deadline: of an exchange with all that it needs, in seconds.
    """

    def __init__(
        self,
        tokens: CallerTokenSource,
        find: FindEndpoint,
        *,
        clock: Clock,
        chance: Callable[[], float],
        ca_bundle: str | None = None,
        deadline: float = _DEADLINE,
    ) -> None:
        self._tokens = tokens
        self._find = find
        self._clock = clock
        self._chance = chance
        self._ca_bundle = ca_bundle
        self._deadline = deadline
        self._trusted: dict[str | None, Trusted] = {}
        self._all: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._roads: dict[str, _Road] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def reconfigure(self, servers: Iterable[McpServer]) -> None:
        """From now on these are the servers. What was issued for others is forgotten."""
        known = {server.name: server for server in servers}
        for key, kept in list(self._all.items()):
            if known.get(kept.server.name) != kept.server:
                del self._all[key]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tasks:  # each has a deadline
            await asyncio.wait(self._tasks)

    def subject(self, actor_id: str) -> CallerToken | None:
        """What would be exchanged."""
        return self._tokens.of(actor_id, None)

    def missing(self, actor_id: str, server: McpServer) -> str | None:
        """What keeps the person from having a token; None: nothing that is known."""
        subject = self.subject(actor_id)
        if subject is None:
            return NOBODY
        kept = self._all.get((actor_id, server.name))
        if kept is None or (kept.subject, kept.server) != (subject, server) or not kept.outage.lasts:
            return None
        return kept.denied

    async def token(self, actor_id: str, server: McpServer) -> Issued:
        """A token for that server.

        Raises:
            NotAuthorized: there is none, or none now.
        """
        subject = self.subject(actor_id)
        if subject is None:
            raise NotAuthorized(NOBODY)
        kept, road = self._kept(actor_id, server, subject), self._road(server)
        issued, now = kept.issued, self._now()
        if issued is not None and issued.renew_at > now:
            return issued
        if kept.exchanging is None and not kept.outage.lasts and not road.outage.lasts:
            self._begin(actor_id, kept, road)
        if issued is not None and issued.expires_at > now:
            return issued  # nobody waits while the old one holds
        if kept.exchanging is not None:
            await asyncio.shield(kept.exchanging)
        if kept.issued is None or kept.issued.expires_at <= self._now():
            raise NotAuthorized(kept.denied or road.why)
        return kept.issued

    def refused(self, actor_id: str, server: McpServer, shown: str) -> bool:
        """The server did not take the token `shown`. True: `token` is to be asked again, once."""
        kept, now = self._all.get((actor_id, server.name)), self._now()
        if kept is None or kept.issued is None or kept.issued.value != shown:
            return True
        if kept.was_refused_at is not None and now - kept.was_refused_at < _AGAIN:
            return False
        kept.issued, kept.was_refused_at = None, now
        return True

    # -- exchanging ------------------------------------------------------------------------------------

    def _begin(self, actor_id: str, kept: _Kept, road: _Road) -> None:
        kept.outage.try_again()
        road.outage.try_again()
        task = asyncio.get_running_loop().create_task(self._exchange(actor_id, kept, road))
        kept.exchanging = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _exchange(self, actor_id: str, kept: _Kept, road: _Road) -> None:
        server = kept.server
        told: dict[str, object] = {"server": server.name, "initiator_id": actor_id}
        try:
            async with asyncio.timeout(self._deadline):
                at = await self._endpoint(server)
                async with fetching(await self._trust(at), allow_private=at.allow_private) as http:
                    kept.issued = await exchanged(server, kept.subject, at, self._now(), http)
        except ExchangeDenied as error:
            kept.issued, kept.denied = None, str(error)  # also where it was to be renewed early
            kept.outage.failed()
            road.outage.worked()
            _log.info("a token was not exchanged for an MCP server", extra={**told, "why": str(error)})
        except (ExchangeFailed, TimeoutError, OSError) as error:
            kept.denied, road.why = None, str(error) if isinstance(error, ExchangeFailed) else _SLOW
            kept.outage.failed()
            if not road.outage.failing:
                _log.warning("tokens are not exchanged for an MCP server", extra={**told, "why": road.why})
            road.outage.failed()
        else:
            kept.denied = None
            kept.outage.worked()
            road.outage.worked()
        finally:
            kept.exchanging = None

    async def _endpoint(self, server: McpServer) -> TokenEndpoint:
        if server.token_endpoint is None:
            return await self._find()
        return TokenEndpoint(server.token_endpoint, server.allow_private)

    async def _trust(self, at: TokenEndpoint) -> Trusted:
        """Made with the first exchange, and once. Raises: OSError."""
        ca_bundle = at.ca_bundle or self._ca_bundle
        if ca_bundle not in self._trusted:
            self._trusted[ca_bundle] = await asyncio.to_thread(trusted, ca_bundle)
        return self._trusted[ca_bundle]

    # -- keeping ---------------------------------------------------------------------------------------

    def _kept(self, actor_id: str, server: McpServer, subject: CallerToken) -> _Kept:
        key = (actor_id, server.name)
        kept = self._all.get(key)
        if kept is None or (kept.subject, kept.server) != (subject, server):
            # What the older token was good for is not what the newer one is: nothing of it is used.
            kept = self._all[key] = _Kept(server, subject, self._outage())
            self._forget_some()
        self._all.move_to_end(key)
        return kept

    def _road(self, server: McpServer) -> _Road:
        road = self._roads.get(server.name)
        if road is None or road.server != server:
            road = self._roads[server.name] = _Road(server, self._outage())
        return road

    def _forget_some(self) -> None:
        """Whoever has not asked for the longest time is forgotten, and whose token has ended."""
        now = self._now()
        while self._all:
            key, kept = next(iter(self._all.items()))
            if len(self._all) <= _MOST and kept.subject.expires_at > now:
                break
            del self._all[key]

    def _outage(self) -> Outage:
        return Outage(self._clock.monotonic, self._chance)

    def _now(self) -> float:
        return self._clock.now().timestamp()
