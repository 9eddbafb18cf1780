"""`aibridge providers`: which there are, how they do, and whether they answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aibridge.server.cli.options import AsJson, Config

if TYPE_CHECKING:
    from aibridge.server.api.shapes import ProviderStatus

app = typer.Typer(no_args_is_help=True, help="Providers: which there are, how they do, and whether they answer.")

_UNTOLD = "?"  # to a key that may not read it


@app.command("list")
def list_providers(
    url: Annotated[str | None, typer.Option(help="Where the server is; by default as it is configured.")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A key to ask the server with; by default admin.key in the data folder."),
    ] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """List the configured providers; keys and circuits as the running server knows them, if there is one."""
    import asyncio
    from urllib.parse import urlsplit

    from aibridge.asking import ProviderStates
    from aibridge.server.api import shapes
    from aibridge.server.api.providers import providers_shown
    from aibridge.server.asking_the_server import asked_server
    from aibridge.server.cli import printing
    from aibridge.server.config import load
    from aibridge.server.configured_providers import configured_providers

    try:
        is_address = url is None or (urlsplit(url).scheme in ("http", "https") and urlsplit(url).port != 0)
    except ValueError:  # half an IPv6 address, or no port in the place of one
        is_address = False
    if not is_address:
        raise typer.BadParameter("http://HOST:PORT or https://HOST", param_hint="--url")
    configuration = load(config)
    found = asyncio.run(asked_server(configuration, "/providers", shapes.Providers, url=url, key_file=key_file))
    if isinstance(found, str):
        configured = configured_providers(configuration)
        told = providers_shown(configured, ProviderStates(), process=None, everything=True)
    else:
        told = found
    if json:
        printing.as_json(told)
    else:
        columns = ("NAME", "TYPE", "HEALTH", "KEYS", "CIRCUITS", "RETRIES", "BASE URL")
        printing.table(columns, [_row(one, live=told is found) for one in told.results])
        if told.configuration is not None and told.configuration.fault is not None:
            printing.note(f"the configuration was changed and cannot be used: {told.configuration.fault}")
    printing.note(f"as configured: {found}" if isinstance(found, str) else f"as process {found.process} knows them")


@app.command("test")
def try_provider(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `aibridge providers list` shows it.")],
    model: Annotated[
        str | None, typer.Option(help="Ask this model for a word, in place of the list of models.")
    ] = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Make one cheap real call with each key of a provider, from here, and say what comes of it."""
    import asyncio

    from aibridge.server.cli import printing
    from aibridge.server.config import load
    from aibridge.server.persons import NotPossible
    from aibridge.server.trying import try_configured

    found = asyncio.run(try_configured(load(config), name, model=model))
    if json:
        printing.as_json({"name": name, "works": all(trial.works for trial in found), "calls": found})
    for trial in () if json else found:
        with_key = f" with key {trial.key}" if trial.key is not None else ""
        printing.line(printing.visible(f"{name}{with_key}: {trial.words}, in {trial.seconds * 1000:.0f} ms"))
    if not all(trial.works for trial in found):
        raise NotPossible(f"provider {name} does not work") if not json else typer.Exit(1)


def _row(one: ProviderStatus, *, live: bool) -> tuple[str, ...]:
    own = "each caller's own" if one.platform is None and one.allow_byok else "-"
    keys = [f"{key.hint} {key.state}" if live else key.hint for key in one.keys or ()]
    unsettled = [f"{circuit.model} {circuit.state.replace('_', '-')}" for circuit in one.circuits or ()]
    circuits = ("; ".join(unsettled) or ("closed" if live else "on")) if one.circuit_breaker else "off"
    return (
        one.name,
        one.type if one.platform is None else f"{one.type} ({one.platform})",
        one.health if live or one.health == "off" else "-",
        _UNTOLD if one.keys is None else "; ".join(keys) or own,
        _UNTOLD if one.circuits is None else circuits,
        str(one.max_retries),
        one.base_url or _UNTOLD,
    )
