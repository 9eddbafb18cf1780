"""What programs do with the providers' SDKs, as a program of its own: `python sdk_stories.py URL KEY` prints JSON.

It knows nothing of aibridge, so that it runs in an environment that holds only the SDKs, whichever generation of them.
Each story returns what such a program would see; the tests say what that must be.
"""

import base64
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import anthropic
import openai

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MESSAGES_TOOL: Any = {"name": "weather", "description": "The weather in a city.", "input_schema": WEATHER}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
RESPONSES_TOOL: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
CLAUDE, GPT = "claude-opus-4-6", "gpt-5"
ASK = "Name a river. simulate 20 words"
USE = "Use a tool to find the weather in Nantes."

Story = Callable[[Any, Any], dict[str, Any]]
STORIES: dict[str, Story] = {}


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def error_of(ask: Callable[[], Any]) -> dict[str, Any]:
    """The exception that a program gets."""
    try:
        answer = ask()
        if not hasattr(answer, "id"):
            for _ in answer:
                pass
    except (anthropic.APIError, openai.APIError) as error:
        return {
            "type": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "request_id": getattr(error, "request_id", None),
            "message": str(error),
            "body": error.body,
        }
    return {"type": None}


# -- Messages -------------------------------------------------------------------------------------------


@story
def messages(claude: Any, gpt: Any) -> dict[str, Any]:
    answer = claude.messages.create(model=CLAUDE, max_tokens=500, messages=said(ASK))
    return {
        "text": answer.content[0].text,
        "stop": answer.stop_reason,
        "usage": answer.usage.output_tokens,
        "request_id": answer._request_id,
    }


