"""The start of a server: read everything, check everything, open sockets, and serve, in one process or several.

Nothing is written to a disk before the configuration and the database are found good.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

from aibridge.clock import SystemClock, new_id
from aibridge.credentials import Secret
from aibridge.model_names import ModelRules
from aibridge.providers import Provider
from aibridge.server import banner, worker
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.config import At, Configuration, Wrong, load
from aibridge.server.configured_models import configured_models
from aibridge.server.configured_oidc import configured_oidc
from aibridge.server.configured_providers import configured_providers
from aibridge.server.configured_tools import configured_rules, configured_servers
from aibridge.server.first_keys import first_keys
from aibridge.server.http.sockets import CannotListen, bind, raise_descriptor_limit
from aibridge.server.known_secrets import KnownSecrets
from aibridge.server.logs import log_to_stderr
from aibridge.server.process import Plan, serve_process
from aibridge.server.reloading import Reloading, ReloadStatus, Rereading, Standing
from aibridge.server.server_secret import configured_secret, server_secret
from aibridge.server.workers import Inherited, Supervisor
from aibridge.tool_settings import ToolSettings

if TYPE_CHECKING:
    from aibridge.mcp import McpServer

_log = logging.getLogger(__name__)


def start(file: Path | None, flags: Mapping[At, object], *, descriptor: int | None = None) -> int:
    """Serves until told to stop; the exit status. Raises: what `cli.failures` has words for."""
    configuration = load(file, os.environ, flags)
    checked = _checked(configuration)
    raise_descriptor_limit()
    server = configuration.settings.server
    sockets = bind(server.host, server.port) if descriptor is None else [_given(descriptor)]
    metrics = configuration.settings.metrics
    scraped = [] if metrics.port is None else bind(metrics.host, metrics.port)
    _check_loops(checked, [*sockets, *scraped])
    plan = _planned(checked)
    keys = first_keys(plan, SystemClock(), new_id, to_paste=sys.stdout.isatty())
    for warning in (*configuration.warnings, *_exposed(server.host, metrics.host if scraped else None)):
        _log.warning(warning)
    _tell_of_proxies(plan)
    say = partial(banner.say, plan, keys, sockets[0], scraped)
    bound = [*sockets, *scraped]
    rereading = Rereading(partial(load, file, os.environ, flags), partial(replanned, bound=bound))
    if server.workers == 1:
        return uvloop.run(serve_process(plan, sockets, say, rereading=rereading, scraped=scraped))
    say()  # the sockets listen: who connects now is answered as soon as a worker serves
    command = partial(worker.command, configuration.file, flags)
    # Not uvloop: its subprocesses know no process groups, and here is nothing to be quick about.
    asyncio.run(_supervised(command, server.workers, sockets, scraped, plan, rereading))
    return 0


async def _supervised(
    command: Callable[[Path | None, Inherited], list[str]],
    workers: int,
    sockets: list[socket.socket],
    scraped: list[socket.socket],
    plan: Plan,
    rereading: Rereading,
) -> None:
    """Several workers, and where `scraped` has sockets, their metrics summed.

    A worker that dies while the files are not to be used cannot be replaced; that is no reason to end the others.
    """
    standing = Standing(ReloadStatus(SystemClock().now()))
    supervised = partial(
        Supervisor, workers=workers, sockets=sockets, is_patient=lambda: standing.status.fault is not None
    )
    if not scraped:
        await _following(supervised(partial(command, None)), plan, rereading, standing)
        return
    from aibridge.server import metrics_files  # noqa: PLC0415  only when somebody asks for metrics
    from aibridge.server.metrics_page import serving_metrics  # noqa: PLC0415  as above

    with metrics_files.metrics_folder() as folder:
        ended = partial(metrics_files.worker_ended, folder)
        supervisor = supervised(partial(command, folder), ended=ended)
        async with serving_metrics(scraped, partial(metrics_files.summed, folder)):
            await _following(supervisor, plan, rereading, standing)


async def _following(supervisor: Supervisor, plan: Plan, rereading: Rereading, standing: Standing) -> None:
    """The supervisor looks at the files and says in the log what it finds; each worker then reads them itself."""

    async def check(configuration: Configuration) -> None:
        found = await asyncio.to_thread(rereading.planned, configuration, plan.secret)
        secrets.add(found.secrets)
        server = found.configuration.settings.server
        log_to_stderr(server.log, secrets, server.log_level)

    secrets, clock = KnownSecrets(plan.secrets), SystemClock()
    reloading = Reloading(
        plan.configuration, rereading, check, standing, clock, on_closed=supervisor.end, told=supervisor.reload
    )
    task = asyncio.create_task(reloading.run())
    try:
        await supervisor.run()
    finally:
        task.cancel()
        await asyncio.wait([task])


def planned(configuration: Configuration) -> Plan:
    """What the configuration names, read and checked, and its database too; from here on log lines are written.

    Raises: Wrong, DatabaseUnusable.
    """
    return _planned(_checked(configuration))


def _planned(checked: _Checked) -> Plan:
    plan = checked.plan(server_secret(checked.configuration))
    server = checked.configuration.settings.server
    log_to_stderr(server.log, plan.secrets, server.log_level)
    return plan


def replanned(configuration: Configuration, secret: Secret, *, bound: Sequence[socket.socket] = ()) -> Plan:
    """The same while a server with this secret runs, on sockets that it must not be its own provider at. Raises: Wrong."""
    named = configured_secret(configuration)
    if named is not None and named != secret:
        raise Wrong(f"{configuration.place(('server', 'secret'))}: was changed, which only a restart can follow")
    checked = _checked(configuration)
    _check_loops(checked, bound)
    return checked.plan(secret)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A plan that lacks the server's secret, which may have to be made."""

    configuration: Configuration
    providers: tuple[Provider, ...]
    mcp_servers: tuple[McpServer, ...]
    tools: ToolSettings
    models: ModelRules | None
    oidc: OidcRules | None

    def plan(self, secret: Secret) -> Plan:
        return Plan(self.configuration, self.providers, secret, self.mcp_servers, self.tools, self.models, self.oidc)


