"""Over several requests of a client: the provider receives what a client that had seen everything would have sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.messages.request import MessagesRequest, parse
from aibridge.dialects.turns import Hidden
from tests.dialects.messages.habits import Habits, Message, habits, in_plain_form
from tests.dialects.messages.loops import TOOLS, Block, Scripted, content_of, play
from tests.dialects.messages.scripts import ENDINGS, Ids, is_ours, scripts


@dataclass(slots=True)
class _Talk:
    """One conversation, as its client knows it, and as one that saw everything would."""

    habits: Habits
    known: list[Message] = field(default_factory=list)
    seen: list[Message] = field(default_factory=list)
    owed: list[Block] = field(default_factory=list)  # results that only the latter has to send
    calls: list[str] = field(default_factory=list)  # of the client's own, unanswered

    def ask(self, words: str) -> None:
        answers = [{"type": "tool_result", "tool_use_id": one, "content": "found"} for one in self.calls]
        content = [*answers, {"type": "text", "text": words}]
        self.known.append({"role": "user", "content": content})
        self.seen.append({"role": "user", "content": [*self.owed, *content]})
        self.owed, self.calls = [], []


class _Store:
    """Held turns of one person, found by what is visible of them: newest first."""

    def __init__(self) -> None:
        self._held: list[Hidden] = []

    def hold(self, hidden: Hidden | None) -> None:
        if hidden is not None:
            assert all(len(anchor) <= 128 for anchor in hidden.anchors)
            self._held.insert(0, hidden)

    def recalled_in(self, request: MessagesRequest) -> MessagesRequest:
        found = {name: [one for one in self._held if name in one.anchors] for name in request.anchors}
        return request.recalling({name: held for name, held in found.items() if held})


@st.composite
def _exchange(draw: st.DrawFn, talk: _Talk, store: _Store, ids: Ids) -> None:
    """One request of the client's and its answer; what the provider receives is compared."""
    leaves = draw(st.integers(0, 4)) == 0
    stream = leaves or draw(st.booleans())
    script = draw(scripts(ids, hidden=2, endings=("client_gone",) if leaves else ENDINGS))
    events = draw(st.integers(2, 12)) if leaves else None
    talk.ask(draw(st.sampled_from(["go on", "again", "why?"])))

    body = {"model": "m", "messages": talk.habits.marked(talk.known), "stream": stream}
    request = store.recalled_in(parse(msgspec.json.encode(body)).offering(TOOLS))
    played = play(request, script, stream=stream, events=events)

    expected = in_plain_form(talk.habits.marked(talk.seen))
    assert in_plain_form(played.bodies[0]["messages"]) == expected
    assert store.recalled_in(parse(msgspec.json.encode(body)).offering(TOOLS)).body() == request.body()
    assert b"bmcp_" not in played.received
    for asked in played.bodies:
        _check_results(asked["messages"])
    store.hold(played.hidden)
    _remember(
        talk,
        script,
        played.bodies[1:],
        content_of(played.received, stream=stream),
        whole=played.turns[-1].outcome == "complete",
    )


def _remember(
    talk: _Talk, script: Sequence[Scripted], asked: Sequence[dict[str, Any]], visible: list[Block], *, whole: bool
) -> None:
    """What the client, and one that saw everything, know of the answer."""
    final = script[len(asked)].content
    if not whole:
        visible = [block for block in visible if _is_whole(block)]  # what a client can send back
        before = sum(not is_ours(block) for one in script[: len(asked)] for block in one.content)
        final = visible[before:]
    known = talk.habits.assistant(visible)
    talk.known += known
    if not known:
        return  # nothing to see, nothing to send: the reply is gone
    for number, one in enumerate(script[: len(asked)]):
        talk.seen += [*talk.habits.assistant(one.content), asked[number]["messages"][-1]]
    talk.seen += talk.habits.assistant(final)
    talk.calls = [block["id"] for block in final if block["type"] == "tool_use" and not is_ours(block)]
    if whole:
        talk.owed = [_result(block, script[len(asked)]) for block in final if is_ours(block)]


def _is_whole(block: Block) -> bool:
    if block["type"] in ("tool_use", "server_tool_use"):
        return bool(block["input"])
    return bool(block.get("signature", True))


def _result(block: Block, turn: Scripted) -> Block:
    """What the model is told of a call in the last turn: those beside the client's were run, others were not."""
    answered = {"type": "tool_result", "tool_use_id": block["id"]}
    if any(one["type"] == "tool_use" and not is_ours(one) for one in turn.content):
        return {**answered, "content": [{"type": "text", "text": f"result of {block['id']}"}]}
    cut = "This call was cut off before it was complete, so it was not run."
    ended = "This call was not run, because the answer ended with it."
    words = cut if turn.stop_reason == "max_tokens" else ended
    return {**answered, "content": [{"type": "text", "text": words}], "is_error": True}


def _check_results(messages: list[Message]) -> None:
    """Every call has exactly one result, in the message that follows; every result has its call."""
    calls: list[str] = []
    for message in in_plain_form(messages):
        blocks = message["content"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(results) == sorted(calls)
        kinds = [block["type"] == "tool_result" for block in blocks]
        assert kinds == sorted(kinds, reverse=True), "results stand before everything else"
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]


@settings(max_examples=100)
@given(habits, st.data())
def test_the_provider_receives_what_a_client_that_saw_everything_would_have_sent(
    clients: Habits, data: st.DataObject
) -> None:
    ids, store, talk = Ids(), _Store(), _Talk(clients)

    for _ in range(data.draw(st.integers(2, 4), label="requests")):
        data.draw(_exchange(talk, store, ids))
