"""What the chunks of one turn tell, whoever shows them to the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import Fact, StoredIds, Thought, TurnOutcome, Unreadable
from aibridge.dialects.chat_completions.blocking import reasoning
from aibridge.dialects.chat_completions.calls import Called, Calls
from aibridge.dialects.chat_completions.chunks import Chunk, choices
from aibridge.dialects.chat_completions.usage import token_usage
from aibridge.dialects.reading import Kept, mapping

_NO_PIECES: Mapping[int, list[int]] = {}


class TurnFacts:
    """Listens to the chunks of one turn."""

    __slots__ = (
        "_choices",
        "_facts",
        "_kept",
        "_model",
        "_stored",
        "_tier",
        "calls",
        "finish_reason",
        "outcome",
        "pieces",
        "problem",
        "response_id",
        "usage",
    )

    def __init__(self, *, stored: bool) -> None:
        self.response_id: str | None = None
        self.outcome: TurnOutcome = "cut"
        self.problem: tuple[str | None, str | None] = (None, None)
        self.usage: dict[str, Any] | None = None  # the last one that came
        self.finish_reason: Any = None  # the last one that came, of any choice
        self.pieces = _NO_PIECES  # of which calls the pieces in the last chunk are, by the place of their choice
        self._stored = stored
        self._facts: list[Fact] = []
        self._choices: dict[int, bool] = {}  # by index: it has a finish reason
        self._kept = Kept()
        self.calls = Calls(self._kept)
        self._model: Any = None
        self._tier: Any = None

    @property
    def over(self) -> bool:
        """Every choice has a finish reason."""
        return bool(self._choices) and all(self._choices.values())

    def taken(self) -> tuple[Fact, ...]:
        """What was learned since the last call."""
        if not self._facts:
            return ()
        facts, self._facts = tuple(self._facts), []
        return facts

    def unreadable(self) -> None:
        self._facts.append(Unreadable("an event of the stream is no JSON object"))

    def failed(self, problem: tuple[str | None, str | None]) -> None:
        self.outcome, self.problem = "failed", problem

    def take(self, chunk: Chunk) -> bool:
        """Reads what a chunk tells. True: the model says something in it."""
        if self.response_id is None and isinstance(chunk.id, str) and chunk.id:
            self.response_id = chunk.id
            if self._stored:
                self._facts.append(StoredIds((chunk.id,)))
        if not self._model:  # Azure's first chunk, of its filters, has an empty one
            self._model = chunk.model
        if isinstance(chunk.usage, dict) and chunk.usage:
            self.usage = chunk.usage
        if isinstance(chunk.service_tier, str):
            self._tier = chunk.service_tier
        self.pieces = _NO_PIECES
        goes_on = False
        for place, choice in enumerate(choices(chunk)):
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            goes_on |= self._hear(place, index, mapping(choice.get("delta")))
            reason = choice.get("finish_reason")
            if reason:
                self.finish_reason = reason
            self._choices[index] = bool(reason) or self._choices.get(index, False)
        return goes_on

    def end(self, *, ours_apart: bool = False) -> list[Called]:
        """There will be no more chunks. Completes the facts; all calls, of which ours may be told by somebody else."""
        for index in self._choices:
            if content := self._kept.take(("reasoning", index)):
                self._facts.append(Thought(content=content, source="reasoning"))
        calls = self.calls.take()
        self._facts += (call.use(self.response_id) for call in calls if not (ours_apart and call.ours))
        if self.usage is not None:
            partial = self.outcome != "complete"
            usage = token_usage(self.usage, self.response_id, model=self._model, tier=self._tier, partial=partial)
            self._facts.append(usage)
        return calls

    def _hear(self, place: int, index: int, delta: dict[str, Any]) -> bool:
        thought = reasoning(delta)
        self._kept.add(("reasoning", index), thought)
        pieces = self.calls.add(index, delta)
        if pieces:
            self.pieces = {**self.pieces, place: pieces}
        return bool(thought or pieces or delta.get("content") or delta.get("refusal"))
