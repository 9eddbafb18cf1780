"""What the simulated model is asked, read out of a request of any dialect."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from aibridge.server.demo.simulator.json_values import JsonObject, as_objects, as_text

# Claude Code puts its own words to the model into these, in the user's message.
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that the client runs. ``text`` tools (OpenAI's custom ones) take free text instead of JSON."""

    name: str
    kind: Literal["json", "text"]
    schema: JsonObject
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One request, as far as the simulated model reads it.

    ``prompt`` is the person's last words; ``results`` is what tools answered since the model last spoke, and
    ``prompt_is_new`` says that the person spoke after them. ``rounds`` is how often tools answered since the person
    last spoke. ``forced_tool`` is the name of a tool that must be
    called, or ``"any"``. ``shape`` is the JSON schema that the text must fit.
    """

    model: str
    prompt: str
    prompt_is_new: bool
    results: tuple[str, ...]
    rounds: int
    tools: tuple[OfferedTool, ...]
    forced_tool: str | None
    tools_allowed: bool
    parallel_allowed: bool
    can_search: bool
    thinks: bool
    max_tokens: int | None
    shape: JsonObject | None
    message_count: int
    size: int


def spoken(text: str) -> str:
    """A user's text without what the client put into it."""
    return _REMINDER.sub("", text).strip()


def joined_text(content: object) -> str:
    """The text of a string, or of the text parts of a list, whatever the dialect calls them."""
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (as_text(part.get("text")) for part in as_objects(content))))


def last_spoken(texts: Iterable[str]) -> str:
    """The last text in which the person said something."""
    return next(filter(None, reversed([spoken(text) for text in texts])), "")
