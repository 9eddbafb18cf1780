"""Choose which of the client's tools the simulated model calls, and with what.

The tool that the prompt names wins, then a shell when the prompt sounds like one, then any; commands are only ever
``ls`` and ``pwd``.
"""

import re
from dataclasses import dataclass

from aibridge.server.demo.simulator.json_values import as_object
from aibridge.server.demo.simulator.question import OfferedTool, Question
from aibridge.server.demo.simulator.schema_values import value_for
from aibridge.server.demo.simulator.wishes import Wishes

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_SHELLS = frozenset({"bash", "exec_command", "shell", "shell_command", "local_shell", "container.exec"})
_SHELL_TALK = re.compile(r"\b(run|execute|shell|command|terminal|list (the |all |my )?files|ls)\b", re.IGNORECASE)
# Words that a prompt uses whatever tool it means.
_COMMON = frozenset({"a", "an", "and", "call", "file", "files", "get", "in", "list", "run", "the", "to", "tool", "use"})


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to call, with its arguments: an object, or the free text of a ``text`` tool."""

    tool: OfferedTool
    arguments: dict[str, object] | str


def calls_for(question: Question, wishes: Wishes) -> tuple[Call, ...]:
    """The calls that this question asks for: none, one, or two in parallel (of two tools when the prompt names two)."""
    if not question.tools or not question.tools_allowed:
        return ()
    wanted = wishes.tool and (question.prompt_is_new or not question.results)
    if question.forced_tool is None and not wanted:
        return ()
    tools = list(question.tools)
    if question.forced_tool not in {None, "any"}:
        tools = [tool for tool in tools if tool.name == question.forced_tool] or tools
    ranked = sorted(tools, key=lambda tool: _fit(tool, question.prompt), reverse=True)
    if not (wishes.parallel and question.parallel_allowed):
        return (_call(ranked[0], question.prompt, 0),)
    two_are_named = len(ranked) > 1 and _fit(ranked[1], question.prompt) >= _NAMED
    second = ranked[1] if two_are_named else ranked[0]
    return _call(ranked[0], question.prompt, 0), _call(second, question.prompt, 1)


_NAMED = 100


def _fit(tool: OfferedTool, prompt: str) -> int:
    """How well a tool fits a prompt."""
    if re.search(rf"(?<![\w.-]){re.escape(tool.name)}(?![\w-])", prompt, re.IGNORECASE):
        return _NAMED
    words = {word.lower() for word in _WORD.findall(prompt)} - _COMMON
    fit = 2 * len(words & {word.lower() for word in _WORD.findall(tool.name)})
    if tool.name.lower() in _SHELLS:
        fit += 4 if _SHELL_TALK.search(prompt) else 1
    return fit


def _call(tool: OfferedTool, prompt: str, variant: int) -> Call:
    if tool.kind == "text":
        return Call(tool, f"simulated input {variant + 1}")
    arguments = value_for({"type": "object", **tool.schema}, name=tool.name, prompt=prompt, variant=variant)
    return Call(tool, dict(as_object(arguments)))
