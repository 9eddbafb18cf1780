"""One configured MCP server as a value, and which of its tools are offered. What is wrong with it is said when it is made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from aibridge.actor import Actor
from aibridge.credentials import Secret
from aibridge.egress import check_url

Transport = Literal["auto", "streamable_http", "sse", "stdio"]
Auth = Literal["none", "token", "caller", "oauth"]
Pin = Literal["report", "strict"]
Subject = Literal["access_token", "id_token", "jwt"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_CLIENTS = 'auth = "oauth", or for exchange'
_OURS = frozenset({"host", "content-length", "content-type", "accept", "accept-encoding", "connection", "cookie"})


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """A server whose tools are offered to models.

    Args:
        name: the middle of the tools' ids; lower-case letters, digits and single hyphens.
        url: where it is (all transports but stdio).
        command: the program with its arguments (stdio).
        env: variables for the program, beside a few harmless ones of ours (stdio).
        transport: `auto` speaks streamable HTTP, and the older SSE to servers that only know that.
        allow_tools, deny_tools: patterns that are searched for in the server's own names; deny beats allow.
        auth: how it knows who asks: `none`, `token` (one for all), `caller` or `oauth`.
        token: what `Authorization: Bearer` carries with `token`.
        headers: sent with each request.
        client_id, client_secret: the client that its authorization server knows (`oauth`); without, one is registered.
            With `exchange` the one that exchanges tokens.
        scopes: what logins (`oauth`) and exchanges ask for; empty: what the server, or the identity provider, says.
        audience: what a token for it must name (`caller`); by default its own URI.
        exchange: whether the caller's token is exchanged for one for this server (`caller`, RFC 8693).
        token_endpoint: where it is exchanged; by default at the caller's identity provider.
        subject_token_type: what is exchanged, in the words of RFC 8693 section 3.
        groups: whose members are offered its tools; empty: everybody.
        pin: what happens to a tool whose definition has changed: it is `report`ed, or withdrawn too (`strict`).
        announce_login: whether models of people who are not let in are told so (`oauth`, `caller`).
        allow_private: whether it may be on a private address or on this machine, also without TLS.

    Raises:
        ValueError: a field cannot be; the text begins with the field's name.
    """

    name: str
    url: str | None = field(default=None, repr=False)  # people put keys into both
    command: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, Secret] = field(default_factory=dict)
    transport: Transport = "auto"
    allow_tools: str | None = None
    deny_tools: str | None = None
    auth: Auth = "none"
    token: Secret | None = None
    headers: Mapping[str, Secret] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    pin: Pin = "report"
    client_id: str | None = None
    client_secret: Secret | None = None
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    exchange: bool = False
    token_endpoint: str | None = field(default=None, repr=False)
    subject_token_type: Subject = "access_token"  # noqa: S105  a kind of token, no token
    announce_login: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("name: must be lower-case letters, digits and single hyphens between them")
        for kind, value, among in (
            ("transport", self.transport, Transport),
            ("auth", self.auth, Auth),
            ("pin", self.pin, Pin),
            ("subject_token_type", self.subject_token_type, Subject),
        ):
            if value not in get_args(among):
                raise ValueError(f"{kind}: must be one of {', '.join(get_args(among))}")
        if (self.url is None) == (not self.command):
            raise ValueError("url: either a url or a command must be given, and not both")
        if self.url is None:
            self._check_local()
        else:
            self._check_remote(self.url)
        self._check_personal()
        for name in ("allow_tools", "deny_tools"):
            try:
                re.compile(getattr(self, name) or "")
            except re.error as error:
                raise ValueError(f"{name}: is no pattern ({error})") from None

    def _check_local(self) -> None:
        if self.transport not in ("auto", "stdio"):
            raise ValueError("transport: a command is spoken to over stdio")
        if self.auth != "none" or self.token is not None or self.headers:
            raise ValueError("auth: a command gets its credentials by env")

    def _check_remote(self, url: str) -> None:
        if self.transport == "stdio":
            raise ValueError("transport: stdio needs a command")
        if self.env:
            raise ValueError("env: is for a command")
        try:
            check_url(url, allow_private=self.allow_private)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if self.auth == "token" and self.token is None and not self.headers:
            raise ValueError("token: is required (or headers)")
        if self.auth != "token" and self.token is not None:
            raise ValueError('token: is for auth = "token"')
        for header in self.headers:
            if not _HEADER.fullmatch(header) or header.lower() in _OURS or header.lower().startswith("mcp-"):
                raise ValueError(f"headers: {header[:40]} cannot be set")
            if header.lower() == "authorization" and (self.token is not None or self.auth in ("oauth", "caller")):
                raise ValueError("headers: the token is sent as Authorization")

    def _check_personal(self) -> None:
        caller, exchanged = self.auth == "caller", self.auth == "caller" and self.exchange
        for name, given, fits, what in (
            ("audience", self.audience is not None, caller, 'auth = "caller"'),
            ("exchange", self.exchange, caller, 'auth = "caller"'),
            ("token_endpoint", self.token_endpoint is not None, exchanged, "exchange"),
            ("subject_token_type", self.subject_token_type in ("id_token", "jwt"), exchanged, "exchange"),
            ("client_id", self.client_id is not None, self.auth == "oauth" or exchanged, _OF_CLIENTS),
            ("client_secret", self.client_secret is not None, self.auth == "oauth" or exchanged, _OF_CLIENTS),
            ("scopes", bool(self.scopes), self.auth == "oauth" or exchanged, _OF_CLIENTS),
            ("announce_login", self.announce_login, self.auth == "oauth" or caller, 'auth = "oauth" or "caller"'),
        ):
            if given and not fits:
                raise ValueError(f"{name}: is for {what}")
        if self.audience is not None and (not self.audience.strip() or not self.audience.isprintable()):
            raise ValueError("audience: must be what the aud of a token has")
        if exchanged and self.client_id is None:
            raise ValueError("exchange: needs client_id, as whom tokens are exchanged")
        if self.token_endpoint is not None:
            try:
                check_url(self.token_endpoint, allow_private=self.allow_private)
            except ValueError as error:
                raise ValueError(f"token_endpoint: {error}") from None
        if self.client_secret is not None and self.client_id is None:
            raise ValueError("client_secret: needs a client_id")
        if any(not scope or not scope.isprintable() or set(scope) & set(' "\\') for scope in self.scopes):
            raise ValueError("scopes: must be words without spaces, quotes and backslashes")  # RFC 6749 section 3.3

    @property
    def resource(self) -> str:
        """The URI that tokens for it name where nothing else is configured: without query and lone slash (RFC 8707)."""
        shown = self.shown_url or ""
        return shown.removesuffix("/") if urlsplit(shown).path == "/" else shown

    @property
    def shown_url(self) -> str | None:
        """Its URL without what may be secret in it; None: a process of this machine."""
        if self.url is None:
            return None
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def secrets(self) -> Iterator[str]:
        """What must not be written anywhere."""
        for secret in (self.token, self.client_secret, *self.headers.values(), *self.env.values()):
            if secret is not None:
                yield secret.reveal()

    def is_offered_to(self, actor: Actor) -> bool:
        return not self.groups or not set(self.groups).isdisjoint(actor.groups)

    def why_not(self, tool: str) -> str | None:
        """Why the tool of that name is not offered; None: it is."""
        if self.deny_tools is not None and re.search(self.deny_tools, tool):
            return "denied by deny_tools"
        if self.allow_tools is not None and not re.search(self.allow_tools, tool):
            return "not allowed by allow_tools"
        return None
