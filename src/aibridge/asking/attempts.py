"""One turn, asked for until there is an answer to relay: other keys, further attempts, and what the breaker learns.

The rules:
- Another attempt is made only before the first byte of an answer, and never once one is relayed.
- Other keys are tried at once, one after the other; the same key only `max_retries` times, after a wait.
- A user's own credential is never exchanged, and what its provider answers says nothing of ours: no circuit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType

from aibridge.asking.states import Keys, ProviderState
from aibridge.breaker import Circuit, Permit, Tripped
from aibridge.dialects.base import Turn
from aibridge.errors import KeysExhausted, Problem, Refused, UpstreamFailure, UpstreamUnreachable
from aibridge.notices import CircuitRefused, FailedOver, KeyTrouble, PoolExhausted, Retried
from aibridge.ports import OpenUpstream, UpstreamResponse
from aibridge.providers.credential import Credential
from aibridge.retry import LONGEST_WAIT, back_off, told_to_wait, worth_retrying

_OVERLOADED = (503, 504, 529)
# Kinds under which providers say in a stream what these statuses say before one. OpenAI's own is a `server_error`,
# told from others by its text.
_OVERLOADED_KINDS = frozenset(
    {"overloaded_error", "overloaded", "server_overloaded", "server_is_overloaded", "service_unavailable", "slow_down"}
)


class Attempts:
    """See `aibridge.ports.OpenUpstream`. `credential` is the one that serves."""

    __slots__ = (
        "_attempt",
        "_circuit",
        "_keys",
        "_model",
        "_opening",
        "_permit",
        "_place",
        "_retries",
        "_send",
        "_state",
        "credential",
    )

    def __init__(
        self,
        send: Callable[[Credential, int], OpenUpstream],
        credential: Credential,
        state: ProviderState,
        keys: Keys,
        *,
        endpoint: str,
        model: str | None,
    ) -> None:
        self._send = send
        self.credential = credential
        self._state = state
        self._keys = keys
        self._model = model
        central = credential.kind == "centralized"
        # What passes unread tells no model, and a list of models says little of how well any of them does.
        self._circuit = Circuit(endpoint, model) if central and model is not None else None
        self._place: int | None = 0 if central and keys.pooled else None
        self._permit: Permit | None = None
        self._opening: OpenUpstream | None = None
        self._attempt = 0
        self._retries = 0

    async def __aenter__(self) -> UpstreamResponse:
        """Raises: Refused while the circuit is open; KeysExhausted; what `OpenUpstream` does."""
        while True:
            self._admit()
            try:
                self._choose_key()
                self._opening = self._send(self.credential, self._attempt)
                response = await self._opening.__aenter__()
            except UpstreamFailure as error:
                if isinstance(error, KeysExhausted):
                    self._undecided()
                    raise
                self._failed()
                wait = self._wait_after_failure(error)
                if wait is None:
                    raise
            except BaseException:
                self._undecided()
                raise
            else:
                found = self._judged(response)
                if found is None:
                    return response
                await self._opening.__aexit__(None, None, None)
                if isinstance(found, KeysExhausted):
                    raise found
                wait = found
            self._attempt += 1
            if wait:
                await self._state.around.pause(wait)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, UpstreamFailure):
            self._failed()
        elif error is None:
            self._succeeded()
        else:
            self._undecided()
        assert self._opening is not None
        await self._opening.__aexit__(kind, error, traceback)

    def failed_in_reply(self, turn: Turn) -> None:
        """The provider said in its answer that it failed."""
        text = (turn.error_message or "").lower()
        if turn.error_type in _OVERLOADED_KINDS or "overloaded" in text:
            self._failed()
        else:
            self._undecided()

    # -- before an attempt -----------------------------------------------------------------------------

    def _admit(self) -> None:
        state, circuit = self._state, self._circuit
        if state.breaker is None or circuit is None:
            return
        found = state.breaker.admit(circuit, state.around.clock.monotonic())
        if isinstance(found, Permit):
            self._permit = found
            return
        refused = CircuitRefused(provider_name=state.name, endpoint=circuit.endpoint, model=circuit.model)
        state.around.observer.noticed(refused)
        raise Refused(_tripped(found))

    def _choose_key(self) -> None:
        if self._place is None:
            return
        place = self._state.key_for(self._keys, self._model)
        if place is None:
            raise self._exhausted()
        self._place, self.credential = place, self._keys.credentials[place]

    # -- after an attempt ------------------------------------------------------------------------------

    def _judged(self, response: UpstreamResponse) -> float | KeysExhausted | None:
        """None: this is the answer. A number: ask again after so many seconds. Else no key is left."""
        status = response.status
        if status < 300:
            if self._place is not None:
                self._state.serve(self._keys.fingerprints[self._place], self._model)
            return None
        if status in _OVERLOADED:
            self._failed()
        else:
            self._undecided()
        if self._place is not None and status in (401, 429):
            return self._after_resting(self._place, response)
        own_refused = self.credential.kind == "byok" and status in (401, 403)
        if own_refused or not self._may_retry() or not worth_retrying(status, response.headers):
            return None
        told = told_to_wait(response.headers, self._state.around.clock.now())
        return self._retried(str(status), told)

    def _after_resting(self, place: int, response: UpstreamResponse) -> float | KeysExhausted | None:
        """The key rests from now on; the next one is asked, if there is one."""
        state, keys = self._state, self._keys
        limited = response.status == 429
        if limited:
            state.cool(keys.fingerprints[place], self._model, told_to_wait(response.headers, state.around.clock.now()))
        else:
            state.refuse(keys.fingerprints[place])
        if self._attempt < len(keys.fingerprints) + self._retries and state.key_for(keys, self._model) is not None:
            reason: KeyTrouble = "rate_limited" if limited else "refused"
            state.around.observer.noticed(FailedOver(provider_name=state.name, reason=reason))
            return 0.0
        return self._exhausted()

    def _wait_after_failure(self, error: UpstreamFailure) -> float | None:
        if not self._may_retry() or not isinstance(error, UpstreamUnreachable):
            return None  # whoever was silent for minutes is not asked again by us
        return self._retried("unreachable", None)

    def _may_retry(self) -> bool:
        state = self._state
        if self._retries >= self._keys.provider.max_retries:
            return False
        if state.breaker is None or self._circuit is None:
            return True
        return state.breaker.state(self._circuit, state.around.clock.monotonic()) == "closed"

    def _retried(self, reason: str, told: float | None) -> float | None:
        around = self._state.around
        wait = back_off(self._retries, around.randomness) if told is None else told
        if wait > LONGEST_WAIT:
            return None
        self._retries += 1
        around.observer.noticed(Retried(provider_name=self._state.name, reason=reason))
        return wait

    def _exhausted(self) -> KeysExhausted:
        state, soonest = self._state, self._state.soonest(self._keys, self._model)
        name = state.name
        reason: KeyTrouble = "refused" if soonest is None else "rate_limited"
        state.around.observer.noticed(PoolExhausted(provider_name=name, reason=reason))
        if soonest is None:
            return KeysExhausted(Problem(502, f"the provider refused all of the gateway's keys for {name}"))
        headers = ((b"retry-after", _whole_seconds(soonest)),)
        message = f"all keys of provider {name} are at their rate limits; try again later"
        return KeysExhausted(Problem(429, message, headers=headers))

    # -- what the breaker learns -----------------------------------------------------------------------

    def _succeeded(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None and self._state.breaker is not None:
            self._state.breaker.succeeded(permit, self._state.around.clock.monotonic())

    def _failed(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None and self._state.breaker is not None:
            self._state.breaker.failed(permit, self._state.around.clock.monotonic())

    def _undecided(self) -> None:
        permit, self._permit = self._permit, None
        if permit is not None and self._state.breaker is not None:
            self._state.breaker.undecided(permit)


def _tripped(tripped: Tripped) -> Problem:
    headers = ((b"retry-after", _whole_seconds(tripped.retry_after)),)
    return Problem(503, "circuit breaker is open", code="service_unavailable", headers=headers)


def _whole_seconds(seconds: float) -> bytes:
    return b"%d" % max(1, math.ceil(seconds))
