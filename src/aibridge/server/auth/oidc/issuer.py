"""The identity provider whose tokens are good here: its keys as they are now, known before anybody needs them.

The rule: a key that is known serves without a word to the issuer. Only a token that names an unknown one has it asked,
once for all who wait and a few times a minute at most. While the issuer does not answer, what was known holds on for a
day; after that, or where it answers that it has no keys, nobody can say whether a token is good, which is another thing
than that it is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aibridge.ports import Clock
from aibridge.server.auth.oidc.keys import IssuerKey, IssuerKeys
from aibridge.server.auth.oidc.rules import OidcRules

if TYPE_CHECKING:
    from aibridge.egress import Trusted
    from aibridge.server.auth.oidc.discovery import IssuerMetadata

EVERY = 300.0
"""Seconds between two looks at the keys: a key that the issuer took back opens nothing for longer than that."""
AGAIN = 10.0
"""Seconds between two looks that tokens with unknown keys cause."""
STALE = 86400.0
"""Seconds that keys hold which the issuer was not asked about: it does not answer."""
_PATIENCE = 5.0  # seconds that a request waits for the issuer
_RETRIES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds after the first, second ... failure in a row
_SPREAD = 0.3  # of the time until the next look
_JUST_ASKED = "was asked for its keys a moment ago"
_REMEMBERED = 256  # names of keys that the issuer does not have

_log = logging.getLogger(__name__)


class IssuerUnavailable(Exception):
    """Nobody can say now; `retry_after` seconds later somebody may."""

    def __init__(self, why: str, retry_after: float) -> None:
        super().__init__(why)
        self.retry_after = max(1, ceil(retry_after))


class Issuer:
    """An async context manager: leaving it gives up what is being fetched. `keep_fresh` runs beside it."""

    def __init__(self, rules: OidcRules, clock: Clock) -> None:
        self.rules = rules
        self._clock = clock
        self._keys = IssuerKeys()
        self._metadata: IssuerMetadata | None = None
        self._trust: Trusted | None = None
        self._fetched_at: float | None = None
        self._fault: str | None = "was not asked yet"
        self._failures = 0
        self._asked_at: float | None = None  # for the sake of a token
        self._fetching: asyncio.Task[None] | None = None
        self._discovering = asyncio.Lock()
        self._unknown: dict[str | None, None] = {}  # names that the last look did not find

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    @property
    def why_unusable(self) -> str | None:
        """Why no token can be verified now; None: some can."""
        return None if self._is_usable() else f"the identity provider {self._fault or 'has not answered for a day'}"

    def trusts(self, key: IssuerKey) -> bool:
        """Whether a key is among the issuer's now. Asked at each request."""
        return key.thumbprint in self._keys.thumbprints and self._is_usable()

    async def key(self, kid: str | None, algorithm: str, *, tried: IssuerKey | None = None) -> IssuerKey | None:
        """The key that a token was signed with, by what the token says; None: the issuer has no such key.

        `tried` is the one that did not fit: there may be another one of that name by now.

        Raises:
            IssuerUnavailable: it may have; it cannot be asked now.
        """
        key = self._known(kid, algorithm)
        if key is not None and key != tried:
            return key
        joined = await self._look_again(kid)
        key = self._known(kid, algorithm)
        if key is not None and key != tried:
            return key
        if not self._is_usable() or self._fault is not None:
            raise IssuerUnavailable(str(self._fault), AGAIN)
        if joined:  # that look may have begun before the key was there
            raise IssuerUnavailable(_JUST_ASKED, AGAIN)
        if len(self._unknown) >= _REMEMBERED:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[kid] = None
        return None

    async def metadata(self) -> IssuerMetadata:
        """Where the issuer can be asked what: its token endpoint. Asked for once.

        Raises:
            IssuerUnavailable: it does not answer.
        """
        if self._metadata is None:
            async with self._discovering:
                if self._metadata is None:
                    self._metadata = await self._discovered()
        return self._metadata

    async def keep_fresh(
        self, chance: Callable[[], float], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Looks at the keys from time to time, until it is cancelled.

        `chance` gives numbers from 0 to 1: processes that began together do not all ask together for ever.
        """
        while True:
            await self._fetched()
            failures = min(self._failures, len(_RETRIES))
            longest = EVERY if failures == 0 else _RETRIES[failures - 1]
            await sleep(longest * (1 - _SPREAD * chance()))

    def _known(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        return self._keys.named(kid, algorithm) if self._is_usable() else None

    def _is_usable(self) -> bool:
        return (
            bool(self._keys.keys)
            and self._fetched_at is not None
            and self._clock.monotonic() - self._fetched_at < STALE
        )

    async def _look_again(self, kid: str | None) -> bool:
        """Looks at the keys for a token's sake; whether others were at it. Raises: IssuerUnavailable."""
        joined = self._fetching is not None
        if not joined:
            now = self._clock.monotonic()
            if self._asked_at is not None and now - self._asked_at < AGAIN:
                if kid in self._unknown and self._fault is None:
                    return False
                raise IssuerUnavailable(self._fault or _JUST_ASKED, self._asked_at + AGAIN - now)
            self._asked_at = now
            self._unknown.clear()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._fetched()
        except TimeoutError:
            raise IssuerUnavailable("has not answered yet", AGAIN) from None
        return joined

    async def _fetched(self) -> None:
        """The keys are as new as they can be had. However many ask, the issuer is asked once."""
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._over)
        await asyncio.shield(self._fetching)

    def _over(self, _done: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        await asyncio.to_thread(import_module, _DISCOVERY)
        from aibridge.server.auth.oidc.discovery import NotFetched, fetched_keys  # noqa: PLC0415  it needs an HTTP client

        try:
            metadata, keys = await fetched_keys(self.rules, await self._trusted())
        except NotFetched as error:
            self._failed(str(error))
            return
        except Exception as error:  # noqa: BLE001  the edge of a background task: what is served must not end with it
            self._failed(f"internal error: {type(error).__name__}")
            return
        if not keys.keys:  # that is an answer: it took back those that were known
            self._keys = keys
            self._failed("its document of keys has none that signatures can be verified with")
            return
        if self._fault is not None or keys.thumbprints != self._keys.thumbprints:
            _log.info("the identity provider's keys", extra={"issuer": self.rules.issuer, "keys": len(keys.keys)})
        self._keys, self._fault, self._failures = keys, None, 0
        self._metadata = metadata or self._metadata
        self._fetched_at = self._clock.monotonic()

    def _failed(self, why: str) -> None:
        self._failures += 1
        if self._fault is None or self._failures == 1:
            told = {"issuer": self.rules.issuer, "why": why}
            _log.warning("the identity provider's keys cannot be fetched", extra=told)
        self._fault = f"cannot be asked for its keys: {why}"

    async def _discovered(self) -> IssuerMetadata:
        await asyncio.to_thread(import_module, _DISCOVERY)
        from aibridge.server.auth.oidc.discovery import NotFetched, fetched_metadata  # noqa: PLC0415  as above

        try:
            return await fetched_metadata(self.rules, await self._trusted())
        except NotFetched as error:
            raise IssuerUnavailable(f"cannot be asked for its configuration: {error}", AGAIN) from None

    async def _trusted(self) -> Trusted:
        """Made with the first question, and once."""
        from aibridge.egress import trusted  # noqa: PLC0415  as above

        if self._trust is None:
            self._trust = await asyncio.to_thread(trusted, self.rules.ca_bundle)
        return self._trust


_DISCOVERY = "aibridge.server.auth.oidc.discovery"
