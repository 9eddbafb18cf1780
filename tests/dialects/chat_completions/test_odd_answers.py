"""Whatever JSON a provider sends while tools of ours are offered: it is relayed or hidden, and nothing breaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.chat_completions.turns import TOOLSET, Call, Script, parsed, results_of

_LOOK = Call("call_look_0123456789", "bmcp_demo_look", "{}")
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, -1, 2.5, "", "x", "bmcp_x", "b", [], {}, [None], ["x"], [{}], {"index": 0}, {"id": "c1"}]
)
_NAMED = st.fixed_dictionaries({}, optional={"name": _ODD, "arguments": _ODD, "input": _ODD, "more": _ODD})
_PIECE = st.fixed_dictionaries(
    {}, optional={"index": _ODD, "id": _ODD, "type": _ODD, "function": _NAMED | _ODD, "custom": _NAMED | _ODD}
)
_PIECES = st.lists(_PIECE | _ODD, max_size=3) | _ODD
_SAID = st.fixed_dictionaries(
    {},
    optional={
        "role": _ODD,
        "content": _ODD | st.just([{"type": "text", "text": "x"}]),
        "tool_calls": _PIECES,
        "function_call": _NAMED | _ODD,
        "reasoning_content": _ODD,
        "reasoning_details": _PIECES,
    },
)
_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": _ODD,
        "delta": _SAID | _ODD,
        "message": _SAID | _ODD,
        "finish_reason": st.sampled_from([None, "stop", "tool_calls", "length", 7, []]),
    },
)
_USAGE = st.fixed_dictionaries(
    {}, optional={"completion_tokens": _ODD, "total_tokens": _ODD, "completion_tokens_details": _ODD}
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "id": _ODD,
        "created": _ODD,
        "choices": st.lists(_CHOICE | _ODD, max_size=2) | _ODD,
        "usage": _USAGE | _ODD,
    },
)


@settings(max_examples=150)
@given(st.lists(_OBJECTS, max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_odd_chunks_break_nothing(objects: list[Any], first: bool, calls: bool, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    request = parsed(json.dumps({"model": "m-1", "stream": True, "messages": [], **options}).encode())
    reply: Any = request.offering(TOOLSET).asking_usage().reply(stream=True)
    if not first:
        reply.receive(b"".join(Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls").stream()))
        _answered(reply, reply.end_turn())
        reply.next_turn()
    odd = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects]
    before = Script("r-1", ("Two.",), calls=(_LOOK,)).stream(done=False)[:-1] if calls else []
    out = b"".join([reply.receive(event) for event in [*before, *odd, b"data: [DONE]\n\n"]])
    turn = reply.end_turn()
    reply.facts()
    _answered(reply, turn)
    out += reply.finish()

    assert reply.hidden() is None or reply.hidden().content
    for block in out.split(b"\n\n"):
        assert not block or block == b"data: [DONE]" or isinstance(json.loads(block.removeprefix(b"data: ")), dict)


@settings(max_examples=100)
@given(_OBJECTS, st.booleans())
def test_odd_bodies_break_nothing(body: Any, first: bool) -> None:
    reply: Any = parsed(b'{"model":"m-1","messages":[]}').offering(TOOLSET).reply(stream=False)
    if not first:
        reply.receive(Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls").body())
        _answered(reply, reply.end_turn())
        reply.next_turn()
    reply.receive(json.dumps(body).encode())
    turn = reply.end_turn()
    reply.facts()
    _answered(reply, turn)

    assert isinstance(json.loads(reply.finish()), dict)


def _answered(reply: Any, turn: Any) -> None:
    if turn.runnable:
        assert json.loads(turn.said)["role"]
        reply.answer(turn, results_of(turn.calls))


@settings(max_examples=100)
@given(st.lists(_SAID.map(lambda said: {**said, "role": "assistant"}) | _ODD, max_size=4))
def test_odd_histories_break_nothing(messages: list[Any]) -> None:
    request = parsed(json.dumps({"model": "m-1", "messages": [*messages, {"role": "user", "content": "Hi"}]}).encode())
    reply: Any = request.offering(TOOLSET).reply(stream=False)
    reply.receive(Script("r-0", ("One.",), calls=(_LOOK,), finish="tool_calls").body())
    _answered(reply, reply.end_turn())
    hidden = reply.hidden()

    anchors = [*request.anchors, *hidden.anchors]
    assert isinstance(json.loads(request.recalling({anchor: [hidden] for anchor in anchors}).body())["messages"], list)
