"""The start of a server: read everything, check everything, then open sockets and serve."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import uvloop

from aibridge.clock import SystemClock, new_id
from aibridge.server import banner
from aibridge.server.config import At, load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.first_keys import first_keys
from aibridge.server.http.sockets import bind, raise_descriptor_limit
from aibridge.server.logs import log_to_stderr
from aibridge.server.process import Plan, serve_process
from aibridge.server.server_secret import server_secret

_log = logging.getLogger(__name__)


def start(file: Path | None, flags: Mapping[At, object], *, descriptor: int | None = None) -> int:
    """Serves until told to stop; the exit status. Raises: what `cli.failures` has words for."""
    configuration = load(file, os.environ, flags)
    providers = tuple(configured_providers(configuration))
    secret = server_secret(configuration)
    plan = Plan(configuration, providers, secret)
    server = configuration.settings.server
    log_to_stderr(server.log, [secret.reveal(), *(p.key.reveal() for p in providers if p.key is not None)])
    for warning in configuration.warnings:
        _log.warning(warning)
    raise_descriptor_limit()
    keys = first_keys(plan, SystemClock(), new_id, to_paste=sys.stdout.isatty())
    sockets = bind(server.host, server.port) if descriptor is None else [socket.socket(fileno=descriptor)]
    said = partial(banner.say, plan, keys, sockets[0])
    return uvloop.run(serve_process(plan, sockets, said))
