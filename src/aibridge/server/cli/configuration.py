"""`aibridge config`: what would hold, and why."""

from __future__ import annotations

import typer

from aibridge.server.cli.options import AsJson, Config

app = typer.Typer(no_args_is_help=True, help="The configuration.")


@app.command()
def show(config: Config = None, json: AsJson = False) -> None:
    """Print every setting that holds and where it comes from; secrets are masked."""
    from aibridge.server.cli import printing
    from aibridge.server.config import load
    from aibridge.server.config.showing import shown

    settings = shown(load(config))
    if json:
        printing.as_json([{"name": s.name, "value": s.value, "source": s.source} for s in settings])
        return
    printing.table(("SETTING", "VALUE", "FROM"), [(s.name, s.text, s.source) for s in settings])


@app.command()
def check(config: Config = None, json: AsJson = False) -> None:
    """Say whether a server would start with it: the settings, and the secrets that they name."""
    from aibridge.server.cli import printing
    from aibridge.server.config import load
    from aibridge.server.configured_models import configured_models
    from aibridge.server.configured_oidc import configured_oidc
    from aibridge.server.configured_providers import configured_providers
    from aibridge.server.configured_tools import configured_rules, configured_servers
    from aibridge.server.server_secret import configured_secret

    configuration = load(config)
    providers = configured_providers(configuration)
    configured_servers(configuration)
    configured_rules(configuration)
    configured_models(configuration)
    configured_oidc(configuration)
    configured_secret(configuration)
    if json:
        file = None if configuration.file is None else str(configuration.file)
        names = [provider.name for provider in providers]
        printing.as_json({"ok": True, "file": file, "providers": names, "warnings": configuration.warnings})
        return
    for warning in configuration.warnings:
        printing.note(f"warning: {warning}")
    printing.line(f"the configuration is good ({configuration.file or 'no file'})")
