"""Read a Responses request. Source: https://platform.openai.com/docs/api-reference/responses and what Codex sends."""

from collections.abc import Iterator

from aibridge.server.demo.simulator.json_values import JsonObject, as_count, as_object, as_objects, as_text, compact
from aibridge.server.demo.simulator.question import OfferedTool, Question, joined_text, last_spoken, spoken
from aibridge.server.demo.simulator.tokens import tokens

_RESULTS = frozenset(
    {"function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output"}
)
# Items that the model made: whatever came before them is settled.
_OWN = frozenset(
    {"function_call", "custom_tool_call", "reasoning", "web_search_call", "local_shell_call", "compaction"}
)


def items_of(source: object) -> list[JsonObject]:
    """The input as items: a plain string is one message of the user."""
    if isinstance(source, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": source}]}]
    return as_objects(source)


def question_of(body: JsonObject, items: list[JsonObject], size: int) -> Question:
    """``items`` is the whole input, with what an earlier response or a conversation brings before it."""
    texts: list[str] = []
    results: list[str] = []
    everything_said: list[str] = []
    rounds = 0
    for item in items:
        if _is_own(item):
            texts, results = [], []
        elif item.get("type") in _RESULTS:
            rounds += not results
            results.append(joined_text(item.get("output")))
        elif item.get("role") == "user":
            text = spoken(joined_text(item.get("content")))
            texts.append(text)
            rounds = 0 if text else rounds
            everything_said.append(text)
    tools = as_objects(body.get("tools"))
    choice = body.get("tool_choice")
    form = as_object(as_object(body.get("text")).get("format"))
    return Question(
        model=as_text(body.get("model")),
        prompt=last_spoken(everything_said),
        prompt_is_new=bool(last_spoken(texts)),
        results=tuple(results),
        rounds=rounds,
        tools=tuple(tool for offered in tools for tool in _tools(offered, None)),
        forced_tool="any" if choice == "required" else as_text(as_object(choice).get("name")) or None,
        tools_allowed=choice != "none",
        parallel_allowed=body.get("parallel_tool_calls") is not False,
        can_search=any(as_text(tool.get("type")).startswith("web_search") for tool in tools),
        thinks=_thinks(body),
        max_tokens=as_count(body.get("max_output_tokens")),
        shape=as_object(form.get("schema")) if form.get("type") == "json_schema" else None,
        message_count=len(items),
        size=size,
    )


def known_tokens(body: JsonObject, items: list[JsonObject]) -> int:
    """The tokens that an earlier request of this conversation had already sent."""
    own_last = max((at for at, item in enumerate(items) if _is_own(item)), default=-1)
    return 0 if own_last < 0 else tokens(compact([body.get("tools"), body.get("instructions"), items[:own_last]]))


def _is_own(item: JsonObject) -> bool:
    return item.get("role") == "assistant" or item.get("type") in _OWN


def _thinks(body: JsonObject) -> bool:
    reasoning = body.get("reasoning")
    return isinstance(reasoning, dict) and reasoning.get("effort") != "none"


def _tools(tool: JsonObject, namespace: str | None) -> Iterator[OfferedTool]:
    """The tools that the client runs; a namespace holds several."""
    name = as_text(tool.get("name"))
    if tool.get("defer_loading") is True:
        return
    match tool.get("type"):
        case "function":
            yield OfferedTool(name, "json", as_object(tool.get("parameters")), namespace)
        case "custom":
            yield OfferedTool(name, "text", {}, namespace)
        case "namespace":
            for inner in as_objects(tool.get("tools")):
                yield from _tools(inner, name)
