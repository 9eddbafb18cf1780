"""One bridged client request, read and authenticated: in whose name the provider is asked, and how its record begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from aibridge import client_apps
from aibridge.actor import Actor
from aibridge.attribution import identifier
from aibridge.dialects.base import Dialect, Request
from aibridge.errors import Header, Problem, Refused
from aibridge.model_names import ModelRules
from aibridge.ports import Identity
from aibridge.providers.base import Provider
from aibridge.providers.credential import CREDENTIAL_HEADERS, Credential
from aibridge.records import InterceptionRecord
from aibridge.routes import Route

_TELLING = client_apps.READ | CREDENTIAL_HEADERS | {b"content-encoding"}


class Asked(msgspec.Struct, frozen=True):
    """What an interception is made of. `telling`: see the function of that name."""

    route: Route
    dialect: Dialect
    identity: Identity
    telling: Sequence[Header]
    body: bytes
    body_was_encoded: bool = False

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"Asked(route={self.route!r}, dialect={self.dialect!r}, identity={self.identity!r}, body_was_encoded={self.body_was_encoded!r})"


def telling(headers: Sequence[Header]) -> list[Header]:
    """Those of a client's headers that say something to us, in their order.

    An agent sends twenty or more, which is too many to look through for each thing that one of them may say.
    """
    return [header for header in headers if header[0].lower() in _TELLING]


def check_rules(request: Request, model: str, actor: Actor, rules: ModelRules | None) -> None:
    """Raises: Refused, for what nobody, or not this person, may ask for."""
    if request.background:
        raise Refused(Problem(501, "background responses are not supported by this gateway; set background to false"))
    if rules is not None and not rules.allows(model, actor):
        raise Refused(Problem(403, f"the model {model[:64]!r} is not among those that you may use here"))


def attributed(request: Request, asked: Asked, key: bytes) -> tuple[Request, str | None]:
    """The request for the model that the provider knows, with the person's name in it, if it is to name one and has a
    place for that; and the name.
    """
    provider = asked.route.provider
    if provider.aliases:
        request = mapped(request, provider)
    if not provider.attributed:
        return request, None
    named = identifier(asked.identity.actor, provider.upstream_user, key=key, limit=asked.dialect.identifier_limit)
    if named is None:
        return request, None
    naming = request.attributed_to(named)
    return naming, named if naming is not request else None


def mapped(request: Request, provider: Provider) -> Request:
    """The request for the model that the provider knows; itself where that is what was asked for."""
    model = provider.model_of(request.model)
    return request if model == request.model else request.asking_model(model)


def record_of(
    asked: Asked,
    request: Request,
    model: str,
    credential: Credential,
    upstream_user: str | None,
    interception_id: str,
    now: datetime,
) -> InterceptionRecord:
    """The start of an interception. `upstream_user` is how the provider is told who asks."""
    actor, provider = asked.identity.actor, asked.route.provider
    metadata = actor.described()
    if model != request.model:
        metadata = {**metadata, "requested_model": request.model}
    caller = client_apps.caller_of(asked.telling, request.session_hint, asked.dialect.name)
    return InterceptionRecord(
        id=interception_id,
        initiator_id=actor.id,
        metadata=metadata,
        model=model,
        provider=provider.type,
        provider_name=provider.name,
        dialect=asked.dialect.name,
        route=asked.route.template,
        streaming=request.streaming,
        started_at=now,
        client=caller.client,
        client_session_id=caller.session_id,
        agent_id=caller.agent_id,
        parent_agent_id=caller.parent_agent_id,
        user_agent=caller.user_agent,
        correlating_tool_call_id=request.correlating_tool_call_id,
        credential_kind=credential.kind,
        credential_hint=credential.hint,
        upstream_user=upstream_user,
    )
