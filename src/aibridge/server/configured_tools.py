"""MCP servers out of the configuration: their secrets are read here, once, at the start; and the toolbox made of them.

The SDK is imported only where there are servers to speak to.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aibridge.credentials import Secret
from aibridge.server.config import Configuration, Wrong
from aibridge.server.config.values import Unresolved, resolved
from aibridge.server.configured_logins import check_logins
from aibridge.tool_settings import ToolSettings

if TYPE_CHECKING:
    from aibridge.mcp import McpServer


def configured_servers(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> tuple[McpServer, ...]:
    """Raises: Wrong."""
    servers: dict[str, McpServer] = {}
    for index in range(len(configuration.settings.mcp_servers)):
        server = _server(configuration, index, environ)
        if server.name in servers:
            where = configuration.place(("mcp_servers", index, "name"))
            raise Wrong(f"{where}: {server.name!r} is the name of another server too; give each its own")
        servers[server.name] = server
    oidc = configuration.settings.auth.oidc
    if oidc is not None:
        check_audiences(configuration, tuple(servers.values()), oidc.audience, "auth.oidc.audience")
    if servers:
        _check_ca_bundle(configuration)
    check_logins(configuration)
    return tuple(servers.values())


def check_audiences(
    configuration: Configuration, servers: Sequence[McpServer], taken: Collection[str], called: str
) -> None:
    """A server that is shown what opens this gateway could come here in that person's name.

    `taken` are the gateway's own audiences, which are what is `called`. Raises: Wrong.
    """
    for index, server in enumerate(servers):
        if server.auth == "caller" and (server.audience or server.resource) in taken:
            where = configuration.place(("mcp_servers", index, "audience"))
            raise Wrong(f"{where}: must not be in {called}: the server could use what it is shown at this gateway")


def _server(configuration: Configuration, index: int, environ: Mapping[str, str]) -> McpServer:
    from aibridge.mcp import McpServer  # noqa: PLC0415  see above

    table = configuration.settings.mcp_servers[index]

    def secret(key: str, reference: str) -> Secret:
        try:
            return resolved(reference, environ, configuration.base)
        except Unresolved as error:
            raise Wrong(f"{configuration.place(('mcp_servers', index, key))}: {error}") from None

    for at, source in configuration.sources.items():
        if at[:2] == ("mcp_servers", index) and at[2] in ("command", "env") and source != str(configuration.file):
            # Whoever sets a variable of this process must not thereby choose what it runs.
            raise Wrong(f"{configuration.place(at)}: is taken from the file only")
    try:
        return McpServer(
            name=table.name,
            url=table.url,
            command=tuple(table.command),
            env={name: secret("env", value) for name, value in table.env.items()},
            transport=table.transport,
            allow_tools=table.allow_tools,
            deny_tools=table.deny_tools,
            auth=table.auth,
            token=None if table.token is None else secret("token", table.token),
            headers={name: secret("headers", value) for name, value in table.headers.items()},
            groups=tuple(table.groups),
            pin=table.pin,
            client_id=table.client_id,
            client_secret=None if table.client_secret is None else secret("client_secret", table.client_secret),
            scopes=tuple(table.scopes),
            audience=table.audience,
            exchange=table.exchange,
            token_endpoint=table.token_endpoint,
            subject_token_type=table.subject_token_type,
            announce_login=table.announce_login,
            allow_private=table.allow_private,
        )
    except ValueError as error:
        field, _, why = str(error).partition(": ")
        raise Wrong(f"{configuration.place(('mcp_servers', index, field))}: {why}") from None


def configured_rules(configuration: Configuration) -> ToolSettings:
    """Raises: Wrong."""
    table = configuration.settings.tools
    try:
        return ToolSettings(
            max_turns=table.max_turns,
            max_time=table.max_time,
            call_timeout=table.call_timeout,
            max_result=table.max_result,
            max_repeats=table.max_repeats,
            max_offered=table.max_offered,
            keepalive=table.keepalive,
            client_mcp=table.client_mcp,
            deny_client_tools=tuple(table.deny_client_tools),
        )
    except ValueError as error:
        setting, _, why = str(error).partition(": ")
        raise Wrong(f"{configuration.place(('tools', setting))}: {why}") from None


def ca_bundle_of(configuration: Configuration) -> str | None:
    """The file with the authorities that servers are verified by: those of the providers. None: the machine's."""
    said = configuration.settings.upstream.ca_bundle
    return None if said is None else str(configuration.base / Path(said).expanduser())


def _check_ca_bundle(configuration: Configuration) -> None:
    from aibridge.egress import trusted  # noqa: PLC0415  see above

    ca_bundle = ca_bundle_of(configuration)
    if ca_bundle is not None:
        try:
            trusted(ca_bundle)
        except OSError as error:
            why = error.strerror or "not certificates, as PEM"
            raise Wrong(f"{configuration.place(('upstream', 'ca_bundle'))}: cannot be read ({why})") from None


def secrets_of(servers: Sequence[McpServer]) -> Iterator[str]:
    """What must not be written anywhere."""
    for server in servers:
        yield from server.secrets()
