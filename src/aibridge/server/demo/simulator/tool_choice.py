"""Choose which of the offered tools the simulated model calls, and with what.

The tool that the prompt names wins, then a shell when the prompt sounds like one, then any; commands are only ever
``ls`` and ``pwd``. A prompt that says two words of a tool's name means it without asking for a tool. One that goes on
with "then" is answered step by step, each after the results of the one before it.
"""

import re
from dataclasses import dataclass

from aibridge.server.demo.simulator.json_values import as_object
from aibridge.server.demo.simulator.question import OfferedTool, Question
from aibridge.server.demo.simulator.schema_values import value_for
from aibridge.server.demo.simulator.wishes import Wishes, asks_for_a_tool

_NAMED = 100
_MEANT = 2  # words
_THEN = re.compile(r"[,.;]? (?:and )?then ", re.IGNORECASE)
_LOOSE_NAME = re.compile(r"\b[A-Za-z]\w*_\w+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_SHELLS = frozenset({"bash", "exec_command", "shell", "shell_command", "local_shell", "container.exec"})
_SHELL_TALK = re.compile(r"\b(run|execute|shell|command|terminal|list (the |all |my )?files|ls)\b", re.IGNORECASE)
# Words that a prompt uses whatever tool it means.
_COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "call",
        "do",
        "file",
        "files",
        "for",
        "get",
        "in",
        "is",
        "it",
        "list",
        "me",
        "my",
        "of",
        "on",
        "run",
        "the",
        "to",
        "tool",
        "use",
        "what",
        "who",
        "with",
    ]
)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to call, with its arguments: an object, or the free text of a ``text`` tool.

    ``said_as`` is what the prompt calls the tool, if it does: models too say a person's words and not an id.
    """

    tool: OfferedTool
    arguments: dict[str, object] | str
    said_as: str | None


def calls_for(question: Question, wishes: Wishes) -> tuple[Call, ...]:
    """The calls that this question asks for: none, one, or two in parallel (of two tools when the prompt names two)."""
    if not question.tools or not question.tools_allowed:
        return ()
    steps = _THEN.split(question.prompt)
    step = steps[question.rounds] if question.rounds < len(steps) else ""
    tools = list(question.tools)
    if question.forced_tool not in {None, "any"}:
        tools = [tool for tool in tools if tool.name == question.forced_tool] or tools
    is_meant = any(len(_shared_words(tool, step)) >= _MEANT for tool in tools)
    if question.forced_tool is None and not asks_for_a_tool(step) and not is_meant:
        return ()
    ranked = sorted(tools, key=lambda tool: _fit(tool, step), reverse=True)
    known = "\n".join([step, *question.results])
    if not (wishes.parallel and question.parallel_allowed):
        return (_call(ranked[0], step, known, 0),)
    two_are_named = len(ranked) > 1 and _fit(ranked[1], step) >= _NAMED
    second = ranked[1] if two_are_named else ranked[0]
    return _call(ranked[0], step, known, 0), _call(second, step, known, 1)


def _fit(tool: OfferedTool, text: str) -> int:
    """How well a tool fits what was said."""
    if _name_in(tool, text) is not None:
        return _NAMED
    fit = 2 * len(_shared_words(tool, text))
    if tool.name.lower() in _SHELLS:
        fit += 4 if _SHELL_TALK.search(text) else 1
    return fit


def _name_in(tool: OfferedTool, text: str) -> str | None:
    """What a text calls a tool: its name, or the end of it, as in ``find_page`` for ``mcp__wiki__find_page``."""
    if re.search(rf"(?<![\w.-]){re.escape(tool.name)}(?![\w-])", text, re.IGNORECASE):
        return tool.name
    return next((name for name in _LOOSE_NAME.findall(text) if tool.name.endswith("_" + name)), None)


def _shared_words(tool: OfferedTool, text: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(text)} - _COMMON
    return words & {word.lower() for word in _WORD.findall(tool.name)}


def _call(tool: OfferedTool, step: str, known: str, variant: int) -> Call:
    said_as = _name_in(tool, step)
    if tool.kind == "text":
        return Call(tool, f"simulated input {variant + 1}", said_as)
    arguments = value_for({"type": "object", **tool.schema}, name=tool.name, prompt=known, variant=variant)
    return Call(tool, dict(as_object(arguments)), said_as)
