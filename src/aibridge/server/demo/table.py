"""What was recorded, as a table for a person: one row for each interception."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLUMNS = (
    "PERSON",
    "CLIENT",
    "MODEL",
    "PROMPT",
    "IN",
    "OUT",
    "CACHE READ",
    "CACHE WRITE",
    "TOOLS",
    "THOUGHTS",
    "SESSION",
)
_NUMBERS = frozenset({"IN", "OUT", "CACHE READ", "CACHE WRITE"})
_STACKED = ("PERSON, CLIENT, SESSION", "PROMPT", "MODEL, TOKENS", "TOOLS, THOUGHTS")
_LONGEST = 40  # characters of a prompt or a thought
_WIDTH = 200  # columns of the screen, where nothing is known about it
_ROOMY = 150  # columns from which on everything stands in one line
_NONE = "-"


def print_records(interceptions: Sequence[Mapping[str, Any]], *, width: int | None = None) -> None:
    """Prints `interceptions`, dicts as `Reading` gives them, as wide as the screen is unless a `width` is given."""
    console = _screen(width)
    roomy = console.width >= _ROOMY
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0 if roomy else 1, 0), header_style="bold")
    for column in _COLUMNS if roomy else _STACKED:
        drawn.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for interception in interceptions:
        row = cells(interception)
        drawn.add_row(*(Text(cell) for cell in (row if roomy else _stacked(row))))
    console.print(drawn)


def print_calls(interceptions: Sequence[Mapping[str, Any]]) -> None:
    """Prints the calls of injected tools in them: one line for each."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("PERSON", "TOOL", "ARGUMENTS", "SERVER", "OUTCOME"):
        drawn.add_column(column, overflow="fold")
    for interception in interceptions:
        for call in interception["tool_usages"]:
            if call["injected"]:
                arguments = msgspec.json.encode(call["input"]).decode()
                row = (_person(interception), call["tool"], arguments, call["server_url"], call["invocation_error"])
                drawn.add_row(*(Text(_joined([cell]) if cell else "ok") for cell in row))
    _screen(None).print(drawn)


def cells(interception: Mapping[str, Any]) -> tuple[str, ...]:
    """One line, in the order of the columns."""
    usages = interception["token_usages"]
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return (
        _person(interception),
        interception["client"],
        interception["model"],
        _joined(prompt["prompt"] for prompt in interception["user_prompts"]),
        *(str(sum(usage[name] for usage in usages)) for name in tokens),
        _joined(call["tool"] for call in interception["tool_usages"]),
        _joined(thought["content"] for thought in interception["model_thoughts"]),
        _short(interception["session_id"]),
    )


def _person(interception: Mapping[str, Any]) -> str:
    name: str = interception["initiator"]["username"] or interception["initiator"]["id"]
    return name


def _screen(width: int | None) -> Console:
    if width is None and not sys.stdout.isatty():
        width = _WIDTH
    return Console(width=width, no_color=bool(os.environ.get("NO_COLOR")), highlight=False)


def _stacked(row: tuple[str, ...]) -> tuple[str, ...]:
    """The same in fewer columns, for a narrow screen."""
    person, client, model, prompt, fresh, out, read, written, tools, thoughts, session = row
    cached = "" if (read, written) == ("0", "0") else f"\ncache {read} read, {written} written"
    return (
        f"{person}\n{client}\n{session}",
        prompt,
        f"{model}\n{fresh} in, {out} out{cached}",
        "\n".join(text for text in (tools, thoughts) if text != _NONE) or _NONE,
    )


def _joined(texts: Iterable[str | None]) -> str:
    text = ", ".join(" ".join(text.split()) for text in texts if text)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return (text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...") or _NONE


def _short(session: str | None) -> str:
    """A session's name; of an id of ours the end, for such ids of one minute begin alike."""
    if session is None:
        return _NONE
    return session if len(session) <= 16 else f"...{session[-8:]}"
