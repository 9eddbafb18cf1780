"""Asks the provider for one turn: which key, which headers, where to. The interceptor and passthrough go out by it.

The rule: nothing of an answer has gone to the client while a turn is still being asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from aibridge.asking.attempts import Attempts
from aibridge.asking.otherwise import Otherwise
from aibridge.asking.states import ProviderStates
from aibridge.dialects.base import Turn
from aibridge.errors import Header
from aibridge.ports import Identity, OpenUpstream, Purpose, Upstream, UpstreamRequest, UpstreamTimeouts
from aibridge.providers.credential import Credential
from aibridge.providers.headers import upstream_headers
from aibridge.routes import Route, upstream_url

__all__ = ["Asking", "Elsewhere", "ProviderStates", "Question"]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What all turns of one request have in common. `scope` is the request that passthrough tells the provider of.

    A struct, since each request makes one: it takes a tenth of a frozen dataclass's time.
    """

    route: Route
    identity: Identity
    method: str
    purpose: Purpose
    streaming: bool = False  # a whole answer is written before its first byte
    body_was_encoded: bool = False
    scope: Mapping[str, Any] | None = None

    def __repr__(self) -> str:  # a credential of the user's own may be in the scope
        return f"Question({self.method} {self.route.template})"


class Elsewhere(msgspec.Struct, frozen=True):
    """Where else a question may be asked: the same route of another provider, with the gateway's own credential."""

    route: Route
    model: str
    credential: Credential


class Asking:
    """The turns of one request. Where there is one key, no retry and no breaker, it goes straight out."""

    __slots__ = ("_attempts", "_credential", "_question", "_state", "_states", "_upstream", "served_by")

    def __init__(
        self, upstream: Upstream, question: Question, credential: Credential, states: ProviderStates | None = None
    ) -> None:
        self._upstream = upstream
        self._question = question
        self._credential = credential
        self._states = states
        self._state = states.of(question.route.provider.name) if states is not None else None
        self._attempts: Attempts | None = None
        self.served_by: str | None = None
        """The name of the provider that is asked in the place of the question's own, from then on."""

    @property
    def credential(self) -> Credential:
        """The one that serves: the chosen one, or that of the last turn."""
        return self._credential if self._attempts is None else self._attempts.credential

    def turn(self, body: bytes) -> OpenUpstream:
        """Asks with `body`; to be entered for the answer. Raises: Refused, when there is no URL to send it to.

        Entering it raises Refused while the circuit breaker is open, and KeysExhausted when no key is left.
        """
        if self._state is None:
            return self._sent(body, self._credential, 0)
        question = self._question
        self._attempts = Attempts(
            partial(self._sent, body),
            self.credential,
            self._state,
            self._state.keys_of(question.route.provider),
            endpoint=question.route.template,
            model=question.purpose.model,
        )
        return self._attempts

    def turn_or_otherwise(self, body: bytes, otherwise: Callable[[], bytes], elsewhere: Elsewhere) -> OpenUpstream:
        """The same; where that fails, the other provider is asked with what `otherwise` gives, for all further turns."""
        return Otherwise(self.turn(body), lambda: self._at(elsewhere).turn(otherwise()))

    def failed(self, turn: Turn) -> None:
        """The provider said in the answer to the last turn that it failed."""
        if self._attempts is not None:
            self._attempts.failed_in_reply(turn)

    def _at(self, elsewhere: Elsewhere) -> Asking:
        route, name = elsewhere.route, elsewhere.route.provider.name
        purpose = replace(self._question.purpose, provider_name=name, model=elsewhere.model)
        self._question = replace(self._question, route=route, purpose=purpose)
        self._credential, self._attempts = elsewhere.credential, None
        self._state = self._states.of(name) if self._states is not None else None
        self.served_by = name
        return self

    def _sent(self, body: bytes, credential: Credential, attempt: int) -> OpenUpstream:
        question = self._question
        provider = question.route.provider
        url = upstream_url(question.route, question.identity.query)
        purpose = replace(question.purpose, attempt=attempt) if attempt else question.purpose
        request = UpstreamRequest(question.method, url, self._headers(credential), body, purpose, provider.link)
        first_byte = provider.first_byte_timeout if question.streaming else provider.blocking_first_byte_timeout
        timeouts = UpstreamTimeouts(provider.connect_timeout, first_byte, provider.stall_timeout)
        if provider.addressed is not None:
            request = provider.addressed(request, question.route.upstream_url_path)
        if provider.platform is not None:
            path = question.route.upstream_url_path
            return provider.platform.open(self._upstream, request, timeouts, path, self._serve)
        return self._upstream.open(request, timeouts)

    def _serve(self, credential: Credential) -> None:
        self._credential = credential
        if self._attempts is not None:
            self._attempts.credential = credential

    def _headers(self, credential: Credential) -> list[Header]:
        question = self._question
        return upstream_headers(
            question.identity.headers,
            provider=question.route.provider,
            credential=credential,
            actor=question.identity.actor,
            bridged=question.route.bridged,
            scope=question.scope,
            body_was_encoded=question.body_was_encoded,
        )
