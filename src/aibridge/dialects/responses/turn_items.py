"""The items of one turn as they came: which are calls of ours, what the next request carries, what a client may see.

An item keeps its bytes: a reasoning item that is written anew is refused by the provider, and agents break on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aibridge.dialects.base import Fact, ToolUse, Turn
from aibridge.dialects.calls import is_ours, unrunnable
from aibridge.dialects.responses.items import Item, item_of, text_of
from aibridge.tools import ToolCall
from aibridge.wire.json_array import JsonArray

# Calls of functions: a client defines them, and so do we. The member with the arguments, and what answers them.
_ARGUMENTS = {"function_call": "arguments", "custom_tool_call": "input"}
_ANSWERS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def is_our_call(item: Item) -> bool:
    """A call that the gateway answers: of a function with our prefix, and not of one in a client's namespace."""
    return text_of(item, "type") in _ARGUMENTS and is_ours(text_of(item, "name")) and not text_of(item, "namespace")


def is_our_use(fact: Fact) -> bool:
    return isinstance(fact, ToolUse) and is_ours(fact.tool)


def answer_of(kind: str) -> str:
    """The type of the item that answers a call of this kind."""
    return _ANSWERS[kind]


def items_in(array: bytes) -> list[tuple[bytes, Item]]:
    """The items of a JSON array that are objects, each with its bytes."""
    found = JsonArray.parse(array)
    return [(raw, item) for raw in (found.elements() if found else ()) if (item := item_of(raw)) is not None]


def our_calls(said: bytes) -> list[Item]:
    """The calls of ours in what a turn said, in their order."""
    return [item for _, item in items_in(said) if is_our_call(item)]


def call_id_of(item: Item) -> str:
    return text_of(item, "call_id") or text_of(item, "id")


def turn_of(read: Turn, items: Iterable[tuple[bytes, Item]], *, stopped: bool, stored: bool) -> Turn:
    """A turn with its calls of ours, if there are any. `stopped`: the model came to its end by itself."""
    items = list(items)
    ours = [item for _, item in items if is_our_call(item)]
    if not ours:
        return read
    complete = read.outcome == "complete" and stopped
    return Turn(
        outcome=read.outcome,
        response_id=read.response_id,
        error_type=read.error_type,
        error_message=read.error_message,
        calls=tuple(_call(item, complete=complete) for item in ours),
        runnable=complete,
        mixed=_waits_for_client([item for _, item in items]),
        said=b"[" + b",".join(raw for raw, item in items if stored or not is_unreadable(item)) + b"]",
    )


def _call(item: Item, *, complete: bool) -> ToolCall:
    arguments = text_of(item, _ARGUMENTS[text_of(item, "type")])
    truncated = not complete or text_of(item, "status") == "incomplete"
    return ToolCall(
        call_id=call_id_of(item),
        tool_id=text_of(item, "name"),
        arguments=arguments,
        unrunnable=unrunnable(arguments, truncated=truncated),
    )


def is_unreadable(item: Item) -> bool:
    """A thought that a provider which stores nothing cannot take back: there is nothing in it to read."""
    return text_of(item, "type") == "reasoning" and not text_of(item, "encrypted_content")


def _waits_for_client(items: Sequence[Item]) -> bool:
    """A call is left that only the client can answer.

    Calls that the provider answers itself have no `call_id`, or their answer is in the same turn.
    """
    answered = {text_of(item, "call_id") for item in items if text_of(item, "type").endswith("_output")}
    for item in items:
        kind, call_id = text_of(item, "type"), text_of(item, "call_id")
        if kind == "mcp_approval_request":
            return True
        if kind.endswith("_call") and call_id and call_id not in answered and not is_our_call(item):
            return True
    return False
