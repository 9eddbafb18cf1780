"""One turn of a whole chat answer over several: the last turn's body, with the text of the others before its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aibridge.dialects.chat_completions.assistant import said_in
from aibridge.dialects.chat_completions.blocking import read_completion
from aibridge.dialects.chat_completions.calls import Called, is_our_call
from aibridge.dialects.chat_completions.so_far import ReplySoFar
from aibridge.dialects.chat_completions.splicing import changed, readable_array, readable_object
from aibridge.dialects.reading import decoded, mapping
from aibridge.dialects.reply import WholeAnswer


def read_turn(body: bytes, *, so_far: ReplySoFar, stored: bool) -> WholeAnswer:
    """What one turn says; what the client gets of it if it is the last."""
    found = read_completion(body, stored=stored, ours_apart=True)
    ours = any(call.ours for call in found.calls)
    turn = so_far.ended(
        found.answer.turn,
        found.calls,
        usage=found.usage,
        finish_reason=_first_choice(body).get("finish_reason") if ours else None,
        said=lambda: _said(body, found.calls),
    )
    plain = turn.outcome == "failed" or (so_far.turns < 2 and not turn.calls)
    return WholeAnswer(turn, found.answer.facts, None if plain else _shown(body, found.calls, so_far))


def _shown(body: bytes, calls: Sequence[Called], so_far: ReplySoFar) -> bytes:
    """The last turn's body as the client gets it."""
    found = readable_object(body)
    choices = readable_array(found.raw("choices")).elements()
    if not choices:  # too large to be read, or something else
        return body
    choice = readable_object(choices[0])
    message = choice.raw("message") or b"{}"
    decoded_message = mapping(decoded(message))
    changes: dict[str, bytes | None] = {}
    if so_far.text != said_in(decoded_message.get("content")):
        changes["content"] = msgspec.json.encode(so_far.text)
    edits: dict[str, bytes | None] = {}
    if any(call.ours for call in calls):
        told = readable_array(readable_object(message).raw("tool_calls")).elements()
        clients = [call for call in told if not is_our_call(mapping(decoded(call)))]
        changes["tool_calls"] = b"[" + b",".join(clients) + b"]" if clients else None
        if not clients and choice.raw("finish_reason") == b'"tool_calls"':
            edits["finish_reason"] = b'"stop"'
    edits["message"] = changed(message, changes)
    members = {"choices": b"[" + b",".join((changed(choices[0], edits), *choices[1:])) + b"]"}
    usage = found.raw("usage")
    if usage is not None and usage[:1] == b"{":
        members["usage"] = so_far.usage_for_client(usage)
    return found.with_members(members)


def _said(body: bytes, calls: Sequence[Called]) -> tuple[bytes, str]:
    """The message in a body as the next request carries it, and its text."""
    choices = readable_array(readable_object(body).raw("choices")).elements()
    message = (readable_object(choices[0]).raw("message") if choices else None) or b"{}"
    found = readable_object(message)
    changes: dict[str, bytes] = {} if "role" in found else {"role": b'"assistant"'}
    if any(not call.id for call in calls if not call.legacy):
        ids = {call.number: msgspec.json.encode(call.answered_as) for call in calls}
        pieces = [piece for piece in readable_array(found.raw("tool_calls")).elements() if piece[:1] == b"{"]
        pieces = [
            changed(piece, {"id": ids[number]}) if number in ids else piece for number, piece in enumerate(pieces)
        ]
        changes["tool_calls"] = b"[" + b",".join(pieces) + b"]"
    return found.with_members(changes), said_in(mapping(decoded(message)).get("content"))


def _first_choice(body: bytes) -> Mapping[str, Any]:
    choices = mapping(decoded(body)).get("choices")
    return mapping(choices[0]) if isinstance(choices, list) and choices else {}
