"""Runs the calls of injected tools of one interception, all of a turn at once, and tells them for the record.

The rule: every call gets exactly one result, and is told exactly once. What must not be run, takes too long, fails, or
says too much has a result that says so; the conversation goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from aibridge.dialects.base import ToolUse, Turn
from aibridge.dialects.reading import tool_input
from aibridge.errors import ToolsTookTooLong
from aibridge.ports import Clock, Identity, Toolbox
from aibridge.tool_settings import ToolSettings
from aibridge.tools import Image, Text, Tool, ToolCall, ToolResult, Toolset

_LOG = logging.getLogger("aibridge.tools")
_NOT_ANSWERED = "the answer ended without a result for this call"


class ToolCalls:
    """The calls of one interception, turn by turn."""

    __slots__ = (
        "_asked",
        "_clock",
        "_done",
        "_identity",
        "_running",
        "_settings",
        "_streaks",
        "_told",
        "_toolbox",
        "_toolset",
        "_turns",
        "_until",
        "is_last",
    )

    def __init__(
        self, toolbox: Toolbox | None, identity: Identity, toolset: Toolset, settings: ToolSettings, clock: Clock
    ) -> None:
        self._toolbox = toolbox
        self._identity = identity
        self._toolset = toolset
        self._settings = settings
        self._clock = clock
        self._turns = 0
        self._streaks: dict[tuple[str, bytes], int] = {}
        self._until: float | None = None
        self._running: Turn | None = None
        self._told: Turn | None = None
        self._asked: set[int] = set()  # of the running turn's calls, those that the toolbox was given
        self._done: dict[int, ToolResult] = {}
        self.is_last = False
        """The next turn is asked for without tools: a limit was reached."""

    def goes_on(self, turn: Turn) -> bool:
        """Whether the provider is asked again after this turn: its calls are ours alone and are to be answered."""
        return bool(turn.calls) and turn.runnable and not turn.mixed and not self.is_last

    async def run(self, turn: Turn) -> Sequence[ToolResult]:
        """The results of all calls of a runnable turn, in their order. Cancelled, it gives up those that still run."""
        self._running, self._asked, self._done = turn, set(), {}
        now = self._clock.monotonic()
        if self._until is None:
            self._until = now + self._settings.max_time
        self._turns += 1
        refusal = self._limit(turn)
        self.is_last = refusal is not None
        timeout = min(self._settings.call_timeout, max(0.0, self._until - now))
        toolbox = self._toolbox
        async with asyncio.TaskGroup() as group:
            for number, call in enumerate(turn.calls):
                tool = self._toolset.by_id.get(call.tool_id)
                why_not = refusal or call.unrunnable
                if why_not is not None or tool is None or toolbox is None:
                    self._done[number] = _failed(call, why_not or f"There is no tool {call.tool_id}.")
                else:
                    self._asked.add(number)
                    group.create_task(self._run_one(toolbox, number, tool, call, timeout))
        return [self._done[number] for number in range(len(turn.calls))]

    def check_time(self) -> None:
        """Raises: ToolsTookTooLong, when there is no time left for another turn."""
        if self._until is not None and self._clock.monotonic() >= self._until:
            raise ToolsTookTooLong(f"calling tools took longer than the {self._settings.max_time:g} s that are allowed")

    def told(self, turn: Turn, why: str | None = None) -> Sequence[ToolUse]:
        """The calls of a turn for the record, once: with what came of them, or `why` nothing did."""
        if turn is self._told:
            return ()
        self._told = turn
        if turn is not self._running:
            self._running, self._asked, self._done = turn, set(), {}
        return tuple(self._use(turn, number, call, why) for number, call in enumerate(turn.calls))

    def _use(self, turn: Turn, number: int, call: ToolCall, why: str | None) -> ToolUse:
        tool, result = self._toolset.by_id.get(call.tool_id), self._done.get(number)
        return ToolUse(
            response_id=turn.response_id,
            call_id=call.call_id,
            tool=call.tool_id if tool is None else tool.name,
            input=tool_input(call.arguments),
            injected=True,
            server=tool.server if tool is not None and number in self._asked else None,
            server_url=None if tool is None else tool.server_url,
            invocation_error=(why or call.unrunnable or _NOT_ANSWERED) if result is None else result.error,
        )

    def _limit(self, turn: Turn) -> str | None:
        """Why no more calls are run, in words for the model; None: they are."""
        streaks = {(call.tool_id, _normal(call.arguments)): 1 for call in turn.calls}
        self._streaks = {call: number + self._streaks.get(call, 0) for call, number in streaks.items()}
        rest = "No more tools can be called now: answer with what you have."
        if self._turns >= self._settings.max_turns:
            return f"This call was not run: the limit of {self._settings.max_turns} rounds of tool calls is reached. {rest}"
        if max(self._streaks.values()) >= self._settings.max_repeats:
            repeats = self._settings.max_repeats
            return f"This call was not run: the same call was made {repeats} times in a row. {rest}"
        return None

    async def _run_one(self, toolbox: Toolbox, number: int, tool: Tool, call: ToolCall, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                result = await toolbox.call(self._identity, tool, call)
        except TimeoutError:
            result = _failed(call, f"The tool did not answer within {timeout:g} s.")
        except Exception as error:  # noqa: BLE001  a host's toolbox may do anything; one bad tool ends no conversation
            _LOG.warning("a toolbox raised", extra={"server": tool.server, "cause": type(error).__name__})
            result = _failed(call, "The tool failed.")
        content = bounded(result.content, self._settings.max_result)
        self._done[number] = ToolResult(call_id=call.call_id, content=content, error=result.error)


def bounded(content: tuple[Text | Image, ...], limit: int) -> tuple[Text | Image, ...]:
    """`content` in so many bytes: texts are cut where it is too much, images left out whole, and a marker says so."""
    sizes = [_size(part) for part in content]
    if sum(sizes) <= limit:
        return content
    kept: list[Text | Image] = []
    left = limit
    for part, size in zip(content, sizes, strict=True):
        if size <= left:
            kept.append(part)
            left -= size
        elif isinstance(part, Image):
            kept.append(Text(f"[left out: an image of type {part.media_type}, {size} bytes in base64]"))
            left -= _size(kept[-1])
        else:
            begin = part.text[:left].encode("utf-8", "replace")[:left].decode("utf-8", "ignore")
            kept.append(Text(f"{begin}\n[cut here: the result is larger than the {limit} bytes that are allowed]"))
            break
        if left <= 0:
            kept.append(Text("[cut here: there is more than is allowed]"))
            break
    return tuple(kept)


def _size(part: Text | Image) -> int:
    if isinstance(part, Image):
        return len(part.data)
    return len(part.text) if part.text.isascii() else len(part.text.encode("utf-8", "replace"))


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call_id=call.call_id, content=(Text(why),), error=why)


def _normal(arguments: str) -> bytes:
    """The arguments in one spelling, so that spaces and the order of members make no difference."""
    try:
        return msgspec.json.encode(tool_input(arguments), order="deterministic")
    except (msgspec.EncodeError, RecursionError, UnicodeEncodeError):
        return arguments.encode("utf-8", "replace")
