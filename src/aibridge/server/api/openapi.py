"""The OpenAPI document of what there is. The shapes are those that the answers are made through."""

from __future__ import annotations

from typing import Any

import msgspec

from aibridge import __version__
from aibridge.server.api import shapes
from aibridge.server.api.asked import MOST, USUAL
from aibridge.server.filters import NAMES, STATES

_PROBLEMS = {
    400: "The question cannot be read.",
    401: "There is no key or token, or it opens nothing.",
    403: "The key's scopes do not allow it.",
    429: "Too many bad keys came from the address.",
    503: "The database cannot answer at the moment.",
}
_TEXTS = {
    "q": "Filters as `name:value` words, with the names of the parameters below; `me` is whoever asks.",
    "initiator": "A user's name or id; `me`.",
    "provider": "A type of provider, or the name of one.",
    "session": "The id of a session.",
    "started_after": "RFC 3339, a day, or how long ago (`24h`).",
    "started_before": "RFC 3339, a day, or how long ago (`24h`).",
}


def document() -> dict[str, Any]:
    answers = (shapes.Interceptions, shapes.Interception, shapes.Providers, shapes.McpServers, shapes.Problem)
    (page, one, providers, servers, problem), components = msgspec.json.schema_components(
        answers, ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "aibridge", "version": __version__, "summary": "What was recorded of requests to models."},
        "servers": [{"url": "/api/v2/aibridge"}],
        "security": [{"key": []}],
        "paths": {
            "/interceptions": {"get": _operation("The interceptions that meet all filters", page, problem, _listing())},
            "/interceptions/{id}": {
                "get": _operation("One interception", one, problem, [_id()], {404: "There is none."})
            },
            "/providers": {"get": _operation("Providers, their keys and circuits", providers, problem, [])},
            "/mcp": {"get": _operation("The MCP servers that are for whoever asks", servers, problem, [])},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the gateway, or a token of its identity provider.",
                }
            },
        },
    }


def _operation(
    summary: str,
    answer: dict[str, Any],
    problem: dict[str, Any],
    parameters: list[dict[str, Any]],
    more: dict[int, str] | None = None,
) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": problem}}
    refusals = sorted({**_PROBLEMS, **(more or {})}.items())
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Found.", "content": {"application/json": {"schema": answer}}},
            **{str(status): {"description": text, "content": content} for status, text in refusals},
        },
    }


def _listing() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}
    return [
        _parameter("q"),
        *(_parameter(name, {"type": "string", "enum": STATES} if name == "state" else None) for name in NAMES),
        _parameter("limit", limit),
        _parameter("after_id"),
    ]


def _parameter(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    told = {"description": _TEXTS[name]} if name in _TEXTS else {}
    return {"name": name, "in": "query", **told, "schema": schema or {"type": "string"}}


def _id() -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
