"""The HTTP of one session: credentials go on, bounds are kept, and what fails becomes the answer to that one request.

To the SDK an exception from its HTTP client is the end of the session, with every other call on it. So none comes: a
request that could not be sent, or was answered with an error, gets a JSON-RPC error of ours, whose code says which.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import httpx2

from aibridge.egress import AddressRefused
from aibridge.mcp.authorization import Authorization, NotAuthorized

# Of the range that JSON-RPC leaves to implementations; the SDK has -32000 to -32042.
UNREACHABLE = -32090  # nothing was sent
SESSION_GONE = -32091  # refused: the server does not know our session (any more)
NOT_AUTHORIZED = -32092  # refused: 401, 403, or nobody has logged in
BAD_STATUS = -32093  # another error status; `data` is the status
BROKEN = -32094  # the connection ended under it: nobody knows whether it was done

LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of one answer: images of some megabytes pass, and fifty calls at once fit into memory."""
TOO_LARGE = "the answer is larger than what is read of one"
BROKE_OFF = "the answer broke off"
_LARGEST_ERROR = 64 * 1024
_SESSION = "mcp-session-id"


class AnswerTooLarge(httpx2.StreamError):
    """More than `LARGEST_ANSWER`. The SDK answers the request with the text."""


class AnswerBroken(httpx2.StreamError):
    """The connection ended in the midst of a body."""


class Answers(httpx2.AsyncBaseTransport):
    """Before `inner`. `failed` is told the code, and the status if there was one, of each POST that got no good answer."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, authorization: Authorization, failed: Callable[[int, int | None], None]
    ) -> None:
        self._inner = inner
        self._authorization = authorization
        self._failed = failed

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises: httpx2.TransportError: only for what is no POST; nobody waits for its answer."""
        try:
            response = await self._sent(request)
        except NotAuthorized as error:
            return self._error(NOT_AUTHORIZED, str(error))
        except httpx2.TransportError as error:
            if request.method != "POST":
                raise
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                why = str(error) if isinstance(error, AddressRefused) else "no connection"
                return self._error(UNREACHABLE, why)
            return self._error(BROKEN, "the connection broke off")
        if request.method == "POST" and response.status_code >= 400:
            return await self._refused(request, response)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()  # it was not asked for; a small one may be a large one
            return self._error(BAD_STATUS, "the answer is compressed")
        if _is_json(response):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = Bounded(response.stream)
        return response

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        await self._authorize(request)
        response = await self._inner.handle_async_request(request)
        if response.status_code in (401, 403):
            challenge, shown = response.headers.get("www-authenticate"), request.headers.get("authorization")
            if await self._authorization.refused(response.status_code, challenge, shown):
                await response.aclose()
                await self._authorize(request)
                response = await self._inner.handle_async_request(request)
        return response

    async def _authorize(self, request: httpx2.Request) -> None:
        value = await self._authorization.header()
        if value is not None:
            request.headers["authorization"] = value

    async def _refused(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """A POST that was answered with an error status. A JSON-RPC error in the body says more than the status."""
        status, body = response.status_code, await _beginning(response)
        said = _json_rpc_error(body) if _is_json(response) else None
        told = "" if said is None else str(said.get("message", ""))
        if _SESSION in request.headers and (status == 404 or (status == 400 and b"session" in body.lower())):
            return self._error(SESSION_GONE, "the server does not know the session", status)
        if status in (401, 403):
            return self._error(NOT_AUTHORIZED, f"the server answered {status}{f': {told}' if told else ''}", status)
        if said is not None:
            self._failed(BAD_STATUS, status)
            return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": said})
        return self._error(BAD_STATUS, f"the server answered {status}", status)

    def _error(self, code: int, message: str, data: int | None = None) -> httpx2.Response:
        self._failed(code, data)
        error = {"code": code, "message": message, **({} if data is None else {"data": data})}
        return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})

    async def aclose(self) -> None:
        await self._inner.aclose()


class Bounded(httpx2.AsyncByteStream):
    """A body that ends, with an exception that the SDK answers the request with, where it becomes too large."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._inner:
                size += len(part)
                if size > LARGEST_ANSWER:
                    raise AnswerTooLarge(TOO_LARGE)
                yield part
        except httpx2.TransportError:
            raise AnswerBroken(BROKE_OFF) from None

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_json(response: httpx2.Response) -> bool:
    return bool(response.headers.get("content-type", "").lower().startswith("application/json"))


async def _beginning(response: httpx2.Response) -> bytes:
    body = b""
    try:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        async for part in response.stream:
            body += part
            if len(body) >= _LARGEST_ERROR:
                break
    except httpx2.TransportError:
        pass  # the status says enough
    finally:
        await response.aclose()
    return body[:_LARGEST_ERROR]


def _json_rpc_error(body: bytes) -> dict[str, object] | None:
    try:
        error = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str):
        return error
    return None
