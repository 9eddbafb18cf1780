"""The events of a Messages stream. Only those that tell something are decoded; all are relayed as they came.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aibridge.dialects.base import Fact, Plain, StoredIds, Thought, ToolUse, Turn, TurnOutcome, Unreadable
from aibridge.dialects.calls import is_ours
from aibridge.dialects.messages.blocking import TOOL_BLOCKS, container_ids, file_ids
from aibridge.dialects.messages.errors import failure
from aibridge.dialects.messages.usage import token_usage
from aibridge.dialects.reading import Kept, decoded, mapping, text, tool_input
from aibridge.wire.sse import parse_block

# Deltas that hold nothing for the record: most of a stream, in the spelling of the provider itself. Anything that
# does not look exactly so, to its last byte, is decoded.
_PLAIN = (
    rb'event: content_block_delta\ndata: \{"type":"content_block_delta","index":\d++,'
    rb'"delta":\{"type":"(?:text|signature|citations)_delta"[^\r\n]*+\n\n'
)
_PLAIN_DELTA = re.compile(_PLAIN).fullmatch
_PLAIN_DELTAS = re.compile(b"(?:%b)++" % _PLAIN).fullmatch


@dataclass(slots=True, eq=False)
class _Block:
    """A thinking or tool block that has begun. Its deltas are kept under itself."""

    tool: bool
    id: str | None = None
    name: str = ""
    input: Any = None  # as the start gave it; deltas replace it


class MessagesReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = (
        "_calls",
        "_facts",
        "_hiding",
        "_kept",
        "_model",
        "_open",
        "_outcome",
        "_problem",
        "_stored",
        "_usage",
        "response_id",
    )

    def __init__(self, *, hiding: bool = False) -> None:
        self.response_id: str | None = None
        self._hiding = hiding  # calls of injected tools are somebody else's to tell
        self._facts: list[Fact] = []
        self._model: Any = None  # as the start gave it
        self._usage: dict[str, Any] | None = None
        self._open: dict[Any, _Block] = {}  # by index
        self._calls: list[_Block] = []
        self._kept = Kept()
        self._stored: set[str] = set()  # ids that have been told
        self._outcome: TurnOutcome = "cut"
        self._problem: tuple[str | None, str | None] = (None, None)

    def ended(self) -> bool:
        return self._outcome != "cut"

    @property
    def plain(self) -> Plain:
        return _PLAIN_DELTAS

    def read(self, block: bytes) -> bytes:
        if not _PLAIN_DELTA(block):
            self.event(block)
        return block

    def event(self, block: bytes) -> tuple[str, Mapping[str, Any]]:
        """Reads a block that is to be decoded: what kind of event it is, and the event. ("", {}) for no event."""
        said = parse_block(block)
        if not said.data:
            return "", {}
        event = decoded(said.data)
        if isinstance(event, dict):
            kind = _kind(said.name, event)
            self._take(kind, event)
            return kind, event
        if said.name == b"error":
            self._fail({})
            return "error", {}
        self._facts.append(Unreadable("an event of the stream is no JSON object"))
        return "", {}

    @property
    def usage(self) -> Mapping[str, Any]:
        """What is known of the turn's usage up to now."""
        return self._usage or {}

    def held(self) -> bytes:
        return b""  # `message_stop` or an error ends a turn, and nothing else may

    def facts(self) -> tuple[Fact, ...]:
        if not self._facts:
            return ()
        facts, self._facts = tuple(self._facts), []
        return facts

    def end(self) -> Turn:
        for block in self._open.values():
            self._think(block)
        for call in self._calls:
            written = self._kept.take(call)
            arguments = tool_input(written) if written else call.input
            self._facts.append(
                ToolUse(response_id=self.response_id, call_id=call.id, tool=call.name, input=arguments),
            )
        if self._usage is not None:
            partial = self._outcome != "complete"
            self._facts.append(token_usage(self._usage, self.response_id, model=self._model, partial=partial))
        error_type, message = self._problem
        return Turn(outcome=self._outcome, response_id=self.response_id, error_type=error_type, error_message=message)

    def _take(self, kind: str, event: Mapping[str, Any]) -> None:
        match kind:
            case "content_block_delta":
                self._grow(index_of(event), mapping(event.get("delta")))
            case "content_block_start":
                self._start(index_of(event), mapping(event.get("content_block")))
            case "content_block_stop":
                self._stop(index_of(event))
            case "message_start":
                message = mapping(event.get("message"))
                self.response_id = text(message.get("id")) or None
                self._model = message.get("model")
                self._use(message.get("usage"))
                self._store(container_ids(message))
            case "message_delta":
                self._use(event.get("usage"))
                self._store(container_ids(mapping(event.get("delta"))))
            case "message_stop":
                self._outcome = "complete"
            case "error":
                self._fail(event)

    def _start(self, index: int, block: Mapping[str, Any]) -> None:
        self._stop(index)
        kind = text(block.get("type"))
        if kind == "thinking":
            started = self._open[index] = _Block(tool=False)
            self._kept.add(started, text(block.get("thinking")))
        elif kind in TOOL_BLOCKS:
            if self._hiding and kind == "tool_use" and is_ours(text(block.get("name"))):
                return
            call = _Block(True, text(block.get("id")) or None, text(block.get("name")), block.get("input"))
            self._open[index] = call
            self._calls.append(call)
        else:
            self._store(file_ids(block))

    def _grow(self, index: int, delta: Mapping[str, Any]) -> None:
        block = self._open.get(index)
        if block is not None:
            self._kept.add(block, text(delta.get("partial_json" if block.tool else "thinking")))

    def _stop(self, index: int) -> None:
        block = self._open.pop(index, None)
        if block is not None:
            self._think(block)

    def _think(self, block: _Block) -> None:
        """A block is over, or will not go on: what came of its thinking is kept."""
        if not block.tool and (content := self._kept.take(block)):
            self._facts.append(Thought(content=content, source="thinking"))

    def _use(self, usage: object) -> None:
        if isinstance(usage, dict):
            known = {name: value for name, value in usage.items() if value is not None}
            self._usage = {**(self._usage or {}), **known}

    def _store(self, ids: Iterable[str]) -> None:
        new = [one for one in ids if one not in self._stored]
        if new:
            self._stored.update(new)
            self._facts.append(StoredIds(tuple(new)))

    def _fail(self, event: Mapping[str, Any]) -> None:
        self._outcome = "failed"
        self._problem = failure(event)


def _kind(name: bytes | None, event: Mapping[str, Any]) -> str:
    """What an event is. The SDKs go by the name for errors; the others say the same in `type`, some only there."""
    if name == b"error":
        return "error"
    return text(event.get("type")) or (name or b"").decode("utf-8", "replace")


def index_of(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else -1
