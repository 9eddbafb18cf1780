"""Passthrough routes with one rule of ours: what a provider stores under our central key belongs to who made it.

With one shared key every user could otherwise read every other user's stored responses and conversations.
"""

from __future__ import annotations

from collections.abc import Sequence

from aibridge.actor import Actor
from aibridge.dialects.reading import decoded
from aibridge.dialects.responses.references import references_in
from aibridge.errors import Problem, Refused
from aibridge.ports import ConversationStore
from aibridge.routes import Route


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
