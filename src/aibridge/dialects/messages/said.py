"""What one turn said, to its end: for the next request, and for the client if it was the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aibridge.dialects.messages.content import ContentBlock
from aibridge.wire.json_body import JsonObject, NotAnObject

# Where the provider stopped for lack of room, or in the midst of what it did not want to say.
_BROKEN_OFF = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One turn's content and end. `torn`: not all of it could be kept, so no history can carry it."""

    blocks: Sequence[ContentBlock]
    stop_reason: str | None
    container: str | None
    usage: Mapping[str, Any]
    torn: bool = False

    @property
    def calls(self) -> list[ContentBlock]:
        """Those of injected tools."""
        return [block for block in self.blocks if block.ours]

    @property
    def mixed(self) -> bool:
        return any(block.kind == "tool_use" and not block.ours for block in self.blocks)

    @property
    def broken_off(self) -> bool:
        return self.stop_reason in _BROKEN_OFF

    def carried(self) -> bytes:
        """The turn as `MessagesRequest.continued` takes it; empty when no request can carry it."""
        members = b'{"content":[' + b",".join(block.carried for block in self.blocks if not block.empty) + b"]"
        if self.container is not None:
            members += b',"container":' + msgspec.json.encode(self.container)
        carried = members + b"}"
        try:
            JsonObject.parse(carried)
        except NotAnObject:
            return b""
        return b"" if self.torn else carried


def last_members(holder: JsonObject, *, calls: bool, mixed: bool) -> dict[str, bytes]:
    """What differs where a reply says how it ended (a body, or a delta), if the turn with these calls is its last.

    A client that sees no call must not be told to run one.
    """
    if calls and not mixed and holder.raw("stop_reason") == b'"tool_use"':
        return {"stop_reason": b'"end_turn"'}
    return {}
