"""What the client is shown of a reply over several turns: one response, under one id, without what is ours.

What holds nothing of ours, and no number that has moved, is shown in the provider's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aibridge.dialects.reading import count, decoded, mapping
from aibridge.dialects.responses.blocking import ResponseObject, response_object
from aibridge.dialects.responses.tools import without_ours
from aibridge.dialects.responses.turn_items import is_our_call, items_in
from aibridge.tools import PREFIX
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import JsonObject, NotAnObject

_OURS = b'"' + PREFIX.encode()
_NULL = (None, b"null")


class Shown:
    """Goes on from turn to turn. `asked_after` is the client's `previous_response_id`, where the provider was given
    another one.
    """

    __slots__ = ("_asked_after", "_choice", "_output_tokens", "_reasoning_tokens", "items", "response_id", "turns")

    def __init__(self, asked_after: bytes | None = None) -> None:
        self.turns = 0
        """How many have ended and were followed by another."""
        self.response_id: str | None = None
        """The first turn's."""
        self.items: list[bytes] = []
        """What the client has of the turns that have ended."""
        self._asked_after = asked_after
        self._choice: bytes | None = None
        self._output_tokens = 0
        self._reasoning_tokens = 0

    def add(self, raw: bytes, response_id: str | None) -> None:
        """The response with which a turn ended, and which the client does not get."""
        response = response_object(raw) or ResponseObject()
        if self.turns == 0:
            self.response_id = response_id
            self._choice = _member(raw, "tool_choice")
        self.turns += 1
        self.items += (one for one, item in items_in(bytes(response.output)) if not is_our_call(item))
        spent = _spent(response.usage)
        self._output_tokens += spent[0]
        self._reasoning_tokens += spent[1]

    def is_as_it_came(self, output: bytes) -> bool:
        """Nothing in a response with this output differs for the client but the echo of our tools."""
        return self.turns == 0 and self._asked_after is None and _OURS not in output

    def response(self, raw: bytes) -> bytes:
        """A response as the client may see it; the same object where nothing differs."""
        if self.turns == 0 and self._asked_after is None and _OURS not in raw:
            return raw
        try:
            found = JsonObject.parse(raw)
        except NotAnObject:
            return raw
        changes = dict(self._changes(found))
        return found.with_members(changes) if changes else raw

    def _changes(self, found: JsonObject) -> Mapping[str, bytes]:
        changes: dict[str, bytes] = {}
        if (tools := found.raw("tools")) is not None:
            changes["tools"] = without_ours(tools)
        if self._asked_after is not None and found.raw("previous_response_id") not in _NULL:
            changes["previous_response_id"] = self._asked_after
        if (output := found.raw("output")) is not None:
            changes["output"] = self._output(output)
        if self.turns:
            if self.response_id is not None and "id" in found:
                changes["id"] = msgspec.json.encode(self.response_id)
            if self._choice is not None and "tool_choice" in found:
                changes["tool_choice"] = self._choice
            if (usage := found.raw("usage")) not in _NULL:
                changes["usage"] = self._usage(usage)
        return {name: value for name, value in changes.items() if value != found.raw(name)}

    def _output(self, output: bytes) -> bytes:
        array = JsonArray.parse(output)
        if array is None:
            return output
        kept = output
        if _OURS in output:
            ours = {number for number, raw in enumerate(array.elements()) if _OURS in raw and _is_ours(raw)}
            kept = array.without(ours)
        if self.items and (left := JsonArray.parse(kept)) is not None:
            kept = left.inserting({0: b",".join(self.items)})
        return kept

    def _usage(self, usage: bytes) -> bytes:
        """The last turn's, which says how large the conversation is, with what all turns wrote."""
        try:
            found = JsonObject.parse(usage)
        except NotAnObject:
            return usage
        read = mapping(decoded(usage))
        written, reasoning = _spent(read)
        written += self._output_tokens
        changes = {"output_tokens": written}
        if "total_tokens" in found:
            changes["total_tokens"] = count(read.get("input_tokens")) + written
        edits = {name: str(number).encode() for name, number in changes.items()}
        details = found.raw("output_tokens_details")
        if details is not None and "reasoning_tokens" in mapping(read.get("output_tokens_details")):
            thought = str(reasoning + self._reasoning_tokens).encode()
            edits["output_tokens_details"] = JsonObject.parse(details).with_members({"reasoning_tokens": thought})
        return found.with_members(edits)


def _spent(usage: Any) -> tuple[int, int]:
    """Tokens that were written, and those of them that are thoughts."""
    read = mapping(usage)
    return count(read.get("output_tokens")), count(mapping(read.get("output_tokens_details")).get("reasoning_tokens"))


def _is_ours(raw: bytes) -> bool:
    return any(is_our_call(item) for _, item in items_in(b"[" + raw + b"]"))


def _member(raw: bytes, name: str) -> bytes | None:
    try:
        return JsonObject.parse(raw).raw(name)
    except NotAnObject:
        return None
