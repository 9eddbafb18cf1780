"""The effective configuration for a person to read: every setting with its source, secrets masked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aibridge.credentials import masked
from aibridge.server.config import Configuration
from aibridge.server.config.layers import At, Sources

_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting. `value` is JSON; a secret is a mask, or the reference (`env:NAME`, `file:PATH`) that names it."""

    name: str
    value: Any
    source: str

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


def shown(configuration: Configuration) -> list[Shown]:
    return list(_of_table(configuration.settings, (), configuration.sources))


def _of_table(table: BaseModel, at: At, sources: Sources) -> Iterator[Shown]:
    for name, field in type(table).model_fields.items():
        yield from _of_value(getattr(table, name), field, (*at, name), sources)


def _of_value(value: Any, field: FieldInfo, at: At, sources: Sources) -> Iterator[Shown]:
    if isinstance(value, BaseModel):
        yield from _of_table(value, at, sources)
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
        for index, table in enumerate(value):
            yield from _of_table(table, (*at, index), sources)
    else:
        secret = isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
        yield Shown(dotted(at), _hidden(value) if secret else value, _source(at, sources))


def dotted(at: At) -> str:
    """`providers[0].keys`, as messages name a setting."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")


def _source(at: At, sources: Sources) -> str:
    """Where the setting was said, or something within it, or the table that it is in."""
    for length in range(len(at), 1, -1):
        if at[:length] in sources:
            return sources[at[:length]]
    return next((source for path, source in sources.items() if path[: len(at)] == at), _DEFAULT)


def _hidden(value: Any) -> Any:
    match value:
        case str():
            return value if value.startswith(("env:", "file:")) else masked(value)
        case list():
            return [_hidden(item) for item in value]
        case dict():
            return {key: _hidden(item) for key, item in value.items()}
        case _:
            return value
