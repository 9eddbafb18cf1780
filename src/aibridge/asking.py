"""Asks the provider for one turn: which key, which headers, where to. The interceptor and passthrough go out by it.

The rule: nothing of an answer has gone to the client while a turn is still being asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aibridge.errors import Header
from aibridge.ports import Identity, OpenUpstream, Purpose, Upstream, UpstreamRequest, UpstreamTimeouts
from aibridge.providers.credential import Credential
from aibridge.providers.headers import upstream_headers
from aibridge.routes import Route, upstream_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What all turns of one request have in common. `scope` is the request that passthrough tells the provider of."""

    route: Route
    identity: Identity
    method: str
    purpose: Purpose
    streaming: bool = False  # a whole answer is written before its first byte
    body_was_encoded: bool = False
    scope: Mapping[str, Any] | None = field(default=None, repr=False)


class Asking:
    """The turns of one request. `credential` is the one that serves: the chosen one, or that of the last turn."""

    __slots__ = ("_question", "_upstream", "credential")

    def __init__(self, upstream: Upstream, question: Question, credential: Credential) -> None:
        self._upstream = upstream
        self._question = question
        self.credential = credential

    def turn(self, body: bytes) -> OpenUpstream:
        """Sends `body`; to be entered for the answer. Raises: Refused, when there is no URL to send it to."""
        question = self._question
        provider = question.route.provider
        url = upstream_url(question.route, question.identity.query)
        request = UpstreamRequest(question.method, url, self._headers(), body, question.purpose)
        first_byte = provider.first_byte_timeout if question.streaming else provider.blocking_first_byte_timeout
        timeouts = UpstreamTimeouts(provider.connect_timeout, first_byte, provider.stall_timeout)
        if provider.platform is not None:
            path = question.route.upstream_url_path
            return provider.platform.open(self._upstream, request, timeouts, path, self._serve)
        return self._upstream.open(request, timeouts)

    def _serve(self, credential: Credential) -> None:
        self.credential = credential

    def _headers(self) -> list[Header]:
        question = self._question
        return upstream_headers(
            question.identity.headers,
            provider=question.route.provider,
            credential=self.credential,
            actor=question.identity.actor,
            bridged=question.route.bridged,
            scope=question.scope,
            body_was_encoded=question.body_was_encoded,
        )
