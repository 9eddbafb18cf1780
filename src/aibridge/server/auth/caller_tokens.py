"""The tokens of an identity provider that people came with, for MCP servers that are asked with them (`auth = "caller"`).

They are in the memory of this process and nowhere else: bounded, in no `repr`, forgotten when they have ended.
"""

from __future__ import annotations

from collections import OrderedDict

from aibridge.mcp.caller.tokens import CallerToken
from aibridge.ports import Clock

_MOST_PEOPLE = 10_000  # with some kilobytes each; whoever is forgotten is known again with the next request
_MOST_EACH = 4  # tokens of one person, who may use several clients
_SWEEPING = 60.0  # seconds between two looks for tokens that have ended


class CallerTokens:
    """A `CallerTokenSource`. A person's newest token is the one that was first seen last.

    Args:
        needed: whether a server wants such tokens; else none is kept.
    """

    __slots__ = ("_clock", "_most_each", "_most_people", "_needed", "_people", "_swept_at")

    def __init__(
        self, clock: Clock, *, needed: bool = True, most_people: int = _MOST_PEOPLE, most_each: int = _MOST_EACH
    ) -> None:
        self._clock = clock
        self._needed = needed
        self._most_people = most_people
        self._most_each = most_each
        self._people: OrderedDict[str, dict[str, CallerToken]] = OrderedDict()  # who brought a new one last is last
        self._swept_at = clock.monotonic()

    def seen(self, user_id: str, token: str, expires_at: float, audiences: tuple[str, ...]) -> None:
        """A token let that person in. Called with each request: one that is known costs a look-up."""
        known = self._people.get(user_id)
        if (known is not None and token in known) or not self._needed:
            return
        self._sweep()
        known = self._people.setdefault(user_id, {})
        known[token] = CallerToken(token, expires_at, audiences)
        if len(known) > self._most_each:
            del known[next(iter(known))]
        self._people.move_to_end(user_id)
        if len(self._people) > self._most_people:
            self._people.popitem(last=False)

    def of(self, user_id: str, audience: str | None) -> CallerToken | None:
        """See `CallerTokenSource`."""
        now = self._clock.now().timestamp()
        for token in reversed(self._people.get(user_id, {}).values()):
            if token.expires_at > now and (audience is None or audience in token.audiences):
                return token
        return None

    def need(self, *, needed: bool) -> None:
        """From now on a server wants such tokens, or none does any more: then those that are known are forgotten."""
        self._needed = needed
        if not needed:
            self._people.clear()

    def _sweep(self) -> None:
        if self._clock.monotonic() - self._swept_at < _SWEEPING:
            return
        self._swept_at, now = self._clock.monotonic(), self._clock.now().timestamp()
        for user_id, known in list(self._people.items()):
            live = {value: token for value, token in known.items() if token.expires_at > now}
            if live:
                self._people[user_id] = live
            else:
                del self._people[user_id]

    def __len__(self) -> int:
        """How many tokens are kept."""
        return sum(map(len, self._people.values()))

    def __repr__(self) -> str:
        return f"CallerTokens(people={len(self._people)})"
