"""Hidden turns over several requests of a client: the provider has what a client that had seen everything would send."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.turns import Anchor, Hidden
from tests.dialects.chat_completions.turns import (
    TOOLSET,
    Exchange,
    Script,
    parsed,
    replies,
    results_of,
    run,
    seen_by_sdk,
)

_QUESTION = {"role": "user", "content": "What is there?"}


class _Client:
    """Sends on what it saw, in one of the ways in which clients write it anew."""

    def __init__(self, habit: str) -> None:
        self.habit = habit

    def resent(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        message = {name: value for name, value in message.items() if name in ("role", "content", "tool_calls")} | (
            {name: value for name, value in message.items() if name == "reasoning_content"}
            if self.habit == "keeps reasoning"
            else {}
        )
        said = message.get("content") or ""
        calls = message.get("tool_calls")
        match self.habit:
            case "parts":
                part = {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}
                return [{**message, "content": [part] if said else None}]
            case "splits parts":
                half = len(said) // 2
                parts = [{"type": "text", "text": text} for text in (said[:half], said[half:]) if text]
                return [{**message, "content": parts or ""}]
            case "apart" if calls and said:
                return [
                    {"role": "assistant", "content": said},
                    {"role": "assistant", "tool_calls": calls, "content": None},
                ]
            case "trims":
                return [{**message, "content": said.strip()}]
            case "reorders":
                spelled = [
                    {
                        "type": "function",
                        "function": {
                            "arguments": json.dumps(json.loads(call["function"]["arguments"]), indent=1),
                            "name": call["function"]["name"],
                        },
                        "id": call["id"],
                    }
                    for call in calls or ()
                ]
                return [{**({"tool_calls": spelled} if spelled else {}), "content": said, "role": "assistant"}]
        return [message]


_HABITS = ("plain", "parts", "splits parts", "apart", "trims", "reorders", "keeps reasoning")
_EXACT = ("plain", "keeps reasoning")


class _Held:
    """Held turns by their anchors, newest first."""

    def __init__(self) -> None:
        self.known: dict[Anchor, list[Hidden]] = {}

    def hold(self, hidden: Hidden) -> None:
        for anchor in hidden.anchors:
            self.known.setdefault(anchor, []).insert(0, hidden)

    def of(self, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        return {anchor: self.known[anchor] for anchor in anchors if anchor in self.known}


def _ask(history: list[dict[str, Any]], scripts: list[Script], held: _Held, *, stream: bool) -> Exchange:
    body = {"model": "m-1", "messages": history, **({"stream": True} if stream else {})}
    request = parsed(json.dumps(body).encode())
    request = request.recalling(held.of(request.anchors)).offering(TOOLSET)
    exchange = run(request, scripts, stream=stream)
    if exchange.hidden:
        held.hold(exchange.hidden[-1])
    return exchange


def _normal(messages: Sequence[dict[str, Any]], *, exact: bool, reasoning: bool) -> list[dict[str, Any]]:
    """What messages say, without the ways of writing it."""
    normal: list[dict[str, Any]] = []
    for message in messages:
        content = message.get("content") or ""
        said = content if isinstance(content, str) else "".join(part["text"] for part in content)
        calls = [
            (call["id"], call["function"]["name"], _value(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        one = {
            "role": message["role"],
            "reasoning": message.get("reasoning_content") if reasoning else None,
            "said": said if exact else "".join(said.split()),
            "calls": calls,
            "of": message.get("tool_call_id"),
        }
        if normal and one["role"] == normal[-1]["role"] == "assistant":  # sent apart
            normal[-1] = {**one, "said": normal[-1]["said"] + one["said"], "calls": normal[-1]["calls"] + calls}
        else:
            normal.append(one)
    return normal


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _as_all_seeing(scripts: list[Script], exchange: Exchange) -> list[dict[str, Any]]:
    """One reply in the history of a client that had seen everything."""
    messages: list[dict[str, Any]] = []
    for script, turn in zip(scripts, exchange.turns, strict=True):
        messages.append(script.message())
        messages += (
            {"role": "tool", "tool_call_id": result.call_id, "content": "".join(part.text for part in result.content)}  # type: ignore[union-attr]  # only texts
            if result.error is None
            else {"role": "tool", "tool_call_id": result.call_id, "content": f"Error: {turn.calls[number].unrunnable}"}
            for number, result in enumerate(results_of(turn.calls))
        )
    return messages


def _answers(scripts: list[Script], number: int, *, talks: bool) -> list[dict[str, Any]]:
    """What the client goes on with."""
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{number}"} for call in scripts[-1].clients]
    return [*results, *([{"role": "user", "content": f"Go on ({number})."}] if talks or not results else [])]


@st.composite
def _conversations(draw: st.DrawFn) -> list[list[Script]]:
    counted = draw(st.booleans(), label="ids are counted in each reply")
    return [draw(replies(f"r{number}", counted=counted)) for number in range(draw(st.integers(1, 3)))]


@settings(max_examples=60)
@given(_conversations(), st.sampled_from(_HABITS), st.booleans(), st.booleans())
def test_the_provider_has_what_a_client_that_saw_everything_would_send(
    conversation: list[list[Script]], habit: str, stream: bool, talks: bool
) -> None:
    client, held, exact = _Client(habit), _Held(), habit in _EXACT
    reasoning = habit == "keeps reasoning"
    seen: list[dict[str, Any]] = [_QUESTION]
    whole: list[dict[str, Any]] = [_QUESTION]
    for number, scripts in enumerate(conversation):
        exchange = _ask(seen, scripts, held, stream=stream)

        assert _normal(exchange.messages[0], exact=exact, reasoning=reasoning) == _normal(
            whole, exact=exact, reasoning=reasoning
        )
        answers = _answers(scripts, number, talks=talks)
        message = seen_by_sdk(exchange.client, stream=stream)["choices"][0]["message"]
        seen = [*seen, *client.resent(message), *answers]
        whole = [*whole, *_as_all_seeing(scripts, exchange), *answers]
    last = _ask(seen, [Script("end-0", text=("Done.",))], held, stream=stream)
    assert _normal(last.messages[0], exact=exact, reasoning=reasoning) == _normal(
        whole, exact=exact, reasoning=reasoning
    )


@settings(max_examples=40)
@given(_conversations(), st.sampled_from(_HABITS), st.booleans())
def test_what_the_provider_had_stays_byte_for_byte_where_it_was(
    conversation: list[list[Script]], habit: str, stream: bool
) -> None:
    client, held = _Client(habit), _Held()
    seen: list[dict[str, Any]] = [_QUESTION]
    had: list[list[bytes]] = []
    for number, scripts in enumerate([*conversation, [Script("end-0", text=("Done.",))]]):
        exchange = _ask(seen, scripts, held, stream=stream)
        asked = [_elements(body) for body in exchange.asked]
        for before in had:
            assert asked[0][: len(before)] == before
        had += asked
        message = seen_by_sdk(exchange.client, stream=stream)["choices"][0]["message"]
        seen = [*seen, *client.resent(message), *_answers(scripts, number, talks=True)]


@settings(max_examples=60)
@given(_conversations(), st.sampled_from(_HABITS), st.data())
def test_a_history_of_replies_that_were_seen_in_part_is_whole_with_what_is_put_back(
    conversation: list[list[Script]], habit: str, data: st.DataObject
) -> None:
    """Whatever a client saw of its replies when it hung up: nothing of that is lost or said twice."""
    client, held = _Client(habit), _Held()
    seen: list[dict[str, Any]] = [_QUESTION]
    for number, scripts in enumerate(conversation):
        exchange = _ask(seen, scripts, held, stream=True)
        events = [event + b"\n\n" for event in exchange.client.split(b"\n\n") if event]
        part = data.draw(st.integers(1, len(events)), label="events that the client saw")
        message = seen_by_sdk(b"".join(events[:part]), stream=True)["choices"][0]["message"]
        if part < len(events):
            message.pop("tool_calls", None)  # no client calls before the end
        results = _answers(scripts, number, talks=True) if message.get("tool_calls") else []
        seen = [*seen, *client.resent(message), *(results or [{"role": "user", "content": f"Go on ({number})."}])]
    last = _ask(seen, [Script("end-0", text=("Done.",))], held, stream=True).messages[0]

    asked: list[str] = []
    for one in last:
        if one["role"] == "tool":
            assert one["tool_call_id"] in asked
            asked.remove(one["tool_call_id"])
        else:
            assert asked == []
        asked += [call["id"] for call in one.get("tool_calls") or ()]
    assert asked == []
    clients = [one for one in last if not (one["role"] == "tool" and one["content"].startswith(("bmcp_", "Error")))]
    assert _words(clients) == _words(seen)


def _words(messages: Sequence[dict[str, Any]]) -> list[str]:
    """What the two sides said, by turns."""
    said: list[tuple[str, str]] = []
    for one in _normal(messages, exact=False, reasoning=False):
        if said and said[-1][0] == one["role"]:
            said[-1] = (one["role"], said[-1][1] + one["said"])
        elif one["said"]:
            said.append((one["role"], one["said"]))
    return [words for _, words in said]


def _elements(body: bytes) -> list[bytes]:
    """The messages of a body as they are written."""
    messages = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["messages"]
    return [bytes(raw) for raw in msgspec.json.decode(messages, type=list[msgspec.Raw])]
