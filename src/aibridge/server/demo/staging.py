"""The demo's own world in one temporary folder: a configuration, a database, people with random keys, and nothing else.

It is a configuration like any other, so that `aibridge` commands work on it while the demo runs.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from aibridge.ports import Clock, Ids
from aibridge.server.config import load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.configured_tools import configured_servers
from aibridge.server.demo import helpdesk
from aibridge.server.private_files import write
from aibridge.server.process import Plan
from aibridge.server.server_secret import derived_key, server_secret
from aibridge.server.store import open_people

HOST = "127.0.0.1"
FILE = "aibridge.toml"
_TEMPLATE = """\
# Made by `aibridge demo`; gone when it ends.
[server]
secret = "file:server.secret"
host = "{host}"
port = {port}
drain_timeout = "3s"
[database]
url = "sqlite:///aibridge.db"
[[providers]]
type = "anthropic"
base_url = "{provider}"
keys = ["file:provider.key"]
[[providers]]
type = "openai"
base_url = "{provider}/v1"
keys = ["file:provider.key"]
[[mcp_servers]]
name = "{helpdesk}"
url = "{helpdesk_url}"
allow_private = true
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What was set up. The keys are this demo's only, and die with it."""

    plan: Plan
    alice: str = field(repr=False)
    bob: str = field(repr=False)
    yours: str = field(repr=False)

    @property
    def file(self) -> Path:
        file = self.plan.configuration.file
        assert file is not None
        return file


def set_up(folder: Path, *, provider_url: str, helpdesk_url: str, port: int, clock: Clock, ids: Ids) -> Stage:
    """Writes the files and makes the people. No variable of the user's environment is read.

    Raises: PrivateFileUnusable, DatabaseUnusable.
    """
    write(folder / "server.secret", secrets.token_urlsafe(32))
    write(folder / "provider.key", f"simulated-{secrets.token_urlsafe(24)}")
    filled = _TEMPLATE.format(
        host=HOST, port=port, provider=provider_url, helpdesk=helpdesk.NAME, helpdesk_url=helpdesk_url
    )
    write(folder / FILE, filled)
    configuration = load(folder / FILE, environ={})
    secret = server_secret(configuration, environ={})
    plan = Plan(
        configuration,
        tuple(configured_providers(configuration, environ={})),
        secret,
        configured_servers(configuration, environ={}),
    )
    hash_key = derived_key(secret, "token hashes")
    with open_people(configuration.database, hash_key=hash_key, clock=clock, ids=ids) as people:
        alice, bob, yours = (
            people.create_key(people.create_user(name).id, name="demo").secret for name in ("alice", "bob", "you")
        )
    return Stage(plan, alice, bob, yours)
