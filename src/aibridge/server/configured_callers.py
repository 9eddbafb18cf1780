"""Where people's own tokens are exchanged for those of MCP servers, as far as the configuration of a server says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aibridge.mcp.caller.exchange import TokenEndpoint


async def no_issuer() -> TokenEndpoint:
    """A `FindEndpoint` where no identity provider is known. Raises: ExchangeFailed."""
    from aibridge.mcp.caller.exchange import ExchangeFailed  # noqa: PLC0415  it needs an HTTP client

    raise ExchangeFailed("nothing says where tokens are exchanged: set token_endpoint")