@story
def messages_streamed(claude: Any, gpt: Any) -> dict[str, Any]:
    with claude.messages.stream(model=CLAUDE, max_tokens=500, messages=said(ASK)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    raw = claude.messages.create(model=CLAUDE, max_tokens=500, messages=said(ASK), stream=True)
    kinds = [event.type for event in raw]
    return {"text": text, "usage": final.usage.output_tokens, "first": kinds[0], "last": kinds[-1]}


@story
def messages_thinking(claude: Any, gpt: Any) -> dict[str, Any]:
    thinking: Any = {"type": "adaptive"}
    asked: Any = {"model": CLAUDE, "max_tokens": 2000, "messages": said(ASK), "thinking": thinking}
    answer = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    return {
        "blocks": [block.type for block in answer.content],
        "streamed": [block.type for block in final.content],
        "signed": bool(final.content[0].signature),
    }


@story
def messages_tool(claude: Any, gpt: Any) -> dict[str, Any]:
    calls: list[Any] = []
    answers: list[str] = []
    answer: Any = None
    for streamed in (False, True):
        history = said(USE)
        asked: Any = {"model": CLAUDE, "max_tokens": 2000, "tools": [MESSAGES_TOOL]}
        for _ in range(2):
            if streamed:
                with claude.messages.stream(messages=history, **asked) as stream:
                    answer = stream.get_final_message()
            else:
                answer = claude.messages.create(messages=history, **asked)
            history.append({"role": "assistant", "content": answer.content})
            used = [block for block in answer.content if block.type == "tool_use"]
            calls += [[block.name, sorted(block.input)] for block in used]
            results = [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"} for block in used]
            history.append({"role": "user", "content": results})
        answers.append(answer.content[-1].text)
    return {"calls": calls, "answers": ["sunny" in answer for answer in answers]}


@story
def messages_with_an_image(claude: Any, gpt: Any) -> dict[str, Any]:
    """A megabyte and a half."""
    data = base64.b64encode(os.urandom(1_150_000)).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    content: Any = [image, {"type": "text", "text": ASK}]
    answer = claude.messages.create(model=CLAUDE, max_tokens=500, messages=[{"role": "user", "content": content}])
    return {"text": answer.content[0].text}


@story
def messages_counted(claude: Any, gpt: Any) -> dict[str, Any]:
    return {"tokens": claude.messages.count_tokens(model=CLAUDE, messages=said(ASK)).input_tokens}


@story
def claude_models(claude: Any, gpt: Any) -> dict[str, Any]:
    listed = [model.id for model in claude.models.list()]
    return {"listed": len(listed), "same": claude.models.retrieve(listed[0]).id == listed[0]}


@story
def messages_errors(claude: Any, gpt: Any) -> dict[str, Any]:
    def asking(text: str, **more: Any) -> Callable[[], Any]:
        return lambda: claude.messages.create(model=CLAUDE, max_tokens=500, messages=said(text), **more)

    errors = {str(status): error_of(asking(f"simulate error {status}")) for status in (400, 401, 404, 429, 500, 529)}
    errors["streamed"] = error_of(asking("simulate error 429", stream=True))
    errors["overloaded in the stream"] = error_of(asking("simulate overloaded mid-stream", stream=True))
    errors["cut"] = error_of(asking("simulate cut", stream=True))
    errors["cut whole"] = error_of(asking("simulate cut"))
    errors["no key"] = error_of(
        lambda: claude.with_options(api_key="nobody").messages.create(model=CLAUDE, max_tokens=5, messages=said(ASK))
    )
    errors["no route"] = error_of(lambda: claude.post("/v1/nowhere", cast_to=object, body={}))
    return errors


# -- Chat Completions -----------------------------------------------------------------------------------


@story
def chat(claude: Any, gpt: Any) -> dict[str, Any]:
    answer = gpt.chat.completions.create(model=GPT, messages=said(ASK))
    return {
        "text": answer.choices[0].message.content,
        "stop": answer.choices[0].finish_reason,
        "usage": answer.usage.completion_tokens,
        "request_id": answer._request_id,
    }


@story
def chat_streamed(claude: Any, gpt: Any) -> dict[str, Any]:
    chunks = list(gpt.chat.completions.create(model=GPT, messages=said(ASK), stream=True))
    options: Any = {"include_usage": True}
    counted = list(gpt.chat.completions.create(model=GPT, messages=said(ASK), stream=True, stream_options=options))
    with gpt.chat.completions.stream(model=GPT, messages=said(ASK)) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    return {
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "unasked": [chunk.usage for chunk in chunks if chunk.usage is not None],
        "usage": counted[-1].usage.completion_tokens,
        "helper": final.choices[0].message.content,
    }


@story
def chat_tool(claude: Any, gpt: Any) -> dict[str, Any]:
    calls: list[Any] = []
    answers: list[str] = []
    answer: Any = None
    for streamed in (False, True):
        history = said(USE)
        asked: Any = {"model": GPT, "tools": [CHAT_TOOL]}
        for _ in range(2):
            if streamed:
                with gpt.chat.completions.stream(messages=history, **asked) as stream:
                    answer = stream.get_final_completion().choices[0].message
            else:
                answer = gpt.chat.completions.create(messages=history, **asked).choices[0].message
            used = answer.tool_calls or []
            calls += [[call.function.name, sorted(json.loads(call.function.arguments))] for call in used]
            shown = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in used
            ]
            history.append({"role": "assistant", "content": answer.content, **({"tool_calls": shown} if used else {})})
            history += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in used]
        answers.append(answer.content)
    return {"calls": calls, "answers": ["sunny" in answer for answer in answers]}


@story
def chat_errors(claude: Any, gpt: Any) -> dict[str, Any]:
    def asking(text: str, **more: Any) -> Callable[[], Any]:
        return lambda: gpt.chat.completions.create(model=GPT, messages=said(text), **more)

    errors = {str(status): error_of(asking(f"simulate error {status}")) for status in (400, 401, 404, 429, 500, 503)}
    errors["streamed"] = error_of(asking("simulate error 429", stream=True))
    errors["overloaded in the stream"] = error_of(asking("simulate overloaded mid-stream", stream=True))
    errors["cut"] = error_of(asking("simulate cut", stream=True))
    errors["cut whole"] = error_of(asking("simulate cut"))
    errors["no key"] = error_of(
        lambda: gpt.with_options(api_key="nobody").chat.completions.create(model=GPT, messages=said(ASK))
    )
    errors["no route"] = error_of(lambda: gpt.post("/nowhere", cast_to=object, body={}))
    return errors


# -- Responses ------------------------------------------------------------------------------------------


