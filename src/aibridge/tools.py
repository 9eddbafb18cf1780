"""Injected tools as values: what is offered to a model, what it calls, and what came back. No I/O.

A tool's id is ours (`bmcp_<server>_<tool>`, at most 64 characters); it is looked up in an exact table, never split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

PREFIX = "bmcp_"
"""How every id of an injected tool begins. A client's tool must not, and a call that does is ours to answer."""


_MOST_BESIDE = 64  # lists of clients' tools that one set remembers to have looked at; some 150 bytes each


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool of an MCP server, as it is offered to a model."""

    id: str
    name: str  # the server's own name of it: in records and metrics
    server: str  # the configured name
    server_url: str | None = None  # None: a process of this machine
    description: str = ""
    schema: bytes = b'{"type":"object"}'  # the input schema: one JSON object, in the bytes that are sent each time


class ToolCall(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A model's call of an injected tool. `unrunnable` says in words for the model why it must not be run, or None."""

    call_id: str
    tool_id: str
    arguments: str = ""  # JSON, as the model wrote it; blank for none
    unrunnable: str | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """A part of a result that a model can read."""

    text: str


class Image(msgspec.Struct, frozen=True, gc=False):
    """A part of a result that some models can see. `data` is base64."""

    media_type: str
    data: str


class ToolResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the model is told of one call. `error` is for the record: why the call failed; None when it did not."""

    call_id: str
    content: tuple[Text | Image, ...]
    error: str | None = None


class Toolset:
    """The tools that one actor is offered: sorted by id, never changed. What a dialect writes of it is remembered.

    It lives as long as the lists that it was made from, so that the same tools cost and give the same bytes each time.
    """

    __slots__ = ("_beside", "_first", "_written", "by_id", "tools")

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools = tuple(sorted(tools, key=lambda tool: tool.id))
        self.by_id = {tool.id: tool for tool in self.tools}
        self._written: dict[str, bytes] = {}
        self._first: dict[int, Toolset] = {}
        self._beside: dict[tuple[str, int, int], int | None] = {}

    def written(self, form: str, write: Callable[[Tool], bytes]) -> bytes:
        """All tools, each as `write` puts it, joined by commas. `form` names the way of writing."""
        text = self._written.get(form)
        if text is None:
            text = self._written[form] = b",".join(map(write, self.tools))
        return text

    def beside(self, form: str, theirs: bytes, look: Callable[[bytes], int | None]) -> int | None:
        """What `look` says of a client's own list of tools: how many they are, or None where one may have our prefix.

        Agents send the same long list with every request. It is known again by its hash, which is keyed.
        """
        key = (form, len(theirs), hash(theirs))
        try:
            return self._beside[key]
        except KeyError:
            pass
        if len(self._beside) >= _MOST_BESIDE:
            self._beside.clear()
        seen = self._beside[key] = look(theirs)
        return seen

    def first(self, most: int) -> tuple[Toolset, bool]:
        """The first `most` tools, the same object each time; True when it was made now, because there are more."""
        if len(self.tools) <= most:
            return self, False
        known = self._first.get(most)
        if known is not None:
            return known, False
        made = self._first[most] = Toolset(self.tools[:most])
        return made, True


NO_TOOLS = Toolset(())
