"""Responses and conversations that the provider was asked to store.

Bounded: the oldest are forgotten beyond ``_MOST`` of each, so that a demo can run for days.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

from aibridge.server.demo.simulator.errors import Failure
from aibridge.server.demo.simulator.exchange import Ids
from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_objects, as_text

_MOST = 1000

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response and the whole input that led to it, what earlier responses brought included."""

    response: JsonObject
    items: list[JsonObject]
    own_items: list[JsonObject]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Items that outlive one response."""

    conversation: JsonObject
    items: list[JsonObject]


class Storage:
    """What was stored, by id. An id that is not there is a `Failure` with status 404."""

    __slots__ = ("_conversations", "_ids", "_responses")

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._responses: dict[str, StoredResponse] = {}
        self._conversations: dict[str, Conversation] = {}

    def history(self, body: JsonObject) -> list[JsonObject]:
        """The items that a request continues: of its previous response, or of its conversation."""
        previous = as_text(body.get("previous_response_id"))
        if previous:
            stored = self.response(previous, param="previous_response_id")
            return [*stored.items, *as_objects(stored.response["output"])]
        conversation = _conversation_id(body)
        return list(self.conversation(conversation).items) if conversation else []

    def keep(self, body: JsonObject, response: JsonObject, history: list[JsonObject], own: list[JsonObject]) -> None:
        """Store a response, unless the request said not to, and continue its conversation."""
        own = [item if item.get("id") else {"id": self._ids("msg_"), **item} for item in own]
        if body.get("store") is not False:
            _put(self._responses, as_text(response["id"]), StoredResponse(response, [*history, *own], own))
        conversation = _conversation_id(body)
        if conversation:
            held = self.conversation(conversation)
            items = [*held.items, *own, *as_objects(response["output"])]
            self._conversations[conversation] = replace(held, items=items)

    def response(self, response_id: str, param: str | None = None) -> StoredResponse:
        if response_id not in self._responses:
            code = "previous_response_not_found" if param else None
            raise Failure(404, f"Response with id '{response_id}' not found.", code=code, param=param)
        return self._responses[response_id]

    def delete_response(self, response_id: str) -> JsonObject:
        self.response(response_id)
        del self._responses[response_id]
        return {"id": response_id, "object": "response", "deleted": True}

    def create_conversation(self, body: JsonObject, created: int) -> JsonObject:
        conversation: JsonObject = {
            "id": self._ids("conv_"),
            "object": "conversation",
            "created_at": created,
            "metadata": as_object(body.get("metadata")),
        }
        items: list[JsonObject] = [{"id": self._ids("msg_"), **item} for item in as_objects(body.get("items"))]
        _put(self._conversations, as_text(conversation["id"]), Conversation(conversation, items))
        return conversation

    def conversation(self, conversation_id: str) -> Conversation:
        if conversation_id not in self._conversations:
            raise Failure(404, f"Conversation with id '{conversation_id}' not found.")
        return self._conversations[conversation_id]

    def update_conversation(self, conversation_id: str, body: JsonObject) -> JsonObject:
        held = self.conversation(conversation_id)
        changed = {**held.conversation, "metadata": as_object(body.get("metadata"))}
        self._conversations[conversation_id] = replace(held, conversation=changed)
        return changed

    def delete_conversation(self, conversation_id: str) -> JsonObject:
        self.conversation(conversation_id)
        del self._conversations[conversation_id]
        return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


def listed(items: list[JsonObject]) -> JsonObject:
    """Items as one page of a list, newest first."""
    data = list(reversed(items))
    first, last = (data[0].get("id"), data[-1].get("id")) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False}


def _conversation_id(body: JsonObject) -> str:
    conversation = body.get("conversation")
    return as_text(conversation) or as_text(as_object(conversation).get("id"))


def _put(into: dict[str, Held], key: str, value: Held) -> None:
    into[key] = value
    while len(into) > _MOST:
        del into[next(iter(into))]
