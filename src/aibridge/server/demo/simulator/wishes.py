"""What the words of a prompt, or the name of a model, ask the simulated model to do.

A person can try every behaviour by saying so in plain words; the phrases are listed in ``PHRASES``.
"""

import re
from dataclasses import dataclass
from typing import Literal

PHRASES = (
    '"use a tool" or "list files"',
    '"two tools in parallel"',
    '"use one tool, then another"',
    '"web search"',
    '"simulate 500 words"',
    '"simulate error 429" (or any other status from 400)',
    '"simulate overloaded mid-stream"',
    '"simulate cut"',
)
"""What a person can write in a prompt; the faults work in a model's name too, as in ``simulate-error-429``."""

_TOOL = re.compile(r"\b(tools?|run|use|using|call|execute|list (the |all |my )?files)\b", re.IGNORECASE)
_PARALLEL = re.compile(r"\bparallel\b", re.IGNORECASE)
_WEB_SEARCH = re.compile(r"\b(web[ -]?search|search the web)\b", re.IGNORECASE)
_WORDS = re.compile(r"\bsimulate (\d{1,5}) words\b", re.IGNORECASE)
_ERROR = re.compile(r"\bsimulate error ([45]\d\d)\b", re.IGNORECASE)
_OVERLOADED = re.compile(r"\bsimulate overloaded mid[ -]?stream\b", re.IGNORECASE)
_CUT = re.compile(r"\bsimulate cut\b", re.IGNORECASE)

Interruption = Literal["overloaded", "cut"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for. ``error`` is a status to answer with; ``interruption`` ends the answer in its middle."""

    parallel: bool
    web_search: bool
    words: int | None
    error: int | None
    interruption: Interruption | None


def asks_for_a_tool(text: str) -> bool:
    return _TOOL.search(text) is not None


def wishes_of(prompt: str, model: str) -> Wishes:
    faults = f"{prompt}\n{model.replace('-', ' ').replace('_', ' ')}"
    words = _WORDS.search(prompt)
    error = _ERROR.search(faults)
    interruption: Interruption | None = None
    if _OVERLOADED.search(faults):
        interruption = "overloaded"
    elif _CUT.search(faults):
        interruption = "cut"
    return Wishes(
        parallel=_PARALLEL.search(prompt) is not None,
        web_search=_WEB_SEARCH.search(prompt) is not None,
        words=int(words[1]) if words else None,
        error=int(error[1]) if error else None,
        interruption=interruption,
    )
