"""Every story, whole and in pieces. A story says what must come; this file says that nothing else may matter."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Reply, Thought, TokenUsage, ToolUse, Turn
from tests.transcripts.stories import DIALECTS, Story, stories

_STORIES = [story for dialect in DIALECTS.values() for story in stories(dialect.name)]
_STREAMED = [story for story in _STORIES if story.stream]

every_story = pytest.mark.parametrize("story", _STORIES, ids=lambda story: f"{story.dialect}/{story.name}")
every_stream = pytest.mark.parametrize("story", _STREAMED, ids=lambda story: f"{story.dialect}/{story.name}")

# An event of a stream, with the empty line that ends it; the last one may lack that.
_BLOCK = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r(?!\n)|\Z)", re.DOTALL)
_TERMINAL = {
    "messages": re.compile(rb'event: *(?:message_stop|error)|data: *\{ *"type": *"(?:message_stop|error)"'),
    "chat_completions": re.compile(rb'data: *(?:\[DONE\]|\{ *"error"|\{ *"object": *"error")'),
    "responses": re.compile(rb'data: *\{ *"type": *"(?:response\.(?:completed|incomplete|failed)|error)"'),
}
_ATTRIBUTION = {
    "messages": {"metadata"},
    "chat_completions": {"user", "safety_identifier", "stream_options"},
    "responses": {"user", "safety_identifier"},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_has_stories_in_both_modes(dialect: str) -> None:
    assert {story.stream for story in _STORIES if story.dialect == dialect} == {True, False}


@every_story
def test_the_request_is_read(story: Story) -> None:
    request = DIALECTS[story.dialect].parse(story.request)

    assert {name: getattr(request, name) for name in story.read} == dict(story.read)
    assert request.streaming == story.stream
    assert request.body() == story.request


@every_story
def test_only_the_attribution_differs_upstream(story: Story) -> None:
    request = DIALECTS[story.dialect].parse(story.request).attributed_to("person-1").asking_usage()

    if story.upstream_request is not None:
        assert request.body() == story.upstream_request
    ours = _ATTRIBUTION[story.dialect]
    assert _members(request.body(), ours) == _members(story.request, ours)
    assert b'"person-1"' in request.body()


@every_story
def test_the_answer_in_one_piece(story: Story) -> None:
    _check(story, _run(story, [story.upstream]))


@every_story
def test_the_answer_byte_by_byte(story: Story) -> None:
    _check(story, _run(story, (story.upstream[at : at + 1] for at in range(len(story.upstream)))))


@every_story
@settings(max_examples=20)
@given(data=st.data())
def test_the_answer_in_any_pieces(story: Story, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(story.upstream)), max_size=12), label="cuts"))
    edges = [0, *cuts, len(story.upstream)]
    chunks = [story.upstream[start:end] for start, end in itertools.pairwise(edges)]

    _check(story, _run(story, chunks))


@every_stream
def test_nothing_from_the_terminal_event_on_is_given_out_early(story: Story) -> None:
    blocks = _blocks(story.client)
    terminal = _terminal(story, blocks)
    if terminal == len(blocks):
        assert story.dialect == "chat_completions" or story.turn["outcome"] == "cut"
        return

    reply = _reply(story)
    received = b"".join(reply.receive(story.upstream[at : at + 1]) for at in range(len(story.upstream)))
    reply.end_turn()

    before = b"".join(blocks[:terminal])
    assert before.startswith(received)
    assert received == before or story.dialect == "chat_completions"  # whose last events before it may be kept back too
    assert received + reply.finish() == story.client


@every_stream
def test_a_stream_cut_after_an_event_is_known_as_cut(story: Story) -> None:
    blocks = _blocks(story.upstream)
    for count in range(len(blocks)):
        sent = b"".join(blocks[:count])
        seen = _run(story, [sent])

        _check_cut(story, sent, seen)
        # Not so with CR line ends, which need the next byte, nor in chat, where any event may turn out to be the last.
        if story.client == story.upstream and b"\r" not in sent and story.dialect != "chat_completions":
            assert seen.received == b"".join(blocks[: min(count, _terminal(story, blocks))]), "an event was kept back"


@every_stream
def test_a_stream_cut_inside_an_event_gives_whole_events_only(story: Story) -> None:
    blocks = _blocks(story.upstream)
    for number, block in enumerate(blocks):
        for size in {1, len(block) // 2, max(1, len(block) - 4)} - {len(block)}:
            sent = b"".join(blocks[:number]) + block[:size]

            _check_cut(story, sent, _run(story, [sent]))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of one run. `finished` is what was withheld; a cut stream gives nothing more."""

    received: bytes
    finished: bytes
    facts: tuple[Fact, ...]
    turn: Turn


