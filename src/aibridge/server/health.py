"""`/healthz`: the process serves. `/readyz`: it may be sent requests; else it says why not. Nobody signs in for either."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aibridge.server.http.asgi import Application, Receive, Scope, Send

# Names of what is not ready, as a load balancer's log shows them; no addresses, no texts of the database.
WhyNot = Callable[[], str | None]


def health(version: str) -> Application:
    body = msgspec.json.encode({"status": "ok", "version": version})

    async def healthz(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  an application's arguments
        await _answer(scope, send, 200, body)

    return healthz


class Draining:
    """Told once that the server is about to end."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False

    def __call__(self) -> str | None:
        return "draining" if self.begun else None


def readiness(*checks: WhyNot, warnings: tuple[WhyNot, ...] = ()) -> Application:
    """Ready when no check gives a reason; what `warnings` give is said beside."""

    async def readyz(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  an application's arguments
        reasons = [reason for check in checks if (reason := check()) is not None]
        body: dict[str, str | list[str]] = (
            {"status": "not ready", "reasons": reasons} if reasons else {"status": "ready"}
        )
        warned = [warning for check in warnings if (warning := check()) is not None]
        if warned:
            body["warnings"] = warned
        await _answer(scope, send, 503 if reasons else 200, msgspec.json.encode(body))

    return readyz


async def _answer(scope: Scope, send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if scope["method"] not in ("GET", "HEAD"):
        status, body = 405, b'{"status":"method not allowed"}'
        headers.append((b"allow", b"GET, HEAD"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
