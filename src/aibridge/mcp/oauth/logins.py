"""People's logins at MCP servers: begun and finished from their browsers, renewed when their tokens end, forgotten.

The rule: what was begun ends once, within ten minutes, for the person and the browser session that began it. Tokens are
renewed by one at a time, in all processes, and the renewal outlives whoever waits for it: a refresh token that was used
and whose answer nobody kept is a lost login.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import msgspec

from aibridge.egress import Trusted, trusted
from aibridge.errors import RecordingFailed
from aibridge.mcp.oauth import exchanges
from aibridge.mcp.oauth.store import LoginStore
from aibridge.mcp.oauth.values import (
    ATTEMPT_LIVES,
    Attempt,
    AuthorizationServer,
    Login,
    LoginFailed,
    LoginGone,
    OAuthClient,
)
from aibridge.mcp.servers import McpServer
from aibridge.ports import Clock

_REGISTERED = 30  # days until a new registration; logins keep the client that they were made with
_KEPT = TypeVar("_KEPT")
_log = logging.getLogger(__name__)


class Logins:
    """Logins at some servers, kept in `store`. An async context manager: leaving it waits for what is being renewed.

    Args:
        servers: those with `auth = "oauth"`; the others are nobody's to log in at.
        redirect_uri: where browsers come back to.
        page: gives the address of our own page where a login at a server begins, by the server's name.
        random: gives as many random bytes as it is asked for.
        ca_bundle: a file with the authorities (PEM) that servers are verified by; by default the machine's.
    """

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        store: LoginStore,
        *,
        redirect_uri: str,
        page: Callable[[str], str],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
        ca_bundle: str | None = None,
    ) -> None:
        self.servers = {name: server for name, server in servers.items() if server.auth == "oauth"}
        self.page = page
        self._store = store
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._random = random
        self._ca_bundle = ca_bundle
        self._trusted: Trusted | None = None
        self._renewing: dict[tuple[str, str], asyncio.Task[Login]] = {}
        # Renewed while the disk took nothing: the token that the file still has, and what is in its place.
        self._unkept: dict[tuple[str, str], tuple[str, Login]] = {}

    def reconfigure(self, servers: Iterable[McpServer]) -> None:
        """From now on these are the servers. Logins at others stay, for when they are back."""
        self.servers = {server.name: server for server in servers if server.auth == "oauth"}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing:  # each has a deadline of its own
            await asyncio.wait(list(self._renewing.values()))

    def seen(self) -> bytes:
        """A mark that differs after each change of any login."""
        return self._store.seen()

    def login(self, actor_id: str, server: McpServer) -> Login | None:
        """The person's login, whose tokens may have ended; None: there is none for this address. Raises: RecordingFailed."""
        login = _decoded(self._store.read("login", actor_id, server.name), Login)
        if login is None or login.url != server.url:
            return None
        replaced, newer = self._unkept.get((actor_id, server.name), ("", login))
        return newer if replaced == login.access_token else login

    # -- making one --------------------------------------------------------------------------------------

    async def begun(self, server: McpServer, actor_id: str, session: str) -> str:
        """Begins a login; where the person's browser is to go.

        Raises:
            LoginFailed: the server's authorization server cannot be found, or used. RecordingFailed.
        """
        assert server.url is not None
        at, client = await self._introduced(server)
        state, verifier = self._word(), self._word()
        attempt = Attempt(
            actor_id=actor_id,
            session=_digest(session),
            server=server.name,
            url=server.url,
            verifier=verifier,
            client=client,
            at=at,
            redirect_uri=self._redirect_uri,
            expires_at=self._clock.now() + timedelta(seconds=ATTEMPT_LIVES),
        )
        content = msgspec.json.encode(attempt)
        await asyncio.to_thread(self._store.write, "attempt", _digest(state), "", content, attempt.expires_at)
        asked = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": self._redirect_uri,
            "state": state,
            "code_challenge": _unpadded(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "resource": at.resource,
            **({} if at.scope is None else {"scope": at.scope}),
        }
        separator = "&" if "?" in at.authorization_endpoint else "?"
        return f"{at.authorization_endpoint}{separator}{urlencode(asked)}"

    async def finished(
        self, actor_id: str, session: str, *, state: str, code: str | None, issuer: str | None
    ) -> McpServer:
        """Ends what was begun with `state`; whatever comes of it, it is over. `code` is None where there was an error.

        Raises:
            LoginFailed, RecordingFailed
        """
        taken = await asyncio.to_thread(self._store.take, "attempt", _digest(state), "")
        attempt = _decoded(taken, Attempt)
        if attempt is None or attempt.expires_at <= self._clock.now():
            raise LoginFailed("this login was ended already, or was begun more than ten minutes ago")
        if attempt.actor_id != actor_id or not hmac.compare_digest(attempt.session, _digest(session)):
            raise LoginFailed("this login was begun by somebody else, or in another browser")
        server = self.servers.get(attempt.server)
        if server is None or server.url != attempt.url:
            raise LoginFailed("the server that this login was for is not there any more")
        try:
            login = await self._answered(server, attempt, code, issuer)
        except LoginFailed as error:
            error.server = server.name
            raise
        async with self._store.alone(actor_id, server.name):  # nobody who renews the old one may put it back
            await self._keep(actor_id, server, login)
        _log.info("somebody logged in at an MCP server", extra={"server": server.name, "initiator_id": actor_id})
        return server

    async def _answered(self, server: McpServer, attempt: Attempt, code: str | None, issuer: str | None) -> Login:
        if (issuer is None and attempt.at.says_iss) or (issuer is not None and issuer != attempt.at.issuer):
            raise LoginFailed("the answer comes from another authorization server (RFC 9207)")
        if not code:
            raise LoginFailed(f"the authorization server of {server.name} did not let you in")
        return await exchanges.login_for(server, attempt, code, self._clock.now(), await self._trust())

    async def _introduced(self, server: McpServer) -> tuple[AuthorizationServer, OAuthClient]:
        kept = await asyncio.to_thread(self._store.read, "client", self._redirect_uri, server.name)
        known = _decoded(kept, OAuthClient)
        at, client = await exchanges.introduced(server, self._redirect_uri, known, await self._trust())
        if server.client_id is None and client != known:
            # Not for ever: authorization servers forget clients, and tell people's browsers only.
            latest = self._clock.now() + timedelta(days=_REGISTERED)
            end = latest if client.ends_at is None else min(latest, client.ends_at)
            content = msgspec.json.encode(client)
            await asyncio.to_thread(self._store.write, "client", self._redirect_uri, server.name, content, end)
        return at, client

    # -- having one --------------------------------------------------------------------------------------

    async def renewed(self, actor_id: str, server: McpServer, stale: Login) -> Login:
        """A login with other tokens than `stale`. However many ask, the authorization server is asked once.

        Raises:
            LoginGone: there is none any more; it was forgotten. LoginFailed: there is none now. RecordingFailed.
        """
        key = (actor_id, server.name)
        renewing = self._renewing.get(key)
        if renewing is None:
            renewing = asyncio.get_running_loop().create_task(self._renew(actor_id, server, stale))
            self._renewing[key] = renewing
            renewing.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(renewing)

    def _over(self, key: tuple[str, str], done: asyncio.Task[Login]) -> None:
        self._renewing.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waits gets it; perhaps nobody does any more

    async def _renew(self, actor_id: str, server: McpServer, stale: Login) -> Login:
        async with self._store.alone(actor_id, server.name):
            login = await asyncio.to_thread(self.login, actor_id, server)
            if login is None:
                raise LoginGone("it was ended")
            if login.access_token != stale.access_token:  # it was done meanwhile, perhaps by another process
                await self._keep_again(actor_id, server)
                return login
            kept, _ = self._unkept.get((actor_id, server.name), (login.access_token, login))
            ours = exchanges.configured(server, login.at)
            try:
                current = login if ours is None else dataclasses.replace(login, client=ours)
                login = await exchanges.renewed(server, current, self._clock.now(), await self._trust())
            except LoginGone:
                await asyncio.to_thread(self._store.take, "login", actor_id, server.name)
                told = {"server": server.name, "initiator_id": actor_id}
                _log.warning("a login at an MCP server has ended and was forgotten", extra=told)
                raise
            self._unkept[actor_id, server.name] = (kept, login)
            await self._keep_again(actor_id, server)
            return login

    async def _keep_again(self, actor_id: str, server: McpServer) -> None:
        """Keeps what was renewed, if it is not kept yet. The old refresh token may be good for nothing any more."""
        unkept = self._unkept.get((actor_id, server.name))
        if unkept is None:
            return
        try:
            # A login that was made or ended since, by whichever process, is the newer word.
            if await asyncio.to_thread(self.login, actor_id, server) is unkept[1]:
                await self._keep(actor_id, server, unkept[1])
        except RecordingFailed:
            told = {"server": server.name, "initiator_id": actor_id}
            _log.warning(
                "a renewed login at an MCP server could not be kept; it is used as long as possible", extra=told
            )
        else:
            del self._unkept[actor_id, server.name]

    async def forgotten(self, actor_id: str, server: McpServer) -> tuple[bool, bool]:
        """Whether there was a login, which is gone now, and whether the authorization server took its tokens back.

        Raises: RecordingFailed.
        """
        async with self._store.alone(actor_id, server.name):
            login = _decoded(await asyncio.to_thread(self._store.take, "login", actor_id, server.name), Login)
        if login is None:
            return False, False
        try:
            return True, await exchanges.revoked(server, login, await self._trust())
        except LoginFailed:
            return True, False

    async def _keep(self, actor_id: str, server: McpServer, login: Login) -> None:
        await asyncio.to_thread(self._store.write, "login", actor_id, server.name, msgspec.json.encode(login))

    async def _trust(self) -> Trusted:
        """Made with the first login, and once."""
        if self._trusted is None:
            self._trusted = await asyncio.to_thread(trusted, self._ca_bundle)
        return self._trusted

    def _word(self) -> str:
        """256 bits, as RFC 7636 section 4.1 wants a verifier to be written."""
        return _unpadded(self._random(32))


def _decoded(content: bytes | None, kind: type[_KEPT]) -> _KEPT | None:
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingFailed("what is kept of a login cannot be read") from error


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
