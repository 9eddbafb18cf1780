"""Answer a Chat Completions request, whole or as a stream."""

from aibridge.server.demo.simulator.chat_completions.reading import question_of
from aibridge.server.demo.simulator.chat_completions.streaming import DONE, chunks_of
from aibridge.server.demo.simulator.chat_completions.wording import completion_of
from aibridge.server.demo.simulator.desk import Desk, refuse_what_was_asked, require
from aibridge.server.demo.simulator.exchange import Answer
from aibridge.server.demo.simulator.json_values import JsonObject, as_object, event
from aibridge.server.demo.simulator.plan import plan_for
from aibridge.server.demo.simulator.wishes import wishes_of

_OVERLOADED = event(
    {
        "error": {
            "message": "Overloaded (simulated)",
            "type": "server_error",
            "param": None,
            "code": "server_is_overloaded",
        }
    },
    named=False,
)


def create(body: JsonObject, size: int, desk: Desk) -> Answer:
    require(body, "model", "messages")
    question = question_of(body, size)
    wishes = wishes_of(question.prompt, question.model)
    streaming = body.get("stream") is True
    refuse_what_was_asked(wishes, streaming=streaming)
    completion = completion_of(plan_for(question, wishes), body, size, ids=desk.ids, created=desk.now)
    if not streaming:
        return desk.whole(completion, wishes)
    include_usage = as_object(body.get("stream_options")).get("include_usage") is True
    chunks = [event(chunk, named=False) for chunk in chunks_of(completion, include_usage=include_usage)]
    return desk.stream(completion, [*chunks, DONE], wishes, lambda _sent: _OVERLOADED)
