"""Errors of the API as problem+json (RFC 9457). No detail holds a secret or somebody else's data."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aibridge.database.files import DatabaseUnusable
from aibridge.errors import Refused
from aibridge.server.api.shapes import Problem
from aibridge.server.filters import BadFilter
from aibridge.server.reading import TookTooLong

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(Problem("about:blank", HTTPStatus(status).phrase, status, detail))
    return Response(body, status, {**HEADERS, **(headers or {})}, "application/problem+json")


async def answer_to(request: Request, error: Exception) -> Response:  # noqa: ARG001  Starlette's handlers
    """The answer to whatever a page raises on purpose."""
    match error:
        case Refused():
            found = error.problem
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in found.headers}
            return problem(found.status, found.message, headers)
        case BadFilter():
            return problem(400, str(error))
        case TookTooLong():
            return problem(503, str(error))
        case DatabaseUnusable():  # its text names files of the server
            return problem(503, "the database cannot be read at the moment", {"retry-after": "1"})
        case HTTPException(status_code=404):
            return problem(404, "there is no such page")
        case HTTPException():
            return problem(error.status_code, str(error.detail), error.headers)
        case _:
            return problem(500, "internal error")


ANSWERED = (Refused, BadFilter, TookTooLong, DatabaseUnusable, HTTPException)
