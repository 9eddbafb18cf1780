"""Read a Messages request: what is asked, and which of it a prompt cache would hold.

Source: https://platform.claude.com/docs/en/api/messages and what Claude Code sends.
"""

from dataclasses import dataclass

from aibridge.server.demo.simulator.json_values import JsonObject, as_count, as_object, as_objects, as_text, compact
from aibridge.server.demo.simulator.question import OfferedTool, Question, joined_text, last_spoken, spoken
from aibridge.server.demo.simulator.tokens import tokens, tokens_of_size

# Tools that Anthropic defines and the client runs need no schema in the request.
_KNOWN_SCHEMAS: dict[str, JsonObject] = {
    "bash": {"properties": {"command": {"type": "string"}}, "required": ["command"]},
}
_UNCACHED = 4  # tokens behind the last cache breakpoint: what real requests with caching show


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input side of the usage, in tokens."""

    fresh: int
    cache_read: int
    cache_5m: int
    cache_1h: int


def question_of(body: JsonObject, size: int) -> Question:
    messages = as_objects(body.get("messages"))
    texts, results = _since_last_answer(messages)
    rounds = 0
    for message in messages:
        if any(_spoken_texts(message)):
            rounds = 0
        elif _results_in(message):
            rounds += 1
    choice = as_object(body.get("tool_choice"))
    kind = as_text(choice.get("type"))
    thinking = as_text(as_object(body.get("thinking")).get("type"))
    form = as_object(as_object(body.get("output_config")).get("format")) or as_object(body.get("output_format"))
    return Question(
        model=as_text(body.get("model")),
        prompt=last_spoken(joined for message in messages for joined in _spoken_texts(message)),
        prompt_is_new=bool(last_spoken(texts)),
        results=tuple(results),
        rounds=rounds,
        tools=tuple(tool for tool in map(_tool, as_objects(body.get("tools"))) if tool is not None),
        forced_tool=as_text(choice.get("name")) if kind == "tool" else ("any" if kind == "any" else None),
        tools_allowed=kind != "none",
        parallel_allowed=choice.get("disable_parallel_tool_use") is not True,
        can_search=any(as_text(tool.get("type")).startswith("web_search_") for tool in as_objects(body.get("tools"))),
        thinks=thinking in {"enabled", "adaptive"},
        max_tokens=as_count(body.get("max_tokens")),
        shape=as_object(form.get("schema")) if form.get("type") == "json_schema" else None,
        message_count=len(messages),
        size=size,
    )


def prompt_of(body: JsonObject, size: int) -> Prompt:
    """Which input would be cached: nothing without a breakpoint; else a conversation's first request writes the cache
    and each later one reads what was there before the model last spoke.
    """
    total = tokens_of_size(size)
    lifetimes = [as_object(marked.get("cache_control")).get("ttl") for marked in _marked(body)]
    if not lifetimes:
        return Prompt(total, 0, 0, 0)
    messages = as_objects(body.get("messages"))
    fixed = tokens(compact([body.get("tools"), body.get("system")]))
    spoken_last = max((at for at, each in enumerate(messages) if each.get("role") == "assistant"), default=-1)
    read = 0 if spoken_last < 0 else fixed + tokens(compact(messages[:spoken_last]))
    fresh = min(_UNCACHED, total)
    read = min(read, total - fresh)
    written = total - fresh - read
    long_lived = min(written, fixed) if "1h" in lifetimes and read == 0 else 0
    return Prompt(fresh, read, written - long_lived, long_lived)


def _marked(body: JsonObject) -> list[JsonObject]:
    """Whatever carries a cache breakpoint."""
    places = [*as_objects(body.get("tools")), *as_objects(body.get("system"))]
    for message in as_objects(body.get("messages")):
        places.extend(as_objects(message.get("content")))
    return [place for place in [body, *places] if place.get("cache_control")]


def _since_last_answer(messages: list[JsonObject]) -> tuple[list[str], list[str]]:
    """The texts and the tool results that came after the model last spoke."""
    texts: list[str] = []
    results: list[str] = []
    for message in messages:
        if message.get("role") == "assistant":
            texts, results = [], []
        elif message.get("role") == "user":
            texts.extend(_spoken_texts(message))
            results.extend(_results_in(message))
    return texts, results


def _results_in(message: JsonObject) -> list[str]:
    blocks = as_objects(message.get("content"))
    return [joined_text(block.get("content")) for block in blocks if block.get("type") == "tool_result"]


def _spoken_texts(message: JsonObject) -> list[str]:
    """The texts of a user's message; Claude Code's trailing ``system`` messages are not the user's."""
    if message.get("role") != "user":
        return []
    content = message.get("content")
    if isinstance(content, str):
        return [spoken(content)]
    return [spoken(as_text(block.get("text"))) for block in as_objects(content) if block.get("type") == "text"]


def _tool(tool: JsonObject) -> OfferedTool | None:
    """A tool that the client runs and that can be called now, or None."""
    name, kind = as_text(tool.get("name")), as_text(tool.get("type"))
    if tool.get("defer_loading") is True:
        return None
    if kind in {"", "custom"}:
        return OfferedTool(name, "json", as_object(tool.get("input_schema")))
    return OfferedTool(name, "json", _KNOWN_SCHEMAS[name]) if name in _KNOWN_SCHEMAS else None
