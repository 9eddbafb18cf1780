"""What a model says in one turn, written as each dialect's provider writes it."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.dialects.chat_completions import turns as chat
from tests.dialects.messages import loops as messages
from tests.dialects.responses import provider as responses
from tests.exchanges import DialectName


@dataclass(frozen=True)
class Call:
    id: str
    name: str = "bmcp_wiki_search"
    arguments: dict[str, Any] | str = field(default_factory=lambda: {"q": "x"})

    @property
    def written(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Says:
    """A turn. `number` makes its id; `cut_short`: the provider stopped it for want of room."""

    number: int
    text: str = ""
    calls: tuple[Call, ...] = ()
    cut_short: bool = False

    def id(self, dialect: DialectName) -> str:
        return {"messages": "msg_", "chat_completions": "chatcmpl-", "responses": "resp_"}[dialect] + str(self.number)

    def stream(self, dialect: DialectName) -> bytes:
        match dialect:
            case "messages":
                return self._message().stream()
            case "chat_completions":
                return b"".join(self._completion().stream())
            case "responses":
                return responses.streamed(self._response())

    def body(self, dialect: DialectName) -> bytes:
        match dialect:
            case "messages":
                return self._message().body()
            case "chat_completions":
                return self._completion().body()
            case "responses":
                return json.dumps(self._response()).encode()

    def _message(self) -> messages.Scripted:
        content: list[dict[str, Any]] = [{"type": "text", "text": self.text}] if self.text else []
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in self.calls
        ]
        stop = "max_tokens" if self.cut_short else "tool_use" if self.calls else "end_turn"
        return messages.Scripted(content, stop, {"input_tokens": 10, "output_tokens": 5}, self.id("messages"))

    def _completion(self) -> chat.Script:
        calls = tuple(chat.Call(call.id, call.name, call.written) for call in self.calls)
        finish = "length" if self.cut_short else "tool_calls" if calls else "stop"
        text = (self.text,) if self.text else ()
        return chat.Script(id=self.id("chat_completions"), text=text, calls=calls, finish=finish)

    def _response(self) -> dict[str, Any]:
        items = [responses.message(f"msg_{self.number}", self.text)] if self.text else []
        items += [responses.call(call.id, call.name, call.written) for call in self.calls]
        usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        status = "incomplete" if self.cut_short else "completed"
        return responses.answered(self.id("responses"), items, {}, status, usage=usage)


def results_in(dialect: DialectName, body: bytes) -> dict[str, str]:
    """The results that a request carries, by the id of their call."""
    request = json.loads(body)
    match dialect:
        case "messages":
            blocks = [block for message in request["messages"] for block in _list(message["content"])]
            found = [(block["tool_use_id"], block["content"]) for block in blocks if block["type"] == "tool_result"]
        case "chat_completions":
            found = [(one["tool_call_id"], one["content"]) for one in request["messages"] if one["role"] == "tool"]
        case _:
            items = [item for item in request["input"] if isinstance(item, dict)]
            found = [(one["call_id"], one["output"]) for one in items if one.get("type") == "function_call_output"]
    assert len(found) == len(dict(found)), f"a call has two results: {found}"
    return {call_id: content if isinstance(content, str) else json.dumps(content) for call_id, content in found}


def offered_in(dialect: DialectName, body: bytes) -> list[str]:
    tools = json.loads(body).get("tools", [])
    return [tool["function"]["name"] if dialect == "chat_completions" else tool["name"] for tool in tools]


def _list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []
