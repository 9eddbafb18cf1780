"""The pages where people log in at MCP servers: who are you, is this what you want, and the way back.

The rule: a login is begun by a form that this server made for this browser, sent by the person whose key or token signed in; the
link that leads here does nothing by itself. The pages answer to their own address and to loopback, not to other names.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aibridge.actor import Actor
from aibridge.database.files import DatabaseUnusable
from aibridge.errors import RecordingFailed, Refused
from aibridge.mcp import McpServer
from aibridge.mcp.oauth.values import LoginFailed
from aibridge.ports import Clock
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.configured_logins import CALLBACK, MOUNT, PagesOfLogins, login_page
from aibridge.server.persons import SignedIn, User
from aibridge.server.web import html
from aibridge.server.web.sessions import Session, Sessions

_LARGEST_FORM = 16 * 1024  # bytes
_DONE = "done"  # in the address of a login's page: there is one now
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_log = logging.getLogger(__name__)


def login_routes(pages: PagesOfLogins, authenticator: GatewayAuthenticator, clock: Clock) -> tuple[Route, ...]:
    shown = LoginPages(pages, authenticator, clock)
    return (
        Route(f"{MOUNT}/mcp/{{name}}/login", shown.login, methods=["GET", "POST"]),
        Route(CALLBACK, shown.callback, methods=["GET"]),
    )


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser at one of the pages, and who sits there, if anybody signed in."""

    session: Session
    known: SignedIn | None
    new: bool = False


