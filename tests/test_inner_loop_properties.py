"""Any turns in any order, cut in any way, left at any moment: one end, each call on record once, nothing of ours shown."""

import asyncio
import itertools
import json
from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchanges import EXCHANGES, Exchange
from tests.fakes.interceptions import Stage, stage
from tests.fakes.toolbox import ScriptedToolbox, breaks, fails
from tests.fakes.turns import Call, Says, results_in

OURS = ("bmcp_wiki_search", "bmcp_wiki_read", "bmcp_gone")
every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])


@st.composite
def replies(draw: st.DrawFn) -> list[Says]:
    """Turns with calls of ours, and a last one that may be mixed, cut short, or a plain answer."""
    turns: list[Says] = []
    names = st.sampled_from((*OURS, "bmcp_broken"))
    count = 0
    for number in range(1, draw(st.integers(1, 4)) + 1):
        calls = []
        for name in draw(st.lists(names, min_size=1, max_size=3)):
            count += 1
            calls.append(Call(f"call_{count}", name, {"q": str(count)}))
        turns.append(Says(number, draw(st.sampled_from(("", "Let me see. ", "\u20ac"))), tuple(calls)))
    last = draw(st.sampled_from(("plain", "mixed", "cut short", "client")))
    own, more = Call(f"call_{count + 1}", "weather", {"city": "x"}), Call(f"call_{count + 2}", OURS[0])
    ending = {"plain": (), "mixed": (more, own), "cut short": (more,), "client": (own,)}[last]
    return [*turns, Says(len(turns) + 1, "Done.", ending, cut_short=last == "cut short")]


def play(scene: Stage, turn: Says, cuts: Sequence[int], stream: bool) -> None:
    if not stream:
        scene.answers(turn.body(scene.exchange.dialect))
        return
    whole = turn.stream(scene.exchange.dialect)
    places = [0, *sorted({cut % len(whole) for cut in cuts} - {0}), len(whole)]
    scene.streams(*(whole[begin:end] for begin, end in itertools.pairwise(places)))


def ours(turns: Sequence[Says]) -> list[str]:
    return [call.id for turn in turns for call in turn.calls if call.name.startswith("bmcp_")]


@every_dialect
@settings(max_examples=40)
@given(turns=replies(), cuts=st.lists(st.integers(1, 5000), max_size=6), stream=st.booleans(), leaves=st.data())
def test_any_reply(exchange: Exchange, turns: list[Says], cuts: list[int], stream: bool, leaves: st.DataObject) -> None:
    place = leaves.draw(st.none() | st.integers(0, 150), label="the client hangs up after so many turns of the loop")

    async def run() -> Stage:
        toolbox = ScriptedToolbox()
        toolbox.does.update(search=fails, read=breaks)
        scene = stage(exchange, toolbox=toolbox)
        for turn in turns:
            play(scene, turn, cuts, stream)
        task = scene.begin(stream=stream)
        if place is not None:
            for _ in range(place):
                await asyncio.sleep(0)
            scene.hang_up()
        await task
        assert toolbox.running == 0
        return scene

    scene = anyio.run(run)
    kept, bodies = scene.recorder.kept, [request.body for request in scene.upstream.requests]
    recorded = [use.tool_call_id for use in kept.tool_usages if use.injected]
    assert b"bmcp_" not in scene.client.body
    assert len(recorded) == len(set(recorded))
    assert [usage.provider_response_id for usage in kept.token_usages] == [
        turn.id(exchange.dialect) for turn in turns[: len(kept.token_usages)]
    ]
    for number, body in enumerate(bodies[1:], 1):  # each call of the turns before has its one result
        assert list(results_in(exchange.dialect, body)) == ours(turns[:number])
        assert set(ours(turns[:number])) <= set(recorded)
    if place is None:
        assert scene.recorder.end.state == "completed"
        assert len(bodies) == len(kept.token_usages) == len(turns)
        assert recorded == ours(turns)
        shown = [call.id for turn in turns for call in turn.calls if not call.name.startswith("bmcp_")]
        assert [call_id for call_id in shown if call_id.encode() not in scene.client.body] == []
        if not stream:
            json.loads(scene.client.body)
    else:
        assert scene.recorder.end.state in ("completed", "client_gone")
        assert set(recorded) <= set(ours(turns))
