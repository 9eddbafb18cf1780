"""The built-in behaviour: which path is which route, whose credential it wants, and whose words its errors use.

Everything that a request can be refused for ends here as an answer in the provider's own shape.
"""

from collections.abc import Callable

import msgspec

from aibridge.server.demo.simulator.chat_completions import answering as chat_completions
from aibridge.server.demo.simulator.desk import Desk
from aibridge.server.demo.simulator.errors import Failure, Shape, error_answer
from aibridge.server.demo.simulator.exchange import Answer, Clock, HeaderPairs, Ids, Incoming
from aibridge.server.demo.simulator.json_values import JsonObject
from aibridge.server.demo.simulator.messages import answering as messages
from aibridge.server.demo.simulator.models import ListShape, model_list, one_model
from aibridge.server.demo.simulator.responses.answering import ResponsesApi
from aibridge.server.demo.simulator.routing import Handler, Route


class BuiltInProvider:
    """Answers every request that no script answers."""

    __slots__ = ("_clock", "_ids", "_routes")

    def __init__(self, *, ids: Ids, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock
        self._routes = _routes(ResponsesApi(ids))

    def answer(self, incoming: Incoming) -> Answer:
        request_id = self._ids("req_")
        shape: Shape = "anthropic" if incoming.header("anthropic-version") else "openai"
        headers = _headers(shape, request_id)
        try:
            route, in_path = self._route(incoming)
            shape = _shape_on(route, incoming)
            headers = _headers(shape, request_id)
            if route.needs_credential:
                _check_credential(incoming, shape)
            desk = Desk(ids=self._ids, now=int(self._clock()), headers=headers, pretty=shape == "openai")
            return route.handler(incoming, desk, in_path)
        except Failure as failure:
            return error_answer(failure, shape, headers, request_id)

    def _route(self, incoming: Incoming) -> tuple[Route, str]:
        for route in self._routes:
            in_path = route.id_in(incoming)
            if in_path is not None:
                return route, in_path
        raise Failure(404, f"Unknown request URL: {incoming.method} {incoming.path}.", code="unknown_url")


def _routes(responses: ResponsesApi) -> tuple[Route, ...]:
    return (
        Route("POST", "/messages", _on_body(messages.create), "anthropic", versioned=True),
        Route("POST", "/messages/count_tokens", _on_body(messages.count), "anthropic", versioned=True),
        Route("POST", "/api/event_logging/{rest}", _thanks, "anthropic", versioned=False, needs_credential=False),
        Route("POST", "/chat/completions", _on_body(chat_completions.create)),
        Route("POST", "/responses", _on_body(responses.create)),
        Route("GET", "/responses", _no_web_socket),
        Route("POST", "/responses/compact", _on_body(responses.compact)),
        Route("POST", "/responses/input_tokens", _on_body(responses.count)),
        Route("GET", "/responses/{id}", _on_id(responses.retrieve)),
        Route("DELETE", "/responses/{id}", _on_id(responses.delete)),
        Route("GET", "/responses/{id}/input_items", _on_id(responses.input_items)),
        Route("POST", "/responses/{id}/cancel", _on_id(responses.cancel)),
        Route("POST", "/conversations", _on_body(responses.create_conversation)),
        Route("GET", "/conversations/{id}", _on_id(responses.conversation)),
        Route("POST", "/conversations/{id}", _on_id_and_body(responses.update_conversation)),
        Route("DELETE", "/conversations/{id}", _on_id(responses.delete_conversation)),
        Route("GET", "/conversations/{id}/items", _on_id(responses.conversation_items)),
        Route("GET", "/models", _models),
        Route("GET", "/models/{id}", _one_model),
        Route("GET", "/_ping", _thanks, versioned=False, needs_credential=False),
    )


def _on_body(handler: Callable[[JsonObject, int, Desk], Answer]) -> Handler:
    return lambda incoming, desk, _: handler(_json(incoming), len(incoming.body), desk)


def _on_id(handler: Callable[[str, Desk], Answer]) -> Handler:
    return lambda _, desk, in_path: handler(in_path, desk)


def _on_id_and_body(handler: Callable[[str, JsonObject, Desk], Answer]) -> Handler:
    return lambda incoming, desk, in_path: handler(in_path, _json(incoming), desk)


def _models(incoming: Incoming, desk: Desk, _: str) -> Answer:
    return desk.whole(model_list(_list_shape(incoming)))


def _one_model(incoming: Incoming, desk: Desk, model_id: str) -> Answer:
    return desk.whole(one_model(_list_shape(incoming), model_id))


def _thanks(_incoming: Incoming, desk: Desk, _: str) -> Answer:
    return desk.whole({"ok": True})


def _shape_on(route: Route, incoming: Incoming) -> Shape:
    """Both providers list their models on the same path; the SDKs of one of them say a version."""
    if route.handler in {_models, _one_model} and _list_shape(incoming) == "anthropic":
        return "anthropic"
    return route.shape


def _list_shape(incoming: Incoming) -> ListShape:
    if incoming.header("anthropic-version"):
        return "anthropic"
    return "openai" if incoming.path.startswith("/v1/") else "copilot"


def _check_credential(incoming: Incoming, shape: Shape) -> None:
    bearer = (incoming.header("authorization") or "").lower().startswith("bearer ")
    if shape == "anthropic" and not bearer and not incoming.header("x-api-key"):
        raise Failure(401, "x-api-key header is required")
    if shape == "openai" and not bearer:
        raise Failure(401, "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.")


def _json(incoming: Incoming) -> JsonObject:
    try:
        body = msgspec.json.decode(incoming.body)
    except msgspec.DecodeError as malformed:
        raise Failure(400, f"The body of the request is not valid JSON: {malformed}") from malformed
    if not isinstance(body, dict):
        raise Failure(400, "The body of the request must be a JSON object.")
    return body


def _no_web_socket(incoming: Incoming, _desk: Desk, _: str) -> Answer:
    """Codex asks for a web socket first, and posts at once when it is told to with this status."""
    if (incoming.header("upgrade") or "").lower() == "websocket":
        raise Failure(426, "Use POST: the simulator speaks no web socket.")
    raise Failure(405, "Not allowed to GET on this path. Use POST.")


def _headers(shape: Shape, request_id: str) -> HeaderPairs:
    """The headers of a provider that clients read or show."""
    own = request_id.encode()
    if shape == "anthropic":
        return [
            (b"request-id", own),
            (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
            (b"anthropic-ratelimit-requests-limit", b"4000"),
            (b"anthropic-ratelimit-requests-remaining", b"3999"),
            (b"anthropic-ratelimit-requests-reset", b"2026-01-31T12:00:00Z"),
        ]
    return [
        (b"x-request-id", own),
        (b"openai-organization", b"simulator"),
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-reset-requests", b"6ms"),
    ]
