"""Passthrough routes with one rule of ours: what is counted and fetched is what a client's requests are really made of,
and what a provider stores under our central key belongs to who made it.

With one shared key every user could otherwise read every other user's stored responses and conversations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aibridge.actor import Actor
from aibridge.asked import mapped
from aibridge.dialects.base import Dialect
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.reading import decoded
from aibridge.dialects.responses import RESPONSES
from aibridge.dialects.responses.references import references_in
from aibridge.errors import InvalidRequest, Problem, Refused
from aibridge.offers import Offering
from aibridge.ports import ConversationStore, HeldFor, Identity
from aibridge.providers.base import Adaptation
from aibridge.routes import Route

_COUNTED: Mapping[Adaptation | None, Dialect] = {"count_tokens": MESSAGES, "input_tokens": RESPONSES}


async def checked(route: Route, body: bytes, actor: Actor, conversations: ConversationStore) -> None:
    """Raises Refused: 404 when the path or the body names something that this actor did not create, 400 when nobody
    can say what a body names.
    """
    if route.rule.adaptation in (None, "count_tokens"):
        return
    names = [*route.params[:1], *references_in(body)]
    await check_owner(route.provider.name, names, actor, conversations)


async def check_owner(
    provider_name: str, stored_ids: Sequence[str], actor: Actor, conversations: ConversationStore
) -> None:
    """Raises Refused (404) unless this actor created all of them. Bridged requests keep the same rule."""
    for stored in stored_ids:
        if await conversations.owner(provider_name, stored) != actor.id:
            # The same words for somebody else's and for nobody's: what exists is not told.
            raise Refused(Problem(404, f"no stored object with id {stored[:64]!r} was found"))


async def followed(route: Route, actor: Actor, conversations: ConversationStore) -> Route:
    """The route to what the provider has: a response of several turns is stored under the id of the last one."""
    if route.rule.adaptation != "stored_response" or not conversations.may_hold(actor.id):
        return route
    known = HeldFor(actor.id, route.provider.name, "responses")
    return route.below(await conversations.resolved(known, route.params[0]))


def counts(route: Route) -> bool:
    """Whether the answer is how many tokens a request has."""
    return route.rule.adaptation in _COUNTED


async def completed(route: Route, body: bytes, identity: Identity, offering: Offering) -> bytes:
    """What is to be counted, with the tools and hidden turns that the request would go upstream with.

    A body that cannot be read is the provider's to judge. Raises: Refused, where a rule of ours forbids the request.
    """
    dialect = _COUNTED[route.rule.adaptation]
    concerns, provider = offering.concerns(identity.actor.id), route.provider
    if not concerns and not provider.aliases:
        return body
    try:
        request = dialect.parse(body)
    except InvalidRequest:
        return body
    if provider.aliases:
        request = mapped(request, provider)
    if not concerns:
        return request.body()
    looping, _ = await offering.prepared(request, provider, dialect.name, identity)
    return looping.body()


def creates(route: Route, method: str) -> bool:
    """Whether the answer names what the request has just made: a conversation, or items in one."""
    return route.rule.adaptation == "conversations" or (route.rule.adaptation == "conversation" and method == "POST")


async def owned(route: Route, body: bytes, actor: Actor, conversations: ConversationStore) -> None:
    """Gives what the provider has just created to the actor: an object, or a list of them. Raises RecordingFailed."""
    created = decoded(body)
    if isinstance(created, dict):
        listed = created.get("data")
        made = [created, *(listed if isinstance(listed, list) else ())]
        ids = [one["id"] for one in made if isinstance(one, dict) and isinstance(one.get("id"), str)]
        if ids:
            await conversations.own(route.provider.name, ids, actor.id)
