"""What a program with an SDK does: asks, runs the tool that it has, sends back what it saw and the result."""

from __future__ import annotations

from typing import Any, Self

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.exchanges import DialectName
from tests.house.in_process import ADA

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}


class Conversation:
    """`key` opens the gateway at `url`; the SDK waits `patience` seconds for each piece. `history` is what it sends."""

    def __init__(
        self,
        url: str,
        dialect: DialectName,
        stream: bool,
        *,
        key: str = ADA,
        patience: float = 30,
        prompt: str = "What is the weather in Nantes?",
    ) -> None:
        self._dialect = dialect
        self._stream = stream
        self._claude = AsyncAnthropic(base_url=f"{url}/anthropic", api_key=key, max_retries=0, timeout=patience)
        self._gpt = AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=0, timeout=patience)
        self.history: list[Any] = [{"role": "user", "content": prompt}]
        self.text = ""
        self.calls: list[str] = []
        self.usage: tuple[int, int] = (0, 0)  # input, output

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._claude.close()
        await self._gpt.close()

    async def ask(self) -> None:
        match self._dialect:
            case "messages":
                await self._ask_claude()
            case "chat_completions":
                await self._ask_chat()
            case "responses":
                await self._ask_responses()

    async def _ask_claude(self) -> None:
        tools: Any = [{"name": "weather", "input_schema": SCHEMA}]
        asked: Any = {"model": "claude-opus-4-6", "max_tokens": 100, "tools": tools, "messages": self.history}
        if self._stream:
            async with self._claude.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await self._claude.messages.create(**asked)
        self.text = "".join(block.text for block in message.content if block.type == "text")
        calls = [block for block in message.content if block.type == "tool_use"]
        self.calls = [call.name for call in calls]
        self.usage = (message.usage.input_tokens, message.usage.output_tokens)
        self.history.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
        self.history += [{"role": "user", "content": results}] if results else []

    async def _ask_chat(self) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
        asked: Any = {"model": "gpt-5", "tools": tools, "messages": self.history}
        if self._stream:
            async with self._gpt.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                completion: Any = await stream.get_final_completion()
        else:
            completion = await self._gpt.chat.completions.create(**asked)
        message = completion.choices[0].message
        calls = message.tool_calls or []
        self.text, self.calls = message.content or "", [call.function.name for call in calls]
        self.usage = (completion.usage.prompt_tokens, completion.usage.completion_tokens)
        said: dict[str, Any] = {"role": "assistant", "content": message.content}
        if calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": call.function.to_dict()} for call in calls
            ]
        self.history.append(said)
        self.history += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]

    async def _ask_responses(self) -> None:
        tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
        asked: Any = {"model": "gpt-5", "tools": tools, "input": self.history, "store": False}
        if self._stream:
            async with self._gpt.responses.stream(**asked) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await self._gpt.responses.create(**asked)
        calls = [item for item in response.output if item.type == "function_call"]
        self.text, self.calls = response.output_text, [call.name for call in calls]
        self.usage = (response.usage.input_tokens, response.usage.output_tokens)
        self.history += [item.to_dict() for item in response.output]
        self.history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