def _check(story: Story, seen: _Seen) -> None:
    """All that a story says has come, and nothing else."""
    assert seen.received + seen.finished == story.client
    assert list(seen.facts) == list(story.facts)
    assert {name: getattr(seen.turn, name) for name in story.turn} == dict(story.turn)


def _run(story: Story, chunks: Iterable[bytes]) -> _Seen:
    reply = _reply(story)
    received: list[bytes] = []
    facts: list[Fact] = []
    for chunk in chunks:
        received.append(reply.receive(chunk))
        facts += reply.facts()
    turn = reply.end_turn()
    facts += reply.facts()
    assert reply.facts() == (), "facts are given out once"
    finished = b"" if turn.outcome == "cut" else reply.finish()
    return _Seen(b"".join(received), finished, tuple(facts), turn)


def _check_cut(story: Story, sent: bytes, seen: _Seen) -> None:
    """What holds for every cut: the client has whole events, and what is recorded is part of the whole story."""
    assert story.client.startswith(seen.received)
    assert seen.received == b"".join(_blocks(story.client)[: len(_blocks(seen.received))])
    if not any(_TERMINAL[story.dialect].search(block) for block in _blocks(sent)):
        assert seen.turn.outcome == "cut" or (story.dialect == "chat_completions" and _every_choice_is_over(sent))
    usages = [fact for fact in seen.facts if isinstance(fact, TokenUsage)]
    assert len(usages) <= 1
    if seen.turn.outcome == "cut":
        assert all(usage.partial for usage in usages)
    thoughts = [fact.content for fact in story.facts if isinstance(fact, Thought)]
    for fact in seen.facts:
        if isinstance(fact, Thought):
            assert any(thought.startswith(fact.content) for thought in thoughts)
    calls = {fact.call_id for fact in story.facts if isinstance(fact, ToolUse)}
    assert {fact.call_id for fact in seen.facts if isinstance(fact, ToolUse)} <= calls


def _every_choice_is_over(sent: bytes) -> bool:
    over: dict[int, bool] = {}
    for block in _blocks(sent):
        for line in block.splitlines():
            if line.startswith(b"data:") and line[5:].strip().startswith(b"{"):
                try:
                    chunk = json.loads(line[5:])
                except ValueError:
                    continue
                for choice in chunk.get("choices") or ():
                    over[choice.get("index", 0)] = over.get(choice.get("index", 0), False) or bool(
                        choice.get("finish_reason")
                    )
    return bool(over) and all(over.values())


def _reply(story: Story) -> Reply:
    request = DIALECTS[story.dialect].parse(story.request).attributed_to("person-1").asking_usage()
    return request.reply(stream=story.stream)


def _blocks(stream: bytes) -> list[bytes]:
    return [block for block in _BLOCK.findall(stream) if block]


def _terminal(story: Story, blocks: list[bytes]) -> int:
    """Which block ends the stream; their number when none does."""
    pattern = _TERMINAL[story.dialect]
    return next((number for number, block in enumerate(blocks) if pattern.search(block)), len(blocks))


def _members(body: bytes, ours: set[str]) -> list[tuple[str, Any]]:
    """A body's members in order, numbers as they are written, without those that attribution may set."""
    pairs: list[tuple[str, Any]] = json.loads(body, parse_int=str, parse_float=str, object_pairs_hook=list)
    return [(name, value) for name, value in pairs if name not in ours]
