"""A toolbox whose every call is a span. Of what the model wrote, the first hundred characters of the arguments are on it."""

from __future__ import annotations

from urllib.parse import urlsplit

from aibridge.ports import Identity, Toolbox
from aibridge.tools import Tool, ToolCall, ToolResult, Toolset
from aibridge.tracing import names
from aibridge.tracing.following import Current, Intercepting, failed, failed_by, shortened

_INPUT = 100  # characters


class TracedToolbox:
    """See `aibridge.ports.Toolbox`; `current` holds the request that the running task serves."""

    __slots__ = ("_current", "_toolbox")

    def __init__(self, toolbox: Toolbox, current: Current) -> None:
        self._toolbox = toolbox
        self._current = current

    async def tools(self, identity: Identity) -> Toolset:
        return await self._toolbox.tools(identity)

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        following = self._current.get()
        if not isinstance(following, Intercepting) or not following.recording:
            return await self._toolbox.call(identity, tool, call)
        span = following.child(names.TOOL_CALL)
        span.set_attributes(
            {
                names.TOOL_SERVER: tool.server,
                names.TOOL_NAME: shortened(tool.name),
                names.TOOL_URL: _without_secrets(tool.server_url),
                names.TOOL_INPUT: call.arguments[:_INPUT].encode("utf-8", "replace").decode(),
                names.CALL_ID: shortened(call.call_id),
            }
        )
        try:
            result = await self._toolbox.call(identity, tool, call)
        except BaseException as error:
            failed_by(span, error)
            raise
        else:
            if result.error is not None:
                failed(span, "tool_error")
            return result
        finally:
            span.end()


def _without_secrets(url: str | None) -> str:
    """Where a server is, without what may open it: no user, no query. "" for a process of this machine."""
    parts = urlsplit(url or "")
    return (
        f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        if parts.hostname
        else ""
    )
