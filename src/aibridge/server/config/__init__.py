"""The configuration: read once, checked whole, then a value. Bad input stops the start with one line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from aibridge.server.config.aliases import unbuilt_in
from aibridge.server.config.aws_environment import bedrock_of
from aibridge.server.config.layers import PREFIX, At, Sources, Wrong, layered
from aibridge.server.config.schema import RESERVED, ProviderTable, Settings
from aibridge.server.config.unbuilt import SQLITE, refusals, warnings

__all__ = ["RESERVED", "At", "Configuration", "ProviderTable", "Settings", "Wrong", "data_folder", "load"]

DATABASE = "aibridge.db"
_ALLOWED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a table",
    "string_pattern_mismatch": "lower-case letters and digits, in groups with one hyphen between them",
    "string_too_short": "text, and not empty",
    "string_type": "text",
    "too_short": "a list with something in it",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, where each came from, and what is said about them at the start."""

    settings: Settings
    sources: Sources
    file: Path | None
    base: Path
    """What relative paths are relative to: the file's folder, or the user's data folder without a file."""
    database: Path
    data: Path
    """Where secrets lie that were made here: $AIBRIDGE_DATA_DIR, else beside the database that needs them."""
    warnings: tuple[str, ...]

    def place(self, at: At) -> str:
        """Where a setting was said, and its name: the beginning of a line about it."""
        return _place(at, self.sources, self.file)


def load(
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[At, object] | None = None,
) -> Configuration:
    """The effective configuration. `file` falls back to $AIBRIDGE_CONFIG. Raises: Wrong."""
    if file is None and environ.get("AIBRIDGE_CONFIG"):
        file = Path(environ["AIBRIDGE_CONFIG"]).expanduser()
    if file is not None:
        file = file.absolute()
    tree, sources = layered(file, environ, flags or {})
    if not tree.get("providers"):
        _add_default_providers(tree, sources, environ)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise Wrong(_first_line(error, sources, file)) from None
    _check_providers(settings, sources, file)
    _check_files(sources)
    said = set(sources)
    for at, allowed in refusals(settings):
        raise Wrong(f"{_place(at, sources, file)}: {allowed}")
    base = file.parent if file is not None else data_folder(environ)
    url = settings.database.url
    database = data_folder(environ) / DATABASE if url is None else base / Path(url.removeprefix(SQLITE)).expanduser()
    data = data_folder(environ) if environ.get("AIBRIDGE_DATA_DIR") else database.parent
    return Configuration(
        settings, sources, file, base, database, data, tuple(warnings(settings, said, unbuilt_in(environ)))
    )


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the database and the secrets lie without other orders: the user's data directory. Raises: Wrong."""
    if environ.get("AIBRIDGE_DATA_DIR"):
        return Path(environ["AIBRIDGE_DATA_DIR"]).expanduser().absolute()
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        raise Wrong("there is no home directory to keep data in: set AIBRIDGE_DATA_DIR") from None
    if os.uname().sysname == "Darwin":
        return home / "Library" / "Application Support" / "aibridge"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "aibridge"


def _add_default_providers(tree: dict[str, Any], sources: Sources, environ: Mapping[str, str]) -> None:
    """Nobody named a provider: all types, with the keys that lie in the environment (without one, bring your own), and
    Bedrock where AWS's settings are.
    """
    tables: list[dict[str, Any]] = []
    for kind in ("anthropic", "openai", "copilot"):
        table: dict[str, Any] = {"type": kind}
        at = ("providers", len(tables))
        sources[*at, "type"] = "default"
        variables = {"keys": f"{kind.upper()}_API_KEY", "base_url": f"{kind.upper()}_BASE_URL"}
        for key, variable in variables.items():
            if kind != "copilot" and environ.get(variable):
                table[key] = [f"env:{variable}"] if key == "keys" else environ[variable]
                sources[*at, key] = variable
        tables.append(table)
    on_aws = bedrock_of(environ)
    if on_aws is not None:
        at = ("providers", len(tables))
        sources[*at, "type"] = "default"
        sources.update({(*at, *below): variable for below, variable in on_aws[1].items()})
        tables.append(on_aws[0])
    tree["providers"] = tables


def _check_providers(settings: Settings, sources: Sources, file: Path | None) -> None:
    seen: dict[str, int] = {}
    for index, provider in enumerate(settings.providers):
        where = _place(("providers", index, "name"), sources, file)
        if provider.instance in RESERVED:
            raise Wrong(f"{where}: {provider.instance!r} is the name of a page of the server; choose another")
        if provider.instance in seen:
            raise Wrong(f"{where}: {provider.instance!r} is the name of another provider too; give each its own")
        seen[provider.instance] = index


def _check_files(sources: Sources) -> None:
    """`..._FILE` is for secrets; a host in a file would be the text `file:PATH`."""
    for at, source in sources.items():
        if source.startswith(PREFIX) and source.endswith("_FILE") and not is_secret(at):
            raise Wrong(f"{source}: only secrets are read from files; set {source.removesuffix('_FILE')}")


def _first_line(error: ValidationError, sources: Sources, file: Path | None) -> str:
    """The first fault as one line: where, what, and what is allowed."""
    fault = error.errors(include_url=False, include_input=False)[0]
    at: At = fault["loc"]
    where = _place(at, sources, file)
    if fault["type"] == "extra_forbidden":
        known = _members(at[:-1])
        close = difflib.get_close_matches(str(at[-1]), known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {hint}"
    if fault["type"] == "missing":
        return f"{where}: is required"
    message = fault["msg"].partition(" after validation")[0]
    for beginning in ("Value error, ", "Input should be ", "Value should have "):
        message = message.removeprefix(beginning)
    return f"{where}: must be {_ALLOWED.get(fault['type'], message)}"


def _place(at: At, sources: Sources, file: Path | None) -> str:
    dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
    return f"{_source(at, sources) or file or 'configuration'}: {dotted}"


def _source(at: At, sources: Sources) -> str | None:
    """Who said a setting, or a table that it is in, or something else in that table."""
    for length in range(len(at), 0, -1):
        if at[:length] in sources:
            return sources[at[:length]]
        beside = next((source for path, source in sources.items() if path[:length] == at[:length]), None)
        if beside is not None and (length > 1 or len(at) == 1):
            return beside
    return None


def is_secret(at: At) -> bool:
    """True for a setting whose value must not be shown."""
    field = _table(at[:-1]).model_fields.get(str(at[-1]))
    return field is not None and isinstance(field.json_schema_extra, dict) and "secret" in field.json_schema_extra


def _members(at: At) -> list[str]:
    """The keys that a table takes."""
    return list(_table(at).model_fields)


def _table(at: At) -> type[BaseModel]:
    """The innermost table that a path leads through."""
    model: type[BaseModel] = Settings
    for step in at:
        if isinstance(step, int) or step not in model.model_fields:
            continue
        model = next(_models(model.model_fields[step].annotation), model)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)
