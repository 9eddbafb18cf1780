"""The events of a Responses stream. Only those that tell something are decoded; all are relayed as they came.

An `error` event is kept back for as long as nothing follows it: the provider sends a `response.failed` behind most of
them, and that one carries the usage.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, Plain, StoredIds, Turn, TurnOutcome, Unreadable
from aibridge.dialects.reading import text
from aibridge.dialects.responses.blocking import ResponseObject, output_items, own_ids, response_object
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.errors import error_event, failure
from aibridge.dialects.responses.events import TERMINAL, Event, Place, kind_of, place_of
from aibridge.dialects.responses.items import Item, containers, item_of, text_of
from aibridge.dialects.responses.output import Output
from aibridge.dialects.responses.turn_items import is_our_use
from aibridge.dialects.responses.turn_view import TurnView, number_of
from aibridge.dialects.responses.usage import token_usage
from aibridge.errors import Problem
from aibridge.wire.sse import is_one_event, parse_block

# Deltas that hold nothing for the record: most of a stream. Anything that does not look exactly so is decoded.
_PLAIN_DELTA = re.compile(
    rb"(?:event: response\.(?:output_text|refusal)\.delta\r?\n)?"
    rb'data: \{"type": ?"response\.(?:output_text|refusal)\.delta"'
).match


_EVENT = msgspec.json.Decoder(Event)


class ResponsesReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = (
        "_facts",
        "_final",
        "_held",
        "_model",
        "_outcome",
        "_output",
        "_problem",
        "_stored",
        "_tier",
        "_told",
        "_usage",
        "_view",
        "last",
        "response_id",
    )

    def __init__(self, *, stored: bool, view: TurnView | None = None, last: bytes = b"") -> None:
        """The reader for one turn of several shows it through `view`. `last`: the last event that the client has."""
        self.response_id: str | None = None
        self._stored = stored
        self._view = view
        self._facts: list[Fact] = []
        self._output = Output()
        self._told: set[str] = set()  # ids of stored things
        self._usage: dict[str, Any] | None = None
        self._model: Any = None
        self._tier: str | None = None
        self._final = False  # the terminal event was read: the usage is the last word
        self._outcome: TurnOutcome = "cut"
        self._problem: tuple[str | None, str | None] = (None, None)
        self._held = b""  # an error event that may be the last
        self.last = last

    def ended(self) -> bool:
        return self._final

    @property
    def plain(self) -> Plain | None:
        return self._passes if self._view is None or not self._view.moves else None

    def _passes(self, chunk: bytes) -> bool:
        if self._output.reads_text or self._held or not (is_one_event(chunk) and _PLAIN_DELTA(chunk)):
            return False
        self.last = chunk
        return True

    def read(self, block: bytes) -> bytes:
        if not self._output.reads_text and not self._held and _PLAIN_DELTA(block):
            if self._view is not None and self._view.moves:
                block = self._view.renumbered(block)
            self.last = block
            return block
        before = self.held()
        said = parse_block(block)
        if not said.data:
            return before + block
        event = read(_EVENT, said.data)
        if event is None and said.name != b"error":
            self._facts.append(Unreadable("an event of the stream is no JSON object"))
            return before + block
        event = event or Event()
        kind = kind_of(event, said.name)
        response = self._take(kind, event)
        if self._view is not None:
            block = self._view.event(kind, event, response, block)
        if block and not self._final:
            self.last = block
        if kind == "error":
            self._held = before + block
            return b""
        return before + block

    def held(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def facts(self) -> tuple[Fact, ...]:
        if not self._facts:
            return ()
        facts, self._facts = tuple(self._facts), []
        return facts

    def end(self) -> Turn:
        told = self._output.end(self.response_id)
        # A call of ours is told by who runs it.
        self._facts += told if self._view is None else (one for one in told if not is_our_use(one))
        if self._usage is not None:
            model, tier, partial = self._model, self._tier, not self._final
            self._facts.append(token_usage(self._usage, self.response_id, model=model, tier=tier, partial=partial))
            self._usage = None
        error_type, message = self._problem
        turn = Turn(outcome=self._outcome, response_id=self.response_id, error_type=error_type, error_message=message)
        return turn if self._view is None else self._view.ended(turn, stored=self._stored)

    def error_event(self, problem: Problem) -> bytes:
        """Our error as the next event of this stream: its number follows that of the last one given out."""
        return error_event(problem, number_of(self.last) + 1)

    def _take(self, kind: str, event: Event) -> ResponseObject | None:
        """Reads an event; returns the response in it, if there is one."""
        if kind.endswith(".delta"):
            number = event.content_index if event.summary_index is None else event.summary_index
            self._output.add(place_of(event), kind, number if isinstance(number, int) else 0, text(event.delta))
        elif kind == "response.output_item.added":
            if (item := item_of(event.item)) is not None:
                self._own_item(item)
                self._output.begin(place_of(event, item), item)
        elif kind == "response.output_item.done":
            if (item := item_of(event.item)) is not None:
                self._complete(place_of(event, item), item)
        elif kind == "error":
            self._fail(event.error or {"code": event.code, "message": event.message})
        else:
            response = response_object(event.response)
            if response is not None:
                self._see(response)
            if kind in TERMINAL:
                self._finish(kind, response or ResponseObject())
            return response
        return None

    def _see(self, response: ResponseObject) -> None:
        self.response_id = self.response_id or text(response.id) or None
        if self._stored:
            self._own(own_ids(response))
        if isinstance(response.usage, dict):
            self._usage = response.usage
        self._model = response.model or self._model
        if isinstance(response.service_tier, str):
            self._tier = response.service_tier

    def _complete(self, place: Place, item: Item) -> None:
        self._own_item(item)
        self._facts += self._output.complete(place, item)

    def _finish(self, kind: str, response: ResponseObject) -> None:
        for place, item in self._output.missed(output_items(response)):
            self._complete(place, item)
        self._final = True
        if kind == "response.failed":
            self._fail(response.error)
        elif self._outcome == "cut":
            self._outcome = "complete"

    def _fail(self, error: Any) -> None:
        """What was said first stays: the client has seen it, and `response.failed` has less to say."""
        self._outcome = "failed"
        if self._problem == (None, None):
            self._problem = failure(error)

    def _own_item(self, item: Item) -> None:
        item_id = text_of(item, "id") if self._stored else ""
        self._own((*((item_id,) if item_id else ()), *containers(item)))

    def _own(self, ids: Iterable[str]) -> None:
        if fresh := tuple(one for one in dict.fromkeys(ids) if one not in self._told):
            self._told.update(fresh)
            self._facts.append(StoredIds(fresh))
