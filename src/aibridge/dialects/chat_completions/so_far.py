"""What a chat reply over several turns has come to: what the client saw of it, and the turns that it did not see.

The text of the turns stands with an empty line between, in streams and in whole answers, so that the client has the
same words either way. An answer that is to be JSON is not torn: a whole one has the last turn's text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from aibridge.dialects.base import Turn
from aibridge.dialects.calls import in_words, unrunnable
from aibridge.dialects.chat_completions.calls import Called
from aibridge.dialects.chat_completions.hidden_turns import HiddenTurns, SeenCall, Step, others_in
from aibridge.dialects.chat_completions.splicing import readable_object
from aibridge.dialects.reading import count, decoded, mapping
from aibridge.dialects.turns import Hidden
from aibridge.tools import ToolCall, ToolResult

SEPARATOR = "\n\n"
# With any other reason the model did not stop to have tools called: there was no room, or it was cut off.
_STOPPED_FOR_TOOLS = ("tool_calls", "stop", "function_call")
_DETAILS = "completion_tokens_details"


class ReplySoFar:
    """The turns that ended."""

    __slots__ = (
        "_after",
        "_begins",
        "_complete",
        "_details",
        "_last_message",
        "_last_text_only",
        "_last_usage",
        "_output",
        "_seen",
        "_separator",
        "_steps",
        "frame",
        "response_id",
        "text",
        "turns",
    )

    def __init__(self, after: Callable[[], str], *, is_json: bool, streamed: bool) -> None:
        self.frame: Mapping[str, bytes] = {}  # members that all chunks have alike, as the first turn's have them
        self.text = ""  # what the client has
        self.turns = 0
        self.response_id: str | None = None  # the first turn's
        self._after = after  # what the reply answers to (see `hidden_turns`)
        self._separator = "" if is_json else SEPARATOR
        self._last_text_only = is_json and not streamed
        self._complete = False
        self._begins = 0  # where the last turn's text begins
        self._steps: list[Step] = []
        self._seen: tuple[SeenCall, ...] = ()
        self._last_message = b""  # of the turn that the client sees last; b"" when it saw none, or it is not known
        self._last_usage: Mapping[str, Any] = {}
        self._output = 0  # tokens of the turns before the last one
        self._details: dict[str, int] = {}

    def separator(self) -> str:
        """What stands before the text of the turn that comes."""
        return self._separator if self.text else ""

    def ended(
        self,
        turn: Turn,
        calls: Sequence[Called],
        *,
        usage: Mapping[str, Any] | None,
        finish_reason: Any,
        said: Callable[[], tuple[bytes, str]],
    ) -> Turn:
        """A turn is over: the same with its calls. `said` is its message and the text in it (b"": too large to keep)."""
        self.turns += 1
        self.response_id = self.response_id or turn.response_id
        self._last_usage = usage or {}
        self._complete = turn.outcome == "complete"
        ours = [call for call in calls if call.ours]
        if not ours and not self._steps:
            return turn
        message, text = said()
        self._add(text)
        self._last_message = message
        self._seen = tuple(SeenCall.of(call) for call in calls if not call.ours)
        if not ours:
            return turn
        runnable = self._complete and bool(message) and finish_reason in _STOPPED_FOR_TOOLS
        tool_calls = tuple(_tool_call(call, truncated=not runnable) for call in ours)
        return replace(turn, calls=tool_calls, runnable=runnable, mixed=bool(self._seen), said=message)

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        """The results of all calls of the turn that ended."""
        if not turn.said:
            return
        messages = tuple(msgspec.Raw(message) for message in result_messages(turn, results))
        ends = 0 if self._last_text_only and not turn.mixed else len(self.text)
        self._steps.append(Step(msgspec.Raw(turn.said), messages, ends, turn.mixed))
        if not turn.mixed:
            self._last_message, self._begins, self._complete = b"", ends, False

    def goes_on(self) -> None:
        """The next turn begins, the first too."""
        self._output += count(self._last_usage.get("completion_tokens"))
        for name, number in mapping(self._last_usage.get(_DETAILS)).items():
            if isinstance(number, int) and not isinstance(number, bool):
                self._details[name] = self._details.get(name, 0) + count(number)
        self._complete = False
        self._seen = ()

    def usage_for_client(self, usage: bytes) -> bytes:
        """The last turn's usage with the output of all turns: input and cache say how large the context is."""
        found = readable_object(usage)
        changes = {
            name: str(count(decoded(found.raw(name))) + self._output).encode()
            for name in ("completion_tokens", "total_tokens")
            if name in found
        }
        details = found.raw(_DETAILS)
        if details is not None and details[:1] == b"{" and self._details:
            inner = readable_object(details)
            sums = {name: count(decoded(inner.raw(name))) + number for name, number in self._details.items()}
            changes[_DETAILS] = inner.with_members({name: str(number).encode() for name, number in sums.items()})
        return found.with_members(changes)

    def hidden(self) -> Hidden | None:
        """See `aibridge.dialects.turns.LoopingReply`."""
        if not self._steps:
            return None
        turns = HiddenTurns(
            after=self._after(),
            text=self.text,
            begins=self._begins,
            calls=self._seen,
            complete=self._complete,
            last_seen=bool(self._last_message),
            others=msgspec.Raw(others_in(self._last_message) if self._last_message else b"null"),
            steps=tuple(self._steps),
        )
        return Hidden(turns.anchors(), msgspec.json.encode(turns))

    def _add(self, text: str) -> None:
        if self._last_text_only:
            self.text = text
            return
        if text:
            self.text += self.separator()
        self._begins = len(self.text)
        self.text += text


def result_messages(turn: Turn, results: Sequence[ToolResult]) -> list[bytes]:
    """The results as messages, in the order of the calls."""
    return [
        msgspec.json.encode({"role": "tool", "tool_call_id": call.call_id, "content": _in_words(result)})
        for call, result in zip(turn.calls, results, strict=True)
    ]


def _in_words(result: ToolResult) -> str:
    words = in_words(result.content)
    # There is no member that says that a call failed: the words have to.
    return words if result.error is None else f"Error: {words.strip() or result.error}"


def _tool_call(call: Called, *, truncated: bool) -> ToolCall:
    why = unrunnable(call.written, truncated=truncated)
    return ToolCall(call_id=call.answered_as, tool_id=call.name, arguments=call.written, unrunnable=why)
