"""The events of a Messages stream. Only those that tell something are decoded; all are relayed as they came.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, StoredIds, Thought, ToolUse, Turn, TurnOutcome, Unreadable
from aibridge.dialects.messages.blocking import TOOL_BLOCKS, container_id
from aibridge.dialects.messages.usage import token_usage
from aibridge.dialects.reading import Kept, tool_input
from aibridge.wire.sse import parse_block

# Deltas that hold nothing for the record: most of a stream. Anything that does not look exactly so is decoded.
_PLAIN_DELTA = re.compile(
    rb'(?:event: content_block_delta\n)?data: \{"type": ?"content_block_delta", ?"index": ?\d+, ?'
    rb'"delta": ?\{"type": ?"(?:text_delta|signature_delta|citations_delta)"'
)


class _Delta(msgspec.Struct):
    type: str = ""
    thinking: str = ""
    partial_json: str = ""
    container: Any = None


class _Block(msgspec.Struct):
    type: str = ""
    id: str | None = None
    name: str = ""
    input: Any = None
    thinking: str = ""


class _Message(msgspec.Struct):
    id: str | None = None
    usage: dict[str, Any] | None = None
    container: Any = None


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = -1
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: dict[str, Any] | None = None
    error: _Error | None = None


_EVENT = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class _Call:
    id: str | None
    name: str
    input: Any  # as the start gave it; deltas replace it


class MessagesReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = ("_calls", "_facts", "_kept", "_outcome", "_problem", "_thinking", "_usage", "response_id")

    def __init__(self) -> None:
        self.response_id: str | None = None
        self._facts: list[Fact] = []
        self._usage: dict[str, Any] | None = None
        self._calls: dict[int, _Call] = {}  # by block index, in order of appearance
        self._thinking: set[int] = set()
        self._kept = Kept()
        self._outcome: TurnOutcome = "cut"
        self._problem = _Error()

    def ended(self) -> bool:
        return self._outcome != "cut"

    def read(self, block: bytes) -> bytes:
        if _PLAIN_DELTA.match(block):
            return block
        data = parse_block(block).data
        if data:
            try:
                self._take(_EVENT.decode(data))
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._facts.append(Unreadable("an event of the stream is no readable JSON"))
        return block

    def facts(self) -> tuple[Fact, ...]:
        if not self._facts:
            return ()
        facts, self._facts = tuple(self._facts), []
        return facts

    def end(self) -> Turn:
        for index in sorted(self._thinking):
            self._think(index)
        for index, call in self._calls.items():
            arguments = self._kept.take(index)
            self._facts.append(
                ToolUse(
                    response_id=self.response_id,
                    call_id=call.id,
                    tool=call.name,
                    input=tool_input(arguments) if arguments else call.input,
                )
            )
        self._calls = {}
        if self._usage is not None:
            self._facts.append(token_usage(self._usage, self.response_id, partial=self._outcome != "complete"))
            self._usage = None
        return Turn(
            outcome=self._outcome,
            response_id=self.response_id,
            error_type=self._problem.type,
            error_message=self._problem.message,
        )

    def _take(self, event: _Event) -> None:
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._kept.add(event.index, event.delta.thinking or event.delta.partial_json)
            case "content_block_start" if event.content_block is not None:
                self._start_block(event.index, event.content_block)
            case "content_block_stop":
                self._think(event.index)
            case "message_start" if event.message is not None:
                self.response_id = event.message.id
                self._use(event.message.usage)
                self._store(event.message.container)
            case "message_delta":
                self._use(event.usage)
                self._store(event.delta.container if event.delta is not None else None)
            case "message_stop":
                self._outcome = "complete"
            case "error":
                self._outcome = "failed"
                self._problem = event.error or _Error()

    def _start_block(self, index: int, block: _Block) -> None:
        if block.type == "thinking":
            self._thinking.add(index)
            self._kept.add(index, block.thinking)
        elif block.type in TOOL_BLOCKS:
            self._calls[index] = _Call(block.id, block.name, block.input)

    def _think(self, index: int) -> None:
        """A thinking block is over, or will not go on: what came of it is kept."""
        if index in self._thinking:
            self._thinking.discard(index)
            if content := self._kept.take(index):
                self._facts.append(Thought(content=content, source="thinking"))

    def _use(self, usage: dict[str, Any] | None) -> None:
        if usage is not None:
            known = {name: value for name, value in usage.items() if value is not None}
            self._usage = {**(self._usage or {}), **known}

    def _store(self, container: Any) -> None:
        if (found := container_id(container)) is not None:
            self._facts.append(StoredIds((found,)))
