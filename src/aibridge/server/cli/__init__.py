"""The command line. Exit status: 0, 1 for what failed, 2 for what was asked for wrongly; an error is one line on stderr.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with its exit status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status."""
    try:
        status = typer.main.get_command(app).main(args=arguments, prog_name="aibridge", standalone_mode=False)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command; the message is its help
            print(error.format_message(), file=sys.stderr)
            return error.exit_code
        return _failed(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough; Python's last flush must not fail over it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from aibridge.server.cli.failures import in_words

        words = in_words(error)
        if words is None and os.environ.get("AIBRIDGE_TRACEBACK"):
            raise
        fault = f"internal error: {type(error).__name__} (a fault of aibridge; with AIBRIDGE_TRACEBACK=1 it says where)"
        return _failed(words or fault, 1)
    return status if isinstance(status, int) else 0


def _failed(words: str, status: int) -> int:
    print(f"aibridge: {' '.join(words.split())}", file=sys.stderr)
    return status
