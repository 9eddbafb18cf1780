"""Compares what the clients got, what the provider's ledger says, and what the gateway recorded."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aibridge.server.demo.simulator.ledger import LedgerLine
from tests.house.load import Asked

Tokens = tuple[int, int, int, int]  # input, output, cache read, cache write
_TOKENS = "f.input_tokens, f.output_tokens, f.cache_read_tokens, f.cache_write_tokens"


@dataclass(frozen=True)
class Kept:
    """One interception as it is recorded."""

    id: str
    boot_id: str
    ended: bool
    state: str | None
    status: int | None


@dataclass(frozen=True)
class Books:
    """The provider's ledger and the gateway's records, by model."""

    served: Mapping[str, Tokens | None]  # of every request that reached the provider; None: it refused, or died
    kept: Mapping[str, Kept]
    tokens: Mapping[str, Sequence[Tokens]]
    prompts: Mapping[str, Sequence[str]]

    def states(self) -> Counter[str | None]:
        return Counter(each.state for each in self.kept.values())


def rows(database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What another process would read now."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, values).fetchall()


def left_open(database: Path) -> int:
    """How many interceptions are open that no living process has: all but the last start's."""
    query = """
        SELECT count(*) FROM aibridge_interceptions
        WHERE ended_at IS NULL AND boot_id <> (SELECT id FROM aibridge_boots ORDER BY started_at DESC LIMIT 1)
    """
    return int(rows(database, query)[0][0])


def read(database: Path, ledger: Path) -> Books:
    """Both books. Fails when one of them names a request twice."""
    kept: dict[str, Kept] = {}
    query = "SELECT model, id, boot_id, ended_at IS NOT NULL, state, http_status FROM aibridge_interceptions"
    for model, *rest in rows(database, query):
        assert model not in kept, f"two interceptions of {model}"
        kept[model] = Kept(*rest)
    return Books(
        served=_served(ledger),
        kept=kept,
        tokens=_facts(database, "aibridge_token_usages", _TOKENS),
        prompts={
            model: [prompt for (prompt,) in found]
            for model, found in _facts(database, "aibridge_user_prompts", "f.prompt").items()
        },
    )


def check(books: Books, asked: Iterable[Asked]) -> None:
    """The promise: nothing lost, nothing doubled, everything ended."""
    lost = books.served.keys() - books.kept.keys()
    assert not lost, f"{len(lost)} requests reached the provider and are not on record: {sorted(lost)[:5]}"
    open_still = [model for model, each in books.kept.items() if not each.ended or each.state is None]
    assert not open_still, f"{len(open_still)} interceptions did not end: {open_still[:5]}"
    for facts in (books.tokens, books.prompts):
        doubled = [model for model, found in facts.items() if len(found) > 1]
        assert not doubled, f"doubled: {doubled[:5]}"
    for each in asked:
        if each.settled:
            tokens = books.served[each.model]
            assert tokens is not None, (
                f"the provider did not come to an end with {each.model} ({each.dialect}, {each.streaming=})"
            )
            assert books.kept[each.model].state == "completed", each.model
            assert books.kept[each.model].status == 200, each.model
            assert books.tokens.get(each.model) == [tokens], each.model
            assert len(books.prompts.get(each.model, ())) == 1, each.model
    untrue = [model for model, each in books.kept.items() if each.state == "completed" and model not in books.served]
    assert not untrue, f"completed, but the provider knows nothing of it: {untrue[:5]}"


def _facts(database: Path, table: str, columns: str) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    query = f"SELECT i.model, {columns} FROM {table} f JOIN aibridge_interceptions i ON i.id = f.interception_id"
    for model, *values in rows(database, query):
        found.setdefault(model, []).append(tuple(values))
    return found


def _served(ledger: Path) -> dict[str, Tokens | None]:
    models: dict[int, str] = {}
    served: dict[str, Tokens | None] = {}
    for line in ledger.read_bytes().splitlines():
        entry = msgspec.json.decode(line, type=LedgerLine)
        if entry.at == "start":
            assert isinstance(entry.body, dict)
            model = models[entry.exchange] = entry.body["model"]
            assert model not in served, f"the provider was asked twice for {model}"
            served[model] = None
        elif entry.usage is not None:
            served[models[entry.exchange]] = _tokens(entry.usage)
    return served


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    """A provider's usage in the words of the records: input is without what came from, or went to, a cache."""
    if "prompt_tokens" in usage:  # chat
        read = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        return usage["prompt_tokens"] - read, usage["completion_tokens"], read, 0
    if "input_tokens_details" in usage:  # responses
        read = usage["input_tokens_details"].get("cached_tokens", 0)
        written = usage["input_tokens_details"].get("cache_write_tokens", 0)
        return usage["input_tokens"] - read - written, usage["output_tokens"], read, written
    read, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    return usage["input_tokens"], usage["output_tokens"], read, written
