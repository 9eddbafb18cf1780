"""Stories: one exchange with a provider a file, as text. The format is the rule; README.md beside this file says it.

A story that does not keep to the format is an error with its file and what is wrong, never a test that passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibridge.dialects.base import Dialect, DialectName, Fact, StoredIds, Thought, TokenUsage, ToolUse, Unreadable
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.responses import RESPONSES

HERE = Path(__file__).parent
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (MESSAGES, CHAT_COMPLETIONS, RESPONSES)}

_SECTION = re.compile(r"^== ([a-z ]+?)((?:, [a-z ]+)*)\n", re.MULTILINE)
_STREAMS = frozenset({"upstream stream", "client"})
_NAMES = frozenset(
    {"request", "upstream request", "upstream stream", "upstream body", "client", "facts", "turn", "read"}
)
_FACTS: Mapping[str, type[Fact]] = {
    "TokenUsage": TokenUsage,
    "ToolUse": ToolUse,
    "Thought": Thought,
    "StoredIds": StoredIds,
    "Unreadable": Unreadable,
}
_TURN = frozenset({"outcome", "response_id", "error_type", "error_message"})
_READ = frozenset(
    {
        "model",
        "streaming",
        "prompt",
        "correlating_tool_call_id",
        "session_hint",
        "references",
        "background",
        "stores",
    }
)


class BadStory(Exception):
    """The file does not keep to the format."""


@dataclass(frozen=True, slots=True)
class Story:
    """One exchange: what the client asked, what the provider answered, and what must come of it."""

    name: str
    dialect: DialectName
    request: bytes
    upstream_request: bytes | None
    stream: bool
    upstream: bytes
    client: bytes
    facts: tuple[Fact, ...]
    turn: Mapping[str, Any]
    read: Mapping[str, Any]


def stories(dialect: DialectName) -> list[Story]:
    """The stories of one dialect, by name."""
    return [read_story(path) for path in sorted((HERE / dialect).glob("*.txt"))]


def read_story(path: Path) -> Story:
    """The story in a file. Raises: BadStory."""
    try:
        return _story(path.parent.name, path.stem, _sections(path.read_bytes().decode("utf-8")))
    except (BadStory, LookupError, ValueError, TypeError) as error:
        raise BadStory(f"{path}: {type(error).__name__}: {error}") from error


def _story(dialect: str, name: str, sections: Mapping[str, str]) -> Story:
    stream = "upstream stream" in sections
    if stream == ("upstream body" in sections):
        raise BadStory("a story has an upstream stream or an upstream body")
    upstream = sections["upstream stream" if stream else "upstream body"]
    wanted = sections.get("upstream request")
    return Story(
        name=name,
        dialect=DIALECTS[dialect].name,
        request=_without_last_newline(sections["request"]).encode(),
        upstream_request=None if wanted is None else _without_last_newline(wanted).encode(),
        stream=stream,
        upstream=_answer(upstream, stream=stream),
        client=_answer(sections.get("client", upstream), stream=stream),
        facts=tuple(_fact(line) for line in sections["facts"].splitlines() if line.strip()),
        turn={"outcome": "complete", **_object(sections.get("turn", "{}"), _TURN)},
        read=_object(sections.get("read", "{}"), _READ),
    )


def _sections(text: str) -> dict[str, str]:
    heads = list(_SECTION.finditer(text))
    if not heads or not text[: heads[0].start()].strip():
        raise BadStory("a story starts with a sentence that says what it shows")
    if text.count("\n== ") != len(heads):
        raise BadStory("a line starts with '== ' but names no section")
    sections: dict[str, str] = {}
    for number, head in enumerate(heads):
        name, marks = head[1], [mark for mark in head[2].split(", ") if mark]
        if name not in _NAMES or name in sections:
            raise BadStory(f"section {name!r} is unknown or stands twice")
        if marks and name not in _STREAMS:
            raise BadStory(f"section {name!r} takes no marks")
        end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
        sections[name] = _marked(text[head.end() : end], marks)
    return sections


def _marked(content: str, marks: list[str]) -> str:
    for mark in marks:
        match mark:
            case "unended":
                content = content.rstrip("\n")
            case "crlf":
                content = content.replace("\n", "\r\n")
            case "cr":
                content = content.replace("\n", "\r")
            case "bom":
                content = "\ufeff" + content
            case _:
                raise BadStory(f"mark {mark!r} is unknown")
    return content


def _answer(content: str, *, stream: bool) -> bytes:
    if stream and content.endswith("\n\n\n"):
        raise BadStory("a stream ends with two empty lines; its last event needs one, and the next section follows")
    return (content if stream else _without_last_newline(content)).encode()


def _without_last_newline(content: str) -> str:
    return content.removesuffix("\n")


def _fact(line: str) -> Fact:
    values = json.loads(line)
    kind = _FACTS[values.pop("fact")]
    if "response_id" in kind.__struct_fields__:
        values.setdefault("response_id", None)
    if kind is StoredIds:
        values["ids"] = tuple(values["ids"])
    return kind(**values)


def _object(text: str, names: frozenset[str]) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict) or values.keys() - names:
        raise BadStory(f"expected an object with some of {sorted(names)}")
    if isinstance(values.get("references"), list):
        values["references"] = tuple(values["references"])
    return values
