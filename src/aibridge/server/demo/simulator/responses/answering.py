"""Answer the Responses and Conversations routes."""

from aibridge.server.demo.simulator.desk import Desk, refuse_what_was_asked, require
from aibridge.server.demo.simulator.errors import Failure
from aibridge.server.demo.simulator.exchange import Answer, Ids
from aibridge.server.demo.simulator.json_values import JsonObject, event
from aibridge.server.demo.simulator.plan import Plan, Speech, plan_for
from aibridge.server.demo.simulator.responses.reading import items_of, question_of
from aibridge.server.demo.simulator.responses.storage import Storage, listed
from aibridge.server.demo.simulator.responses.streaming import events_of
from aibridge.server.demo.simulator.responses.wording import response_of, sealed_text, usage_of
from aibridge.server.demo.simulator.tokens import tokens_of_size
from aibridge.server.demo.simulator.wishes import wishes_of


class ResponsesApi:
    """The routes under ``/responses`` and ``/conversations``, with what they store."""

    __slots__ = ("_storage",)

    def __init__(self, ids: Ids) -> None:
        self._storage = Storage(ids)

    def create(self, body: JsonObject, size: int, desk: Desk) -> Answer:
        require(body, "model")
        history = self._storage.history(body)
        own = items_of(body.get("input"))
        items = [*history, *own]
        question = question_of(body, items, size)
        wishes = wishes_of(question.prompt, question.model)
        streaming = body.get("stream") is True
        refuse_what_was_asked(wishes, streaming=streaming)
        plan = plan_for(question, wishes)
        response = response_of(plan, body, items, size, ids=desk.ids, created=desk.now)
        if wishes.interruption is None:
            self._storage.keep(body, response, history, own)
        if not streaming:
            return desk.whole(response, wishes)
        events = [event(each, named=True) for each in events_of(response)]
        return desk.stream(response, events, wishes, _overloaded)

    def compact(self, body: JsonObject, size: int, desk: Desk) -> Answer:
        """Codex compacts a long conversation with this: the user's messages stay, the rest becomes one sealed item."""
        require(body, "model")
        items = [*self._storage.history(body), *items_of(body.get("input"))]
        kept = [item for item in items if item.get("role") == "user"]
        summary = f"{len(items) - len(kept)} items, simulated to be compacted"
        sealed = {"id": desk.ids("cmp_"), "type": "compaction", "encrypted_content": sealed_text(summary)}
        return desk.whole(
            {
                "id": desk.ids("resp_"),
                "object": "response.compaction",
                "created_at": desk.now,
                "output": [*kept, sealed],
                "usage": usage_of(Plan((Speech(summary),)), body, items, size),
            }
        )

    def count(self, body: JsonObject, size: int, desk: Desk) -> Answer:
        self._storage.history(body)
        return desk.whole({"object": "response.input_tokens", "input_tokens": tokens_of_size(size)})

    def retrieve(self, response_id: str, desk: Desk) -> Answer:
        return desk.whole(self._storage.response(response_id).response)

    def delete(self, response_id: str, desk: Desk) -> Answer:
        return desk.whole(self._storage.delete_response(response_id))

    def input_items(self, response_id: str, desk: Desk) -> Answer:
        return desk.whole(listed(self._storage.response(response_id).items))

    def cancel(self, response_id: str, desk: Desk) -> Answer:
        """Every answer here is finished at once, so that there is never anything left to cancel."""
        response = self._storage.response(response_id).response
        if response["background"] is not True:
            raise Failure(400, "Cannot cancel a synchronous response.")
        return desk.whole(response)

    def create_conversation(self, body: JsonObject, _size: int, desk: Desk) -> Answer:
        return desk.whole(self._storage.create_conversation(body, desk.now))

    def conversation(self, conversation_id: str, desk: Desk) -> Answer:
        return desk.whole(self._storage.conversation(conversation_id).conversation)

    def update_conversation(self, conversation_id: str, body: JsonObject, desk: Desk) -> Answer:
        return desk.whole(self._storage.update_conversation(conversation_id, body))

    def delete_conversation(self, conversation_id: str, desk: Desk) -> Answer:
        return desk.whole(self._storage.delete_conversation(conversation_id))

    def conversation_items(self, conversation_id: str, desk: Desk) -> Answer:
        return desk.whole(listed(self._storage.conversation(conversation_id).items))


def _overloaded(sent: int) -> bytes:
    return event(
        {
            "type": "error",
            "code": "server_is_overloaded",
            "message": "Overloaded (simulated)",
            "param": None,
            "sequence_number": sent,
        },
        named=True,
    )
