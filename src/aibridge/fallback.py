"""The fallback of one request: which other provider may answer it, and what that one is asked.

The rule: only what went out in the gateway's own name, and names nothing that is stored at the first provider. Whoever
served the first turn of a reply serves the others.
"""

from __future__ import annotations

from aibridge.asked import Asked
from aibridge.asking import Asking, Elsewhere
from aibridge.dialects.base import Request
from aibridge.model_names import ModelRules
from aibridge.notices import FellBack
from aibridge.ports import Observer, OpenUpstream
from aibridge.providers.credential import gateways_credential


class Fallback:
    """Asks for the turns of one request; the first one elsewhere, if it must be."""

    __slots__ = ("_asking", "_begun", "_elsewhere", "_observer", "_own_model", "_own_name")

    def __init__(self, asking: Asking, asked: Asked, model: str, elsewhere: Elsewhere, observer: Observer) -> None:
        self._asking = asking
        self._elsewhere = elsewhere
        self._own_name = asked.route.provider.name
        self._own_model = model
        self._observer = observer
        self._begun = False

    def turn(self, request: Request) -> OpenUpstream:
        """See `Asking.turn`."""
        asking = self._asking
        if asking.served_by is not None:
            return asking.turn(self._there(request))
        if self._begun:
            return asking.turn(request.body())
        self._begun = True
        return asking.turn_or_otherwise(request.body(), lambda: self._fell_back(request), self._elsewhere)

    def _fell_back(self, request: Request) -> bytes:
        self._observer.noticed(FellBack(provider_name=self._own_name, to=self._elsewhere.route.provider.name))
        return self._there(request)

    def _there(self, request: Request) -> bytes:
        model = self._elsewhere.model
        return (request if model == self._own_model else request.asking_model(model)).body()


def fallback_of(
    asking: Asking, asked: Asked, request: Request, model: str, rules: ModelRules | None, observer: Observer
) -> Fallback | None:
    """None: this request stays with its own provider."""
    route = asked.route.fallback
    if route is None or asking.credential.kind != "centralized":
        return None
    credential, there = gateways_credential(route.provider), route.provider.model_of(request.model)
    if (
        credential is None
        or (rules is not None and not rules.allows(there, asked.identity.actor))
        or request.references
    ):
        return None
    return Fallback(asking, asked, model, Elsewhere(route, there, credential), observer)