class LoginPages:
    """See the module."""

    def __init__(self, pages: PagesOfLogins, authenticator: GatewayAuthenticator, clock: Clock) -> None:
        self._logins = pages.logins
        self._authenticator = authenticator
        self._address = pages.address
        self._host = urlsplit(pages.address).hostname or ""
        self._sessions = Sessions(pages.session_key, clock, secure=pages.address.startswith("https:"))

    async def login(self, request: Request) -> Response:
        name = request.path_params["name"]
        elsewhere = self._elsewhere(request, login_page("", name))
        if elsewhere is not None:
            return elsewhere
        try:
            visit = self._visit(request)
            if request.method == "POST":
                return await self._posted(request, visit, name)
            if visit.known is None:
                return self._asking_for_key(visit, name)
            return self._confirming(visit, name, visit.known.user, is_done=_DONE in request.query_params)
        except (DatabaseUnusable, RecordingFailed):
            return _page(503, html.message("Not now", "The database cannot be read at the moment. Try again."))

    async def callback(self, request: Request) -> Response:
        elsewhere = self._elsewhere(request, None)
        if elsewhere is not None:
            return elsewhere
        given = request.query_params
        try:
            visit = self._visit(request)
            if visit.known is None:
                words = "You are not signed in any more. Begin again with the link that you came with."
                return _page(403, html.message("Not logged in", words))
            if any(len(given.getlist(name)) > 1 for name in ("state", "code", "iss", "error")):
                raise LoginFailed("the answer says something twice")
            server = await self._logins.finished(
                visit.known.user.id,
                visit.session.id,
                state=given.get("state", ""),
                code=None if "error" in given else given.get("code"),
                issuer=given.get("iss"),
            )
        except LoginFailed as error:
            again = None if error.server is None else (self._link(error.server), "Try again")
            return _page(400, html.message("Not logged in", f"This did not work: {error}.", again))
        except (DatabaseUnusable, RecordingFailed):
            return _page(503, html.message("Not logged in", "The login could not be kept. Begin again."))
        # Not here: a code is good once, and who reloads the page, or comes back to it, would read that it did not work.
        return RedirectResponse(f"{self._link(server.name)}?{_DONE}", 303, html.HEADERS)

    # -- the forms -----------------------------------------------------------------------------------------

    async def _posted(self, request: Request, visit: Visit, name: str) -> Response:
        form = await _form(request)
        if form is None:
            return _page(400, html.message("Not understood", "This is no form of this server."))
        genuine = hmac.compare_digest(
            form.get("form_token", "").encode(), self._sessions.form_token(visit.session, name).encode()
        )
        if visit.new or not genuine or not self._is_own(request):
            # As from a second tab, after somebody signed in in the first.
            words = "The form is too old, or is none of this server's."
            return _page(403, html.message("Not accepted", words, (self._link(name), "Begin again")))
        action = form.get("action")
        if action == "sign-in":
            return await self._signed_in(request, visit, name, form.get("key", ""))
        if action == "sign-out":
            return self._back(name, self._sessions.made())
        if action == "continue" and visit.known is not None:
            return await self._sent_on(visit, name, visit.known.user)
        return self._asking_for_key(visit, name)

    async def _signed_in(self, request: Request, visit: Visit, name: str, key: str) -> Response:
        given = [(b"authorization", b"Bearer " + key.strip().encode("utf-8", "replace"))]
        try:
            known, _ = await self._authenticator.sign_in({"headers": given, "client": request.scope.get("client")})
        except Refused as refused:
            status = refused.problem.status
            return self._asking_for_key(visit, name, wrong=f"{refused.problem.message}.", status=status)
        if "use" not in known.scopes:
            wrong = "this key may not send requests to models: it lacks the scope use."
            return self._asking_for_key(visit, name, wrong=wrong, status=403)
        return self._back(name, self._sessions.made(known.credential_id))

    async def _sent_on(self, visit: Visit, name: str, user: User) -> Response:
        server = self._server(name, user)
        if server is None:
            return _no_such_server()
        try:
            url = await self._logins.begun(server, user.id, visit.session.id)
        except LoginFailed as error:
            told = {"server": server.name, "why": str(error)}
            _log.warning("a login at an MCP server could not be begun", extra=told)
            words = f"This cannot be done now: {error}."
            return _page(502, html.message(f"Log in at {name}", words, (self._link(name), "Back")))
        return _page(200, html.onward(name, url))

    # -- what is shown -------------------------------------------------------------------------------------

    def _asking_for_key(self, visit: Visit, name: str, *, wrong: str | None = None, status: int = 200) -> Response:
        # The name is shown as it came, whether there is such a server or not: only who signs in may know.
        page = html.sign_in(name, self._sessions.form_token(visit.session, name), self._authenticator.wanted, wrong)
        return _page(status, page, self._sessions.cookie(visit.session))

    def _confirming(self, visit: Visit, name: str, user: User, *, is_done: bool) -> Response:
        """Whether this is what the person wants; or, `is_done`, that it is so, as long as it is."""
        server = self._server(name, user)
        if server is None:
            return _no_such_server()
        logged_in = self._logins.login(user.id, server) is not None
        if is_done and logged_in:
            words = f"You have logged in at {name} as {user.username}. You can close this page; the tools are there with your next request."
            return _page(200, html.message("Logged in", words))
        return _page(
            200,
            html.confirm(
                server=name,
                url=server.shown_url or "",
                user=user.username,
                logged_in=logged_in,
                form_token=self._sessions.form_token(visit.session, name),
            ),
        )

    def _back(self, name: str, session: Session) -> Response:
        """To the page of the same address, with a new session; by GET, so that reloading sends no form again."""
        headers = {**html.HEADERS, "set-cookie": self._sessions.cookie(session)}
        return RedirectResponse(self._link(name), 303, headers)

    def _link(self, name: str) -> str:
        return login_page(self._address, quote(name, safe=""))

    def _server(self, name: str, user: User) -> McpServer | None:
        server = self._logins.servers.get(name)
        actor = Actor(id=user.id, username=user.username, email=user.email, groups=user.groups)
        return server if server is not None and server.is_offered_to(actor) else None

    # -- who asks ------------------------------------------------------------------------------------------

    def _visit(self, request: Request) -> Visit:
        """Raises: DatabaseUnusable."""
        cookies = "; ".join(request.headers.getlist("cookie"))
        session = self._sessions.opened(cookies)
        if session is None:
            return Visit(self._sessions.made(), None, new=True)
        if session.credential_id is None:
            return Visit(session, None)
        known = self._authenticator.standing(session.credential_id)
        if not isinstance(known, SignedIn) or "use" not in known.scopes:
            return Visit(self._sessions.made(), None, new=True)
        return Visit(session, known)

    def _elsewhere(self, request: Request, path: str | None) -> Response | None:
        """The answer to who names us otherwise: other names are led nowhere (they may be anybody's: DNS rebinding)."""
        try:
            named = urlsplit(f"//{request.headers.get('host', '')}")
            host, port = named.hostname or "", named.port
        except ValueError:
            host, port = "", None
        own = urlsplit(self._address)
        if host == self._host and (port or _usual(own.scheme)) == (own.port or _usual(own.scheme)):
            return None
        if own.scheme == "https" and host in _LOOPBACK:
            return None  # a proxy on this machine has put its own name of us there
        if host not in _LOOPBACK and host != self._host:
            return _page(421, html.message("Not here", "This server has no pages under the name that you asked for."))
        if path is None or request.method != "GET":  # another name has other cookies
            return _page(421, html.message("Not here", f"The pages of this server are at {self._address}."))
        return RedirectResponse(f"{self._address}{path}", 303, html.HEADERS)

    def _is_own(self, request: Request) -> bool:
        """Whether a form was sent from a page of ours, as far as the browser says."""
        origin = request.headers.get("origin")
        if origin is not None and origin != self._address:
            return False
        return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _usual(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _page(status: int, text: str, cookie: str | None = None) -> Response:
    headers = html.HEADERS if cookie is None else {**html.HEADERS, "set-cookie": cookie}
    return Response(text, status, headers, "text/html; charset=utf-8")


def _no_such_server() -> Response:
    return _page(404, html.message("Not found", "There is no MCP server of this name where you could log in."))


async def _form(request: Request) -> Mapping[str, str] | None:
    """The fields of a form, each there once; None: it is none."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            return None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
