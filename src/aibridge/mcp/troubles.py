"""What goes wrong with servers, in words: for models, for the status, for log lines. No secret and no payload is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, PARSE_ERROR, REQUEST_TIMEOUT
from pydantic import ValidationError

from aibridge.mcp import answers
from aibridge.mcp.answers import BROKE_OFF, TOO_LARGE
from aibridge.mcp.authorization import NotAuthorized
from aibridge.mcp.offers import Unlistable

_LONGEST = 200  # characters of what a server says


class Unavailable(Exception):
    """A server cannot be asked now. The text says why, in words for a model."""

    def __init__(self, why: str, *, personal: bool = False) -> None:
        super().__init__(why)
        self.personal = personal  # it is this actor who is refused; others may not be


def unavailable(error: BaseException, hidden: Callable[[str], str] = str) -> Unavailable:
    """What ended a connection, or kept it from being made."""
    for inner in _innermost(error):
        if isinstance(inner, MCPError) and inner.code == answers.NOT_AUTHORIZED:
            return Unavailable(hidden(inner.message), personal=True)
        if isinstance(inner, NotAuthorized):
            return Unavailable(str(inner), personal=True)
    return Unavailable(in_words(next(_innermost(error)), hidden))


def in_words(error: BaseException, hidden: Callable[[str], str] = str) -> str:
    """`hidden` takes out of what the server said what nobody is to read."""
    match error:
        case MCPError():
            return _of_the_sdk(error) or shortened(hidden(error.message)) or "it answered with an error"
        case Unavailable() | Unlistable():
            return str(error)
        case ValidationError():
            return "its answer is not valid MCP"
        case httpx2.HTTPStatusError():
            return f"the server answered {error.response.status_code}"
        case httpx2.TransportError():
            return "no connection"
        case TimeoutError():
            return "it did not answer in time"
        case OSError():
            return f"it cannot be started ({error.strerror})"
    return f"{type(error).__name__} in the MCP client"


def _of_the_sdk(error: MCPError) -> str | None:
    """What the SDK reports as if the server had said it; its own words quote the answer."""
    if error.code == PARSE_ERROR:
        return next(
            (words for words in (TOO_LARGE, BROKE_OFF) if words in error.message), "its answer is not valid MCP"
        )
    if error.code == CONNECTION_CLOSED:
        if error.message.startswith("SSE stream failed"):  # its bound is the only thing that it checks there
            return TOO_LARGE
        return BROKE_OFF if error.message.startswith("SSE stream") else "the connection ended"
    return "it did not answer in time" if error.code == REQUEST_TIMEOUT else None


def ended(error: MCPError) -> bool:
    """Whether it is the connection that is over, and not only this one answer."""
    return error.code == CONNECTION_CLOSED and not error.message.startswith("SSE stream")


def shortened(text: str) -> str:
    """A line of a server's, for a line of ours."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: _LONGEST * 4]).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."


def _innermost(error: BaseException) -> Iterator[BaseException]:
    """Task groups wrap what went wrong, each once more."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _innermost(inner)
    else:
        yield error
