"""WebSocket upgrades are refused: there is no WebSocket mode, and clients that ask for one can do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.errors import Problem
from aibridge.providers.headers import NOSNIFF
from aibridge.reply_writer import Receive, Send


async def refuse_websocket(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """426 on Responses routes makes Codex fall back to POST at once; elsewhere 501."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    status = 426 if scope["path"].rstrip("/").endswith("/responses") else 501
    body = CHAT_COMPLETIONS.error_body(Problem(status, "WebSocket connections are not supported; use POST"), None)
    headers = [(b"content-type", b"application/json"), NOSNIFF, (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
