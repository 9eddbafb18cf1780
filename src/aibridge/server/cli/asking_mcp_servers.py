"""Asks the configured MCP servers on behalf of a command, and says in a line what keeps one from answering."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TextIO

from aibridge.actor import Actor
from aibridge.clock import SystemClock
from aibridge.database.files import DatabaseFile
from aibridge.database.upgrade import bring_up_to_date
from aibridge.errors import RecordingFailed
from aibridge.mcp import McpServer, McpToolbox
from aibridge.mcp.oauth.logins import Logins
from aibridge.mcp.status import ServerStatus
from aibridge.ports import Identity
from aibridge.server.cli import opening
from aibridge.server.cli.asking_as_callers import authorization_by_file
from aibridge.server.config import Configuration, load
from aibridge.server.configured_logins import authorization_with, login_page, opened_logins, pages_address
from aibridge.server.configured_tools import ca_bundle_of, configured_servers
from aibridge.server.logs import log_to_stderr
from aibridge.server.persons import NotPossible
from aibridge.server.server_secret import server_secret
from aibridge.stores.pins import SqlitePins

_PATIENCE = 35.0  # seconds; more than the toolbox takes to give up an attempt


def statuses(config: Path | None, user: str | None, token_file: Path | None) -> list[ServerStatus]:
    """How all servers do. Raises: Wrong, DatabaseUnusable, NotPossible, PrivateFileUnusable."""
    configuration = load(config)
    servers = configured_servers(configuration)
    return asyncio.run(_asked(configuration, servers, _actor(config, servers, user), None, token_file))


def status_of(
    config: Path | None, name: str, user: str | None, token_file: Path | None, *, show_complaints: bool = False
) -> ServerStatus:
    """How one does, which must be up. Raises: Wrong, DatabaseUnusable, NotPossible, PrivateFileUnusable."""
    configuration = load(config)
    server = _named(configured_servers(configuration), name)
    actor = _actor(config, [server], user)
    if not server.is_offered_to(actor):
        raise NotPossible(f"the MCP server {name} is not for {user}: it is for {', '.join(server.groups)}")
    complaints = sys.stderr if show_complaints else None
    (status,) = asyncio.run(_asked(configuration, [server], actor, complaints, token_file))
    if server.auth == "caller" and status.state == "unused":
        raise NotPossible(f"the MCP server {name} was not asked: {status.last_error}")
    if status.login == "needed":
        whose = "of each user's own: say whose with --user" if user is None else f"of {user}: {status.last_error}"
        raise NotPossible(f"the MCP server {name} wants a login {whose}")
    if status.state != "up":
        raise NotPossible(f"the MCP server {name} is down: {status.last_error or 'it did not answer in time'}")
    return status


def accepted(config: Path | None, name: str, tool: str | None) -> list[str]:
    """The tools whose changed definition holds from now on. Raises: Wrong, DatabaseUnusable, NotPossible."""
    configuration = load(config)
    _named(configured_servers(configuration), name)
    try:
        return asyncio.run(_pins(configuration).accept(name, tool))
    except RecordingFailed as error:
        raise NotPossible(str(error)) from None


def where_to_log_in(config: Path | None, name: str, user: str | None) -> str:
    """The address of the page. Raises: Wrong, DatabaseUnusable, NotPossible."""
    configuration = load(config)
    server = _with_logins(configuration, name)
    actor = _actor(config, [server], user)
    if not server.is_offered_to(actor):
        raise NotPossible(f"the MCP server {name} is not for {user}: it is for {', '.join(server.groups)}")
    return login_page(pages_address(configuration), name)


def logged_out(config: Path | None, name: str, user: str) -> tuple[bool, bool]:
    """Whether there was a login, which is gone now, and whether its tokens were taken back at their authorization server.

    Raises: Wrong, DatabaseUnusable, NotPossible.
    """
    configuration = load(config)
    server = _with_logins(configuration, name)
    actor = _actor(config, [server], user)

    async def forget() -> tuple[bool, bool]:
        log_to_stderr("text", level="error")
        async with logins_of(configuration, [server]) as logins:
            assert logins is not None
            return await logins.forgotten(actor.id, server)

    try:
        return asyncio.run(forget())
    except RecordingFailed as error:
        raise NotPossible(str(error)) from None


def _with_logins(configuration: Configuration, name: str) -> McpServer:
    server = _named(configured_servers(configuration), name)
    if server.auth != "oauth":
        raise NotPossible(f"nobody logs in at the MCP server {name}: its auth is {server.auth}, not oauth")
    return server


async def _asked(
    configuration: Configuration,
    servers: list[McpServer] | tuple[McpServer, ...],
    actor: Actor,
    complaints: TextIO | None,
    token_file: Path | None,
) -> list[ServerStatus]:
    log_to_stderr("text", level="error")
    pins, clock, identity = _pins(configuration), SystemClock(), Identity(actor, [], b"")
    async with (
        logins_of(configuration, servers) as logins,
        authorization_by_file(configuration, token_file, actor, authorization_with(logins, clock)) as authorization,
        McpToolbox(
            servers,
            authorization=authorization,
            pins=pins,
            patience=_PATIENCE,
            complaints=complaints,
            ca_bundle=ca_bundle_of(configuration),
        ) as toolbox,
    ):
        await toolbox.tools(identity)
        own = {status.name: status for status in toolbox.status_for(actor)}
        return [own.get(status.name, status) for status in toolbox.status()]


def _pins(configuration: Configuration) -> SqlitePins:
    return SqlitePins(_file(configuration), SystemClock())


def _file(configuration: Configuration) -> DatabaseFile:
    file = DatabaseFile.at(configuration.database)
    bring_up_to_date(file)
    return file


def logins_of(configuration: Configuration, servers: Sequence[McpServer]) -> AbstractAsyncContextManager[Logins | None]:
    """The logins of the configured database. Raises: Wrong, DatabaseUnusable."""
    file, address = _file(configuration), pages_address(configuration)
    return opened_logins(
        servers, server_secret(configuration), file, SystemClock(), address, ca_bundle_of(configuration)
    )


def _named(servers: tuple[McpServer, ...], name: str) -> McpServer:
    for server in servers:
        if server.name == name:
            return server
    known = f"; the configuration has {', '.join(server.name for server in servers)}" if servers else ""
    raise NotPossible(f"there is no MCP server {name}{known}")


def _actor(config: Path | None, servers: list[McpServer] | tuple[McpServer, ...], user: str | None) -> Actor:
    if user is None:
        return Actor(id="command line", groups=tuple({group for server in servers for group in server.groups}))
    with opening.people(config) as people:
        found = people.user(user)
    if found is None:
        raise NotPossible(f"there is no user {user}")
    return Actor(id=found.id, username=found.username, email=found.email, groups=found.groups)
