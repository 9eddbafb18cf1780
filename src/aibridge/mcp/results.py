"""What a tool gave back, as a model can read it: text stays text, images stay images, everything else becomes a note."""

from __future__ import annotations

from collections.abc import Callable

import mcp_types as types
import msgspec

from aibridge.tools import Image, Text, ToolResult

_LONGEST_ERROR = 500  # characters on the record
_DONE = "The tool ran and returned nothing."
_NO_TEXT = "the tool failed and did not say why"


def result_of(call_id: str, result: types.CallToolResult, hidden: Callable[[str], str] = str) -> ToolResult:
    """The result of a call that the server ran; `hidden` takes out of its texts what nobody is to read."""
    content = [_part(block) for block in result.content]
    if result.structured_content is not None and not any(isinstance(part, Text) for part in content):
        content.append(Text(_json(result.structured_content)))
    content = [Text(hidden(part.text)) if isinstance(part, Text) else part for part in content]
    if not result.is_error:
        return ToolResult(call_id=call_id, content=tuple(content) or (Text(_DONE),))
    words = next((part.text for part in content if isinstance(part, Text) and part.text), _NO_TEXT)
    return ToolResult(call_id=call_id, content=tuple(content) or (Text(_NO_TEXT),), error=words[:_LONGEST_ERROR])


def failure(call_id: str, why: str) -> ToolResult:
    """The result of a call that gave none. `why` is for the model and for the record."""
    return ToolResult(call_id=call_id, content=(Text(f"The call failed: {why}"),), error=why[:_LONGEST_ERROR])


def _part(block: types.ContentBlock) -> Text | Image:
    match block:
        case types.TextContent():
            return Text(_whole(block.text))
        case types.ImageContent():
            return Image(block.mime_type, block.data)
        case types.AudioContent():
            return Text(f"[audio, {block.mime_type}, {_size(block.data)}: it cannot be shown here]")
        case types.ResourceLink():
            return Text(_link(block))
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return Text(_whole(f"[{resource.uri}]\n{resource.text}"))
        case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
            kind = resource.mime_type or "application/octet-stream"
            return Text(_whole(f"[{resource.uri}: {kind}, {_size(resource.blob)}: it cannot be shown here]"))
    raise AssertionError(f"a kind of content that the SDK has and we do not: {type(block).__name__}")


def _link(link: types.ResourceLink) -> str:
    about = " ".join(part for part in (link.title or link.name, link.description) if part)
    return _whole(f"[a resource: {link.uri}{f', {link.mime_type}' if link.mime_type else ''}] {about}".rstrip())


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4} bytes"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _whole(text: str) -> str:
    """Half a character (a lone surrogate) cannot be sent on as UTF-8."""
    return text.encode("utf-8", "replace").decode()
