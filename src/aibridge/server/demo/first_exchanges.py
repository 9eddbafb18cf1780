"""The first exchanges of the demo, with the providers' own SDKs as their users write them; a process of its own.

Being one, it has an environment of its own: no provider variable, configuration file or proxy of the user reaches it.
It reads where the gateway is and whose keys it has from standard input, and says nothing unless it fails.
"""

from __future__ import annotations

import sys

import msgspec
from anthropic import Anthropic, AnthropicError
from anthropic.types import MessageParam, ToolParam
from openai import OpenAI, OpenAIError
from openai.types.chat import ChatCompletionToolParam

from aibridge.server.demo.assignment import CLAUDE, GPT, Assignment

_TIMEOUT = 30.0  # seconds; everything is on this machine

_ROOM: ToolParam = {
    "name": "find_room",
    "description": "Find a free meeting room.",
    "input_schema": {"type": "object", "properties": {"floor": {"type": "integer"}}, "required": ["floor"]},
    "cache_control": {"type": "ephemeral"},
}
_CLOCK: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "office_hours",
        "description": "Tell when an office is open.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main() -> int:
    assignment = msgspec.json.decode(sys.stdin.buffer.read(), type=Assignment)
    try:
        send(assignment)
    except (AnthropicError, OpenAIError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  whoever started it reads this line
        return 1
    return 0


def send(assignment: Assignment) -> None:
    """One conversation in each dialect: Alice uses Anthropic's SDK, Bob uses OpenAI's."""
    with Anthropic(
        base_url=f"{assignment.base_url}/anthropic", api_key=assignment.alice, max_retries=0, timeout=_TIMEOUT
    ) as anthropic:
        think_aloud(anthropic)
        use_a_tool(anthropic)
        ask_what_the_helpdesk_knows(anthropic)
    with OpenAI(
        base_url=f"{assignment.base_url}/openai/v1", api_key=assignment.bob, max_retries=0, timeout=_TIMEOUT
    ) as openai:
        chat(openai)
        respond(openai)
        ask_what_the_helpdesk_knows_step_by_step(openai)


def think_aloud(anthropic: Anthropic) -> None:
    """Messages, streamed, with thinking."""
    with anthropic.messages.stream(
        model=CLAUDE,
        max_tokens=2000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": "Why do swallows fly low before rain?"}],
    ) as stream:
        stream.until_done()


def use_a_tool(anthropic: Anthropic) -> None:
    """Messages, streamed: the model calls a tool, and the second request brings the result and reads the cache."""
    messages: list[MessageParam] = [{"role": "user", "content": "Use the find_room tool for floor 3."}]
    with anthropic.messages.stream(model=CLAUDE, max_tokens=1000, tools=[_ROOM], messages=messages) as stream:
        turn = stream.get_final_message()
    calls = [block for block in turn.content if block.type == "tool_use"]
    messages += [
        {"role": "assistant", "content": turn.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Room 3.14"} for call in calls],
        },
    ]
    with anthropic.messages.stream(model=CLAUDE, max_tokens=1000, tools=[_ROOM], messages=messages) as stream:
        stream.until_done()


def ask_what_the_helpdesk_knows(anthropic: Anthropic) -> None:
    """Messages, streamed: a tool of the gateway's runs in the midst of one answer, and this program has no tools."""
    with anthropic.messages.stream(
        model=CLAUDE, max_tokens=1000, messages=[{"role": "user", "content": "Who works on helpdesk ticket 17?"}]
    ) as stream:
        stream.until_done()


def chat(openai: OpenAI) -> None:
    """Chat Completions, streamed, without asking for usage: the gateway asks, and the client does not notice."""
    for _ in openai.chat.completions.create(
        model=GPT,
        stream=True,
        tools=[_CLOCK],
        messages=[{"role": "user", "content": "Use the office_hours tool for Lisbon."}],
    ):
        pass


def respond(openai: OpenAI) -> None:
    """Responses, streamed, with a summary of the reasoning and a session; then once more, whole."""
    with openai.responses.stream(
        model=GPT,
        reasoning={"effort": "low", "summary": "auto"},
        prompt_cache_key="lunch-plans",
        input="Where should four people have lunch?",
    ) as stream:
        first = stream.get_final_response()
    openai.responses.create(
        model=GPT,
        prompt_cache_key="lunch-plans",
        previous_response_id=first.id,
        input="And if it rains?",
    )


def ask_what_the_helpdesk_knows_step_by_step(openai: OpenAI) -> None:
    """Responses, streamed: one answer, for which the provider is asked three times."""
    with openai.responses.stream(
        model=GPT, input="Find helpdesk ticket 23, then find the helpdesk person who has it."
    ) as stream:
        stream.until_done()


if __name__ == "__main__":
    sys.exit(main())
