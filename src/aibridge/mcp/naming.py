"""Ids of tools for models: `bmcp_<server>_<tool>`, at most 64 characters of `[a-zA-Z0-9_-]`, the same ones every time.

A name that does not fit is cut or replaced, and gets a suffix made of the whole name; a plain one never has to give way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from aibridge.tools import PREFIX

_LONGEST = 64  # the shortest limit of the providers (OpenAI's)
_ODD = re.compile(r"[^a-zA-Z0-9_-]")


def ids_of(server: str, names: Iterable[str]) -> dict[str, str]:
    """The id of each tool of one server, by its name. Names are different ones."""
    taken: set[str] = set()
    ids: dict[str, str] = {}
    # Plain ones first: whatever else the server has, they keep their ids.
    for name in sorted(names, key=lambda name: (not _fits(server, name), name)):
        attempt = 0
        chosen = f"{PREFIX}{server}_{name}" if _fits(server, name) else _with_suffix(server, name, attempt)
        while chosen in taken:
            attempt += 1
            chosen = _with_suffix(server, name, attempt)
        taken.add(chosen)
        ids[name] = chosen
    return ids


def _fits(server: str, name: str) -> bool:
    return bool(name) and not _ODD.search(name) and len(PREFIX) + len(server) + 1 + len(name) <= _LONGEST


def _with_suffix(server: str, name: str, attempt: int) -> str:
    whole = f"{server}\0{name}\0{attempt}" if attempt else f"{server}\0{name}"
    suffix = "_" + hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return _ODD.sub("_", f"{PREFIX}{server}_{name}")[: _LONGEST - len(suffix)] + suffix