def _checked(configuration: Configuration) -> _Checked:
    """Raises: Wrong."""
    providers = tuple(configured_providers(configuration))
    servers, tools = configured_servers(configuration), configured_rules(configuration)
    oidc = configured_oidc(configuration)
    return _Checked(configuration, providers, servers, tools, configured_models(configuration), oidc)


def _tell_of_proxies(plan: Plan) -> None:
    """The environment may name one that nobody thinks of."""
    for provider in plan.providers:
        if provider.link is not None and provider.link.proxy is not None:
            proxy = provider.link.proxy.address
            _log.info("the provider is asked through a proxy", extra={"provider": provider.name, "proxy": proxy})


def _exposed(host: str, metrics_host: str | None) -> Iterator[str]:
    if not _is_local(host):
        yield f"server.host {host}: keys and prompts pass unencrypted beyond this machine unless TLS is put in front"
    if metrics_host is not None and not _is_local(metrics_host):
        yield f"metrics.host {metrics_host}: whoever reaches the port reads the metrics; nobody signs in for them"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_loops(checked: _Checked, sockets: Sequence[socket.socket]) -> None:
    """A provider must not be this server: an exported ANTHROPIC_BASE_URL may still say so. Raises: Wrong."""
    addresses = {name[:2] for name in (listening.getsockname() for listening in sockets) if isinstance(name, tuple)}
    ports = {port for _, port in addresses}
    hosts = {host for host, _ in addresses} | {"localhost", "127.0.0.1", "::1"}
    for index, provider in enumerate(checked.providers):
        url = urlsplit(provider.base_url)
        if provider.enabled and url.hostname in hosts and url.port in ports:
            where = checked.configuration.place(("providers", index, "base_url"))
            raise Wrong(f"{where}: is the address of this server itself, not a provider's")


def _given(descriptor: int) -> socket.socket:
    """A listening socket that whoever started us has opened. Raises: CannotListen."""
    try:
        given = socket.socket(fileno=descriptor)
    except OSError as error:
        raise CannotListen(f"descriptor {descriptor} is no socket ({error.strerror})") from None
    if given.type != socket.SOCK_STREAM:
        raise CannotListen(f"descriptor {descriptor} is no socket for connections")
    return given
