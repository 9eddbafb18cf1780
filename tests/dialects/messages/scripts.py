"""Turns as a provider may answer: any mix of thoughts, texts, hosted calls, calls of ours and of the client's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from tests.dialects.messages.loops import Block, Scripted

Ending = Literal["answer", "client_calls", "mixed", "no_room", "at_the_cap", "client_gone"]
ENDINGS: Sequence[Ending] = ("answer", "client_calls", "mixed", "no_room", "at_the_cap")

# Few words, so that many replies look alike, and some begin as others do.
_WORDS = st.sampled_from(["Looking.", "OK", "OK, done.", "Done. ", "\nLet me see.\n", "", " "])
_NAMES = st.sampled_from(["bmcp_demo_look", "bmcp_demo_count", "bmcp_unknown"])


@dataclass(slots=True)
class Ids:
    """Ids as a provider gives them: never the same twice."""

    given: int = 0

    def next(self, prefix: str) -> str:
        self.given += 1
        return f"{prefix}_{self.given}"


def is_ours(block: Block) -> bool:
    return bool(block["type"] == "tool_use" and block["name"].startswith("bmcp_"))


@st.composite
def scripts(
    draw: st.DrawFn, ids: Ids | None = None, *, hidden: int = 3, endings: Sequence[Ending] = ENDINGS
) -> list[Scripted]:
    """Turns with calls of ours only, then the one that the reply ends with."""
    ids = ids or Ids()
    before = draw(st.lists(st.integers(1, 3), max_size=hidden))
    script = [_turn(draw, ids, ["ours"] * calls, "tool_use") for calls in before]
    match draw(st.sampled_from(endings)):
        case "answer" | "client_gone":
            return [*script, _turn(draw, ids, [], "end_turn")]
        case "client_calls":
            return [*script, _turn(draw, ids, ["theirs"], "tool_use")]
        case "mixed":
            return [*script, _turn(draw, ids, ["ours", "theirs", "theirs"], "tool_use")]
        case "no_room":
            return [*script, _turn(draw, ids, ["ours"], "max_tokens")]
        case "at_the_cap":
            return [*script, _turn(draw, ids, ["ours", "ours"], "tool_use")]


def _turn(draw: st.DrawFn, ids: Ids, kinds: Sequence[str], stop_reason: str) -> Scripted:
    thoughts = draw(st.lists(st.sampled_from(["thinking", "redacted_thinking"]), max_size=2))
    said = draw(st.lists(st.sampled_from(["text", "text", "server_tool_use"]), max_size=3))
    content = [_block(draw, kind, ids) for kind in (*thoughts, *draw(st.permutations([*said, *kinds])))]
    usage = {"input_tokens": draw(st.integers(0, 99)), "output_tokens": draw(st.integers(0, 99))}
    return Scripted(content, stop_reason, usage, ids.next("msg"))


def _block(draw: st.DrawFn, kind: str, ids: Ids) -> Block:
    match kind:
        case "text":
            return {"type": "text", "text": draw(_WORDS)}
        case "thinking":
            return {"type": "thinking", "thinking": draw(_WORDS), "signature": ids.next("c2ln")}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": ids.next("ZGF0YQ")}
        case "server_tool_use":
            return {"type": "server_tool_use", "id": ids.next("srvtoolu"), "name": "web_search", "input": {"q": "x"}}
        case "ours":
            return {"type": "tool_use", "id": ids.next("toolu"), "name": draw(_NAMES), "input": {"n": 2**70}}
        case _:
            return {"type": "tool_use", "id": ids.next("toolu"), "name": "read", "input": {"path": "/"}}
