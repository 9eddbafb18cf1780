"""Where settings come from: flag over environment over file over default. Every value remembers its source.

A tree is plain dicts and lists, as TOML gives them. `Sources` maps the path of a leaf to where it was said.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aibridge.server.config import aliases

PREFIX = "AIBRIDGE_"
# Named like settings, but read by somebody else: where the file is, where data lies, what a client sends.
_NOT_SETTINGS = frozenset(
    {"AIBRIDGE_CONFIG", "AIBRIDGE_DATA_DIR", "AIBRIDGE_TOKEN", "AIBRIDGE_TRACEBACK", "AIBRIDGE_URL"}
)
# What Kubernetes sets in every container when a service is called `aibridge`
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_OF_KUBERNETES = re.compile(r"AIBRIDGE_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)")
_LISTS = frozenset({"providers", "mcp_servers"})

At = tuple[str | int, ...]
Sources = dict[At, str]


class Wrong(Exception):
    """The configuration cannot be used. The text is one line: what, where, and what is allowed."""


def of_file(path: Path) -> dict[str, Any]:
    """Raises: Wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Wrong(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Wrong(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise Wrong(f"{path}: is not valid TOML: {error}") from None


def layered(
    file: Path | None, environ: Mapping[str, str], flags: Mapping[At, object]
) -> tuple[dict[str, Any], Sources]:
    """All that was said, in one tree. Raises: Wrong."""
    tree: dict[str, Any] = {}
    sources: Sources = {}
    if file is not None:
        tree = of_file(file)
        sources.update((at, str(file)) for at in _leaves(tree))
    _add_aliases(tree, sources, environ)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in _NOT_SETTINGS and not _OF_KUBERNETES.fullmatch(variable):
            at, value = _from_variable(variable, environ[variable])
            _put(tree, at, value, variable, sources)
    for at, value in flags.items():
        _put(tree, at, value, "the command line", sources)
    return tree, sources


def _add_aliases(tree: dict[str, Any], sources: Sources, environ: Mapping[str, str]) -> None:
    for path, value, variable in aliases.settings_of(environ):
        at: At = path
        if path[0] == "mcp_servers":
            at = ("mcp_servers", _slot(tree, "mcp_servers", sources, variable), path[2])
        _put(tree, at, value, variable, sources)
    for table, whence in aliases.providers_of(environ):
        index = len(tree.setdefault("providers", []))
        for key, member in table.items():
            _put(tree, ("providers", index, key), member, whence[key], sources)
    for below, setting, variable in aliases.provider_settings_of(environ):
        for index in range(len(tree.get("providers", []))):
            of_provider: At = ("providers", index, *below)
            if of_provider not in sources:
                _put(tree, of_provider, setting, variable, sources)


def _slot(tree: dict[str, Any], name: str, sources: Sources, variable: str) -> int:
    """The place in a list that the variables of one index share: they differ only in what follows the number."""
    group = variable.split("_")[3]
    for at, source in sources.items():
        if at[0] == name and source.startswith(f"CODER_EXTERNAL_AUTH_{group}_") and isinstance(at[1], int):
            return at[1]
    return len(tree.get(name, []))


def _from_variable(variable: str, value: str) -> tuple[At, object]:
    """`AIBRIDGE_PROVIDERS__0__BASE_URL` -> (("providers", 0, "base_url"), value); `..._FILE` reads the file later."""
    name = variable[len(PREFIX) :]
    parts = [part.lower() for part in name.split("__")]
    if not all(parts):
        raise Wrong(f"{variable}: is no setting")
    if parts[-1].endswith("_file"):
        parts[-1] = parts[-1].removesuffix("_file")
        value = f"file:{value}"
    at = tuple(int(part) if part.isdigit() else part for part in parts)
    if value[:1] in ("[", "{"):
        try:
            return at, json.loads(value)
        except ValueError:
            raise Wrong(f"{variable}: is not valid JSON") from None
    return at, value


def _put(tree: dict[str, Any], at: At, value: object, source: str, sources: Sources) -> None:
    """Sets a leaf, making the tables on the way, and remembers its source."""
    node: Any = tree
    for number, step in enumerate(at):
        last = number == len(at) - 1
        if isinstance(node, list):
            if not isinstance(step, int) or step > len(node):
                raise Wrong(f"{source}: lists count from 0 without gaps ({'.'.join(map(str, at))})")
            if step == len(node):
                node.append({})
        elif not isinstance(node, dict):
            said_before = sources.get(at[:number], source)
            kind = "a list" if isinstance(step, int) else "a table"
            raise Wrong(f"{said_before}: {'.'.join(map(str, at[:number]))}: must be {kind}")
        elif isinstance(step, int):
            raise Wrong(f"{source}: {'.'.join(map(str, at[:number]))} is no list")
        if last:
            node[step] = value
        elif isinstance(node, dict):
            node = node.setdefault(step, [] if step in _LISTS else {})
        else:
            node = node[step]
    sources[at] = source


def _leaves(node: object, at: At = ()) -> Iterator[At]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*at, key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for index, item in enumerate(node):
            yield from _leaves(item, (*at, index))
    else:
        yield at
