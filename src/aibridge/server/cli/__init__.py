"""The command line. Exit status: 0, 1 for what failed, 2 for what was asked for wrongly; an error is one line on stderr.

Nothing heavy is imported before a command runs, so that `--help` answers at once; and nothing at all before Ctrl-C has
a status instead of a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aibridge.server.cli import standard_streams


def main() -> None:
    """Runs a command and ends the process with its exit status."""
    try:
        status = run()
    except KeyboardInterrupt:  # while modules were read
        status = 130
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status."""
    standard_streams.prepare()
    import typer

    from aibridge.server.cli.commands import app

    try:
        status = typer.main.get_command(app).main(args=arguments, prog_name="aibridge", standalone_mode=False)
        standard_streams.flush()
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command; the message is its help
            print(error.format_message(), file=sys.stderr)
            return error.exit_code
        return _failed(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        standard_streams.give_up()
        return 1
    except standard_streams.OutputRefused as error:
        standard_streams.give_up()
        return _failed(str(error), 1)
    except Exception as error:
        from aibridge.server.cli.failures import in_words

        words = in_words(error)
        if words is None and os.environ.get("AIBRIDGE_TRACEBACK"):
            raise
        fault = f"internal error: {type(error).__name__} (a fault of aibridge; with AIBRIDGE_TRACEBACK=1 it says where)"
        return _failed(words or fault, 1)
    return status if isinstance(status, int) else 0


def _failed(words: str, status: int) -> int:
    words = words.replace("Value error, ", "").replace("Input should be", "must be")  # the library's words for values
    print(f"aibridge: {' '.join(words.split())}", file=sys.stderr)
    return status
