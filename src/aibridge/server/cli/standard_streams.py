"""Standard input, output and error, however a command was started: open, able to say any text, and told to be full.

A closed one is taken by the next file that is opened, and what is printed then would be written there.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


class OutputRefused(Exception):
    """What the output is written to takes no more; the message is one line that says why."""


def prepare() -> None:
    """To be called before anything is opened or printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for as long as the process lives
    sys.stderr = sys.stderr or sys.stdout
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does: not every terminal knows every name


def speak_utf_8() -> None:
    """For what programs read, such as JSON (RFC 8259, section 8.1), whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def say(text: str) -> None:
    """One line on standard output. Raises: OutputRefused, BrokenPipeError."""
    try:
        print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _refused(error) from None


def flush() -> None:
    """Says what is still held back. Raises: OutputRefused, BrokenPipeError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _refused(error) from None


def give_up() -> None:
    """Nothing more is said: Python's last flush must not fail over what cannot be written."""
    with suppress(OSError, ValueError):  # tests print to something that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(error: OSError) -> OutputRefused:
    return OutputRefused(f"the output cannot be written ({error.strerror})")
