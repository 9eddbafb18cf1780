"""Read a Chat Completions request. Source: https://platform.openai.com/docs/api-reference/chat."""

from aibridge.server.demo.simulator.json_values import JsonObject, as_count, as_object, as_objects, as_text, compact
from aibridge.server.demo.simulator.question import OfferedTool, Question, joined_text, last_spoken, spoken
from aibridge.server.demo.simulator.tokens import tokens


def question_of(body: JsonObject, size: int) -> Question:
    messages = as_objects(body.get("messages"))
    texts: list[str] = []
    results: list[str] = []
    rounds = 0
    for message in messages:
        text = joined_text(message.get("content"))
        match message.get("role"):
            case "assistant":
                texts, results = [], []
            case "user":
                texts.append(spoken(text))
                rounds = 0 if texts[-1] else rounds
            case "tool":
                rounds += not results
                results.append(text)
    choice = body.get("tool_choice")
    form = as_object(body.get("response_format"))
    effort = body.get("reasoning_effort")
    return Question(
        model=as_text(body.get("model")),
        prompt=last_spoken(
            joined_text(message.get("content")) for message in messages if message.get("role") == "user"
        ),
        prompt_is_new=bool(last_spoken(texts)),
        results=tuple(results),
        rounds=rounds,
        tools=tuple(tool for tool in map(_tool, as_objects(body.get("tools"))) if tool is not None),
        forced_tool=_forced(choice),
        tools_allowed=choice != "none",
        parallel_allowed=body.get("parallel_tool_calls") is not False,
        can_search=False,
        thinks=effort not in {None, "none", "minimal"},
        max_tokens=as_count(body.get("max_completion_tokens")) or as_count(body.get("max_tokens")),
        shape=as_object(as_object(form.get("json_schema")).get("schema"))
        if form.get("type") == "json_schema"
        else None,
        message_count=len(messages),
        size=size,
    )


def known_tokens(body: JsonObject) -> int:
    """The tokens that an earlier request of this conversation had already sent."""
    messages = as_objects(body.get("messages"))
    spoken_last = max((at for at, each in enumerate(messages) if each.get("role") == "assistant"), default=-1)
    return 0 if spoken_last < 0 else tokens(compact([body.get("tools"), messages[:spoken_last]]))


def _forced(choice: object) -> str | None:
    if choice == "required":
        return "any"
    named = as_object(choice)
    return as_text(as_object(named.get("function") or named.get("custom")).get("name")) or None


def _tool(tool: JsonObject) -> OfferedTool | None:
    match tool.get("type"):
        case "function":
            function = as_object(tool.get("function"))
            return OfferedTool(as_text(function.get("name")), "json", as_object(function.get("parameters")))
        case "custom":
            return OfferedTool(as_text(as_object(tool.get("custom")).get("name")), "text", {})
        case _:
            return None
