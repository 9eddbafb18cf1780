"""A whole chat answer over several turns: the last turn's body, with the text of the turns before it in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, Turn
from aibridge.dialects.calls import is_ours
from aibridge.dialects.chat_completions.assistant import said_in
from aibridge.dialects.chat_completions.blocking import read_completion
from aibridge.dialects.chat_completions.calls import Called
from aibridge.dialects.chat_completions.so_far import ReplySoFar
from aibridge.dialects.chat_completions.splicing import changed, readable_array, readable_object
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.dialects.reply import WholeAnswer, WholeReply
from aibridge.dialects.turns import Hidden
from aibridge.errors import Problem
from aibridge.tools import ToolResult


class LoopingWhole:
    """See `aibridge.dialects.turns.LoopingReply`."""

    __slots__ = ("_calls", "_reply", "_response_id", "_so_far", "_stored")

    def __init__(self, so_far: ReplySoFar, *, stored: bool) -> None:
        self._so_far = so_far
        self._stored = stored
        self._calls: Sequence[Called] = ()  # of the last turn
        self._reply = WholeReply(self._read)
        self._response_id: str | None = None  # the first turn's, from the second on

    @property
    def finished(self) -> bool:
        return self._reply.finished

    @property
    def response_id(self) -> str | None:
        return self._response_id or self._reply.response_id

    def receive(self, chunk: bytes) -> bytes:
        return self._reply.receive(chunk)

    def facts(self) -> tuple[Fact, ...]:
        return self._reply.facts()

    def end_turn(self) -> Turn:
        return self._reply.end_turn()

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._so_far.answer(turn, results)

    def next_turn(self) -> None:
        self._response_id = self.response_id
        self._so_far.goes_on()
        self._reply = WholeReply(self._read)

    def hidden(self) -> Hidden | None:
        return self._so_far.hidden()

    def finish(self) -> bytes:
        body, turn = self._reply.finish(), self._reply.end_turn()
        plain = self._so_far.turns < 2 and not any(call.ours for call in self._calls)
        return body if plain or turn.outcome == "failed" else self._shown(body)

    def fail(self, problem: Problem) -> bytes:
        return self._reply.fail(problem)

    def _read(self, body: bytes) -> WholeAnswer:
        found = read_completion(body, stored=self._stored, ours_apart=True)
        self._calls = found.calls
        turn = self._so_far.ended(
            found.answer.turn,
            found.calls,
            usage=found.usage,
            finish_reason=_first_choice(body).get("finish_reason"),
            said=lambda: _said(body, found.calls),
        )
        return WholeAnswer(turn, found.answer.facts)

    def _shown(self, body: bytes) -> bytes:
        """The last turn's body as the client gets it."""
        found = readable_object(body)
        choices = readable_array(found.raw("choices")).elements()
        if not choices:  # too large to be read, or something else
            return body
        choice = readable_object(choices[0])
        message = choice.raw("message") or b"{}"
        decoded_message = mapping(decoded(message))
        changes: dict[str, bytes | None] = {}
        if self._so_far.text != said_in(decoded_message):
            changes["content"] = msgspec.json.encode(self._so_far.text)
        edits: dict[str, bytes | None] = {}
        if any(call.ours for call in self._calls):
            calls = readable_array(readable_object(message).raw("tool_calls")).elements()
            clients = [call for call in calls if not _is_ours(call)]
            changes["tool_calls"] = b"[" + b",".join(clients) + b"]" if clients else None
            if not clients and choice.raw("finish_reason") == b'"tool_calls"':
                edits["finish_reason"] = b'"stop"'
        edits["message"] = changed(message, changes)
        members = {"choices": b"[" + b",".join((changed(choices[0], edits), *choices[1:])) + b"]"}
        usage = found.raw("usage")
        if usage is not None and usage[:1] == b"{":
            members["usage"] = self._so_far.usage_for_client(usage)
        return found.with_members(members)


def _said(body: bytes, calls: Sequence[Called]) -> tuple[bytes, str]:
    """The message in a body as the next request carries it, and its text."""
    choices = readable_array(readable_object(body).raw("choices")).elements()
    message = (readable_object(choices[0]).raw("message") if choices else None) or b"{}"
    found = readable_object(message)
    changes: dict[str, bytes] = {} if "role" in found else {"role": b'"assistant"'}
    if any(not call.id for call in calls if not call.legacy):
        ids = {call.number: msgspec.json.encode(call.answered_as) for call in calls}
        pieces = readable_array(found.raw("tool_calls")).elements()
        pieces = [
            changed(piece, {"id": ids[number]}) if number in ids else piece for number, piece in enumerate(pieces)
        ]
        changes["tool_calls"] = b"[" + b",".join(pieces) + b"]"
    return found.with_members(changes), said_in(mapping(decoded(message)))


def _first_choice(body: bytes) -> Mapping[str, Any]:
    choices = mapping(decoded(body)).get("choices")
    return mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _is_ours(call: bytes) -> bool:
    found = mapping(decoded(call))
    return is_ours(text(mapping(found.get("custom") or found.get("function")).get("name")))
