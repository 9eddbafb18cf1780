"""Answer a Messages request, whole or as a stream."""

from aibridge.server.demo.simulator.desk import Desk, refuse_what_was_asked, require
from aibridge.server.demo.simulator.exchange import Answer
from aibridge.server.demo.simulator.json_values import JsonObject, event
from aibridge.server.demo.simulator.messages.reading import prompt_of, question_of
from aibridge.server.demo.simulator.messages.streaming import events_of
from aibridge.server.demo.simulator.messages.wording import message_of
from aibridge.server.demo.simulator.plan import plan_for
from aibridge.server.demo.simulator.tokens import tokens_of_size
from aibridge.server.demo.simulator.wishes import wishes_of

_OVERLOADED = event(
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded (simulated)"}}, named=True
)


def create(body: JsonObject, size: int, desk: Desk) -> Answer:
    require(body, "model", "messages", "max_tokens")
    question = question_of(body, size)
    wishes = wishes_of(question.prompt, question.model)
    streaming = body.get("stream") is True
    refuse_what_was_asked(wishes, streaming=streaming)
    message = message_of(plan_for(question, wishes), body, prompt_of(body, size), desk.ids)
    if not streaming:
        return desk.whole(message, wishes)
    events = [event(each, named=True) for each in events_of(message)]
    return desk.stream(message, events, wishes, lambda _sent: _OVERLOADED)


def count(body: JsonObject, size: int, desk: Desk) -> Answer:
    require(body, "model", "messages")
    return desk.whole({"input_tokens": tokens_of_size(size)})
