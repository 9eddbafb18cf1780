"""Decide what the simulated model says, before any dialect words it.

The same question always gets the same plan: there is no randomness and no clock here.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from aibridge.server.demo.simulator.question import Question
from aibridge.server.demo.simulator.schema_values import value_for
from aibridge.server.demo.simulator.tokens import cut_to_tokens, tokens
from aibridge.server.demo.simulator.tool_choice import Call, calls_for
from aibridge.server.demo.simulator.wishes import PHRASES, Wishes

_QUOTED = 200  # characters of a prompt or a tool's result that an answer quotes


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thinks before it speaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Search:
    """A web search that the provider runs itself."""

    query: str
    url: str = "https://example.com/simulated-result"
    title: str = "A simulated search result"
    found: str = "This page exists only in the simulator."


@dataclass(frozen=True, slots=True)
class Speech:
    """What the model says; ``commentary`` is said on the way to a tool, ``cites`` is the search that it leans on."""

    text: str
    commentary: bool = False
    cites: Search | None = None


Part: TypeAlias = Thought | Speech | Search | Call


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of one turn, in order. ``truncated`` says that the token limit cut the last one."""

    parts: tuple[Part, ...]
    truncated: bool = False

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(part for part in self.parts if isinstance(part, Call))

    @property
    def searches(self) -> int:
        return sum(isinstance(part, Search) for part in self.parts)


def plan_for(question: Question, wishes: Wishes) -> Plan:
    thoughts: tuple[Part, ...] = (Thought(_thought(question)),) if question.thinks else ()
    calls = calls_for(question, wishes)
    if calls:
        return Plan((*thoughts, Speech(_announcement(calls), commentary=True), *calls))
    if wishes.web_search and question.can_search and (question.prompt_is_new or not question.results):
        search = Search(_quoted(question.prompt))
        return Plan((*thoughts, search, Speech(f"The search found: {search.found}", cites=search)))
    speech = Speech(_closing(question) if question.results else _speech(question, wishes))
    limit = question.max_tokens
    if limit is not None and tokens(speech.text) > limit:
        return Plan((*thoughts, replace(speech, text=cut_to_tokens(speech.text, limit))), truncated=True)
    return Plan((*thoughts, speech))


def _announcement(calls: tuple[Call, ...]) -> str:
    names = [call.said_as for call in calls if call.said_as is not None]
    return f"I will call {' and '.join(names)}." if names else "I will use a tool for that."


def _thought(question: Question) -> str:
    step = "The tool has answered; I sum it up." if question.results else "I look at what is asked, then answer."
    return f"The prompt is {len(question.prompt)} characters long. {step}"


def _closing(question: Question) -> str:
    answers = "; ".join(f'"{_quoted(result)}"' for result in question.results)
    return f"The tool answered: {answers}. That is all that a simulated model can say about it."


def _speech(question: Question, wishes: Wishes) -> str:
    if question.shape is not None:
        return msgspec.json.encode(value_for(question.shape, name="answer", prompt=question.prompt)).decode()
    if wishes.words is not None:
        return " ".join(f"word{number}" for number in range(1, wishes.words + 1))
    return (
        f"This is {question.model}, simulated: no real model was asked. It received {question.message_count} "
        f"message(s) and {len(question.tools)} tool(s) in {question.size} bytes. "
        f'The last words were: "{_quoted(question.prompt)}" '
        f"It understands {', '.join(PHRASES)}."
    )


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
