"""The keys of a server that nobody has configured: one to manage it, in a file, and one to paste, on a terminal.

With a configuration file there are none: whoever writes one makes keys by command. Nor where no keys are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aibridge.ports import Clock, Ids
from aibridge.server.people import People
from aibridge.server.persons import SCOPES, KnownKey, Scope
from aibridge.server.private_files import read, write
from aibridge.server.process import Plan
from aibridge.server.server_secret import derived_key
from aibridge.server.store import open_people

ADMIN = "admin"
ADMIN_FILE = "admin.key"
PASTE_FILE = "use.key"


@dataclass(frozen=True, slots=True)
class FirstKeys:
    admin_file: Path | None = None
    to_paste: str | None = field(default=None, repr=False)


def first_keys(plan: Plan, clock: Clock, ids: Ids, *, to_paste: bool) -> FirstKeys:
    """The keys that this start may speak of; made where there is none that still opens.

    Raises: PrivateFileUnusable, DatabaseUnusable.
    """
    configuration = plan.configuration
    if configuration.file is not None or "key" not in configuration.settings.auth.modes:
        return FirstKeys()
    hash_key = derived_key(plan.secret, "token hashes")
    with open_people(configuration.database, hash_key=hash_key, clock=clock, ids=ids) as people:
        admin_file = configuration.data / ADMIN_FILE
        _living(people, admin_file, "admin.key, made at the first start", SCOPES)
        if not to_paste:
            return FirstKeys(admin_file)
        key = _living(people, configuration.data / PASTE_FILE, "use.key, shown at the start", ("use", "read:own"))
        return FirstKeys(admin_file, key)


def _living(people: People, path: Path, name: str, scopes: Sequence[Scope]) -> str:
    """The key in the file; a new one where the file has none that opens."""
    key = read(path)
    if key is not None and isinstance(people.identify(key), KnownKey):
        return key
    owner = people.ensure_user(ADMIN, role="admin")
    made = people.create_key(owner.id, name=name, scopes=scopes).secret
    write(path, made)
    return made
