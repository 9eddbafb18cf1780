"""Stream a Response object as the provider's events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming. Every event carries the next
``sequence_number``; the terminal one is ``response.completed`` or ``response.incomplete``, with the whole object.
"""

from collections.abc import Iterator

from aibridge.server.demo.simulator.json_values import JsonObject, as_objects, as_text
from aibridge.server.demo.simulator.tokens import pieces

_NO_RESULT_YET: JsonObject = {
    "status": "in_progress",
    "completed_at": None,
    "incomplete_details": None,
    "output": [],
    "usage": None,
}


def events_of(response: JsonObject) -> list[JsonObject]:
    return [{**event, "sequence_number": number} for number, event in enumerate(_events(response))]


def _events(response: JsonObject) -> Iterator[JsonObject]:
    opened = {**response, **_NO_RESULT_YET}
    yield {"type": "response.created", "response": opened}
    yield {"type": "response.in_progress", "response": opened}
    for index, item in enumerate(as_objects(response["output"])):
        yield from _item_events(index, item)
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(index: int, item: JsonObject) -> Iterator[JsonObject]:
    at: JsonObject = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "message":
            empty, filling = {**item, "content": [], "status": "in_progress"}, _text_events(at, item)
        case "reasoning":
            empty, filling = {**item, "summary": []}, _summary_events(at, item)
        case "function_call":
            empty = {**item, "arguments": "", "status": "in_progress"}
            filling = _written_events(at, "response.function_call_arguments", "arguments", as_text(item["arguments"]))
        case "custom_tool_call":
            empty = {**item, "input": "", "status": "in_progress"}
            filling = _written_events(at, "response.custom_tool_call_input", "input", as_text(item["input"]))
        case _:
            empty, filling = {**item, "status": "in_progress"}, _search_events(at)
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    yield from filling
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _text_events(at: JsonObject, item: JsonObject) -> Iterator[JsonObject]:
    for number, part in enumerate(as_objects(item["content"])):
        place = {**at, "content_index": number}
        text = as_text(part["text"])
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": "", "annotations": []}}
        for piece in pieces(text):
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        for order, annotation in enumerate(as_objects(part["annotations"])):
            cited = {"annotation_index": order, "annotation": annotation}
            yield {"type": "response.output_text.annotation.added", **place, **cited}
        yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(at: JsonObject, item: JsonObject) -> Iterator[JsonObject]:
    for number, part in enumerate(as_objects(item["summary"])):
        place = {**at, "summary_index": number}
        text = as_text(part["text"])
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
        for piece in pieces(text):
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _written_events(at: JsonObject, kind: str, filled: str, text: str) -> Iterator[JsonObject]:
    for piece in pieces(text):
        yield {"type": f"{kind}.delta", **at, "delta": piece}
    yield {"type": f"{kind}.done", **at, filled: text}


def _search_events(at: JsonObject) -> Iterator[JsonObject]:
    for state in ("in_progress", "searching", "completed"):
        yield {"type": f"response.web_search_call.{state}", **at}