@story
def responses(claude: Any, gpt: Any) -> dict[str, Any]:
    answer = gpt.responses.create(model=GPT, input=ASK)
    fetched = gpt.responses.retrieve(answer.id)
    following = gpt.responses.create(model=GPT, input="And another. simulate 5 words", previous_response_id=answer.id)
    gpt.responses.delete(answer.id)
    return {
        "text": answer.output_text,
        "status": answer.status,
        "usage": answer.usage.output_tokens,
        "fetched": fetched.output_text,
        "following": following.output_text,
        "deleted": error_of(lambda: gpt.responses.retrieve(answer.id))["type"],
        "request_id": answer._request_id,
    }


@story
def responses_streamed(claude: Any, gpt: Any) -> dict[str, Any]:
    kinds = [event.type for event in gpt.responses.create(model=GPT, input=ASK, stream=True)]
    with gpt.responses.stream(model=GPT, input=ASK) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    return {
        "text": final.output_text,
        "usage": final.usage.output_tokens,
        "first": kinds[0],
        "last": kinds[-1],
    }


@story
def responses_thinking(claude: Any, gpt: Any) -> dict[str, Any]:
    reasoning: Any = {"effort": "medium", "summary": "auto"}
    answer = gpt.responses.create(model=GPT, input=ASK, reasoning=reasoning)
    with gpt.responses.stream(model=GPT, input=ASK, reasoning=reasoning) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    return {"items": [item.type for item in answer.output], "streamed": [item.type for item in final.output]}


@story
def responses_tool(claude: Any, gpt: Any) -> dict[str, Any]:
    calls: list[Any] = []
    answers: list[str] = []
    answer: Any = None
    for streamed in (False, True):
        history: Any = said(USE)
        asked: Any = {"model": GPT, "tools": [RESPONSES_TOOL], "store": False}
        for _ in range(2):
            if streamed:
                with gpt.responses.stream(input=history, **asked) as stream:
                    for _event in stream:
                        pass
                    answer = stream.get_final_response()
            else:
                answer = gpt.responses.create(input=history, **asked)
            used = [item for item in answer.output if item.type == "function_call"]
            calls += [[item.name, sorted(json.loads(item.arguments))] for item in used]
            history += [
                {"type": "function_call", "call_id": item.call_id, "name": item.name, "arguments": item.arguments}
                for item in used
            ]
            history += [{"type": "function_call_output", "call_id": item.call_id, "output": "sunny"} for item in used]
        answers.append(answer.output_text)
    return {"calls": calls, "answers": ["sunny" in answer for answer in answers]}


@story
def responses_errors(claude: Any, gpt: Any) -> dict[str, Any]:
    def asking(text: str, **more: Any) -> Callable[[], Any]:
        return lambda: gpt.responses.create(model=GPT, input=text, **more)

    errors = {str(status): error_of(asking(f"simulate error {status}")) for status in (400, 401, 404, 429, 500, 503)}
    errors["streamed"] = error_of(asking("simulate error 429", stream=True))
    overloaded = list(gpt.responses.create(model=GPT, input="simulate overloaded mid-stream", stream=True))
    errors["overloaded in the stream"] = {"type": overloaded[-1].type, "code": overloaded[-1].code}
    errors["cut"] = error_of(asking("simulate cut", stream=True))
    errors["cut whole"] = error_of(asking("simulate cut"))
    errors["background"] = error_of(asking(ASK, background=True))
    errors["of somebody else"] = error_of(asking(ASK, previous_response_id="resp_of_nobody"))
    errors["no key"] = error_of(lambda: gpt.with_options(api_key="nobody").responses.create(model=GPT, input=ASK))
    return errors


@story
def gpt_models(claude: Any, gpt: Any) -> dict[str, Any]:
    listed = [model.id for model in gpt.models.list()]
    return {"listed": len(listed), "same": gpt.models.retrieve(listed[0]).id == listed[0]}


def main(url: str, key: str) -> None:
    claude = anthropic.Anthropic(base_url=f"{url}/anthropic", api_key=key, max_retries=0, timeout=30)
    gpt = openai.OpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=0, timeout=30)
    seen: dict[str, Any] = {"versions": [anthropic.__version__, openai.__version__]}
    for name, tell in STORIES.items():
        seen[name] = tell(claude, gpt)
    json.dump(seen, sys.stdout, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
