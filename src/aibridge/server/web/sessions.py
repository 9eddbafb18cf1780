"""Who sits at a browser: a cookie that says which key or token signed in, for an hour, under a key of the server's own.

Nothing is kept here, so that every worker knows every session; whether it still opens anything is asked each time.
Before somebody signs in there is a session too, without one: forms are bound to one, against requests of other sites.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from aibridge.ports import Clock

LIFE = 3600  # seconds
_SHAPE = re.compile(r"([0-9a-f]{64})\.((?:oidc-)?[0-9a-f-]{36}(?:-[0-9]{1,12})?|-)\.([0-9]{1,12})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Session:
    """A browser; `credential_id` is what signed in, None before."""

    id: str = field(repr=False)
    credential_id: str | None
    ends: int


class Sessions:
    """Makes and reads the cookie. `secure`: the pages are at an https:// address."""

    def __init__(
        self, key: bytes, clock: Clock, *, secure: bool, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._key = key
        self._clock = clock
        self._secure = secure
        self._random = random
        # The prefix keeps other hosts of the same domain from setting it (RFC 6265bis section 4.1.3.2).
        self.name = "__Host-aibridge" if secure else "aibridge"

    def made(self, credential_id: str | None = None) -> Session:
        """A new one, also for a browser that has one: a session from before the sign-in must not become signed in."""
        return Session(self._random(32).hex(), credential_id, int(self._clock.now().timestamp()) + LIFE)

    def opened(self, cookies: str) -> Session | None:
        """The session in a `Cookie` header; None: there is none, or it has ended."""
        try:
            found = SimpleCookie(cookies).get(self.name)
        except CookieError:
            return None
        shape = None if found is None else _SHAPE.fullmatch(found.value)
        if shape is None:
            return None
        word, credential_id, ends, mac = shape.groups()
        if not hmac.compare_digest(mac, self._mac("session", word, credential_id, ends)):
            return None
        if int(ends) <= self._clock.now().timestamp():
            return None
        return Session(word, None if credential_id == "-" else credential_id, int(ends))

    def cookie(self, session: Session) -> str:
        """The value of `Set-Cookie`."""
        credential_id, ends = session.credential_id or "-", str(session.ends)
        value = ".".join((session.id, credential_id, ends, self._mac("session", session.id, credential_id, ends)))
        left = max(0, session.ends - int(self._clock.now().timestamp()))
        secure = "; Secure" if self._secure else ""
        # Lax: the way back from an authorization server is a navigation from another site.
        return f"{self.name}={value}; Path=/; Max-Age={left}; HttpOnly; SameSite=Lax{secure}"

    def form_token(self, session: Session, form: str) -> str:
        """What a form of this session carries, so that nobody else's page can send it."""
        return self._mac("form", session.id, session.credential_id or "-", form)

    def _mac(self, *words: str) -> str:
        return hmac.digest(self._key, "\0".join(words).encode(), "sha256").hex()
