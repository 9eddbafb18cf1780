"""All commands, under their names. What each needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from aibridge import __version__
from aibridge.server.cli import configuration, interceptions, keys, mcp_servers, providers, serving, users

app = typer.Typer(
    name="aibridge",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A gateway between AI clients and model providers that keeps a record of what passes.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001  its callback does the work
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    return


app.command("serve")(serving.serve)
app.command("demo")(serving.demo)
app.add_typer(configuration.app, name="config")
app.add_typer(users.app, name="users")
app.add_typer(keys.app, name="keys")
app.add_typer(providers.app, name="providers")
app.add_typer(interceptions.app, name="interceptions")
app.add_typer(mcp_servers.app, name="mcp")
