"""Streams of the Responses API as its reference describes them, made from the items of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


def block(event: Mapping[str, Any], *, named: bool = True) -> bytes:
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {text}\n\n".encode()


def stream_of(response: Json, *, pieces: int = 3) -> list[bytes]:
    """The whole stream of a response, an event a block; texts come in pieces of so many characters."""
    events = [{**event, "sequence_number": number} for number, event in enumerate(_events(response, pieces))]
    return [block(event) for event in events]


def response(items: Sequence[Json], status: str = "completed", **members: Any) -> Json:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 150,
    }
    whole = {"id": "resp_1", "object": "response", "status": status, "output": list(items), "usage": usage}
    return {**whole, "error": None, "service_tier": "default", **members}


def _events(whole: Json, pieces: int) -> Iterator[Json]:
    opened = {**whole, "status": "in_progress", "output": [], "usage": None, "error": None}
    yield {"type": "response.created", "response": opened}
    yield {"type": "response.in_progress", "response": opened}
    for index, item in enumerate(whole["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _empty(item)}
        for kind, place, text in _texts(item):
            for at in range(0, len(text), pieces):
                delta = text[at : at + pieces]
                yield {"type": kind, "item_id": item["id"], "output_index": index, **place, "delta": delta}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _empty(item: Json) -> Json:
    members = {"content": [], "summary": [], "arguments": "", "input": "", "code": ""}
    return {name: members.get(name, value) for name, value in item.items()}


def _texts(item: Json) -> Iterator[tuple[str, Json, str]]:
    for number, part in enumerate(item.get("summary", ())):
        yield "response.reasoning_summary_text.delta", {"summary_index": number}, part["text"]
    for number, part in enumerate(item.get("content", ())):
        yield "response.output_text.delta", {"content_index": number}, part["text"]
    kinds = {
        "arguments": "response.function_call_arguments.delta",
        "input": "response.custom_tool_call_input.delta",
        "code": "response.code_interpreter_call_code.delta",
    }
    for name, kind in kinds.items():
        if name in item:
            yield kind, {}, item[name]


# -- answers as hypothesis draws them ------------------------------------------------------------------

_texts_drawn = st.text(max_size=12)
_names = st.text(alphabet="abc_-XYZ019", min_size=1, max_size=8)


def _message(text: str, phase: str | None) -> Json:
    item: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return item if phase is None else {**item, "phase": phase}


_items = st.one_of(
    st.builds(_message, _texts_drawn, st.sampled_from([None, "commentary", "final_answer"])),
    st.builds(
        lambda texts: {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in texts]},
        st.lists(_texts_drawn, max_size=3),
    ),
    st.builds(
        lambda name, arguments: {"type": "function_call", "name": name, "arguments": arguments},
        _names,
        st.one_of(_texts_drawn, st.dictionaries(_names, st.integers() | _texts_drawn, max_size=2).map(json.dumps)),
    ),
    st.builds(
        lambda name, text: {"type": "custom_tool_call", "name": name, "input": text},
        _names,
        _texts_drawn,
    ),
    st.builds(lambda code: {"type": "code_interpreter_call", "code": code, "container_id": "cntr_1"}, _texts_drawn),
    st.just({"type": "web_search_call", "action": {"type": "search", "query": "q"}}),
)


def _with_ids(items: list[Json]) -> list[Json]:
    numbered = []
    for number, item in enumerate(items):
        call = {"call_id": f"call_{number}"} if "name" in item else {}
        numbered.append({"id": f"item_{number}", "status": "completed", **call, **item})
    return numbered


outputs = st.lists(_items, max_size=6).map(_with_ids)
"""What a model answered: messages, thoughts and calls in any order."""
