"""Conversations as hypothesis draws them: what the model says in each turn, and how a client writes its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.dialects.responses.events import Json
from tests.dialects.responses.provider import answer_item, call, is_ours, message, reasoning, search

Turn = list[Json]
Reply = list[Turn]

_WORDS = st.text(max_size=8)
_ARGUMENTS = st.sampled_from(["{}", '{"q":"x"}', "", '{"q": [1, 2]}', "no JSON", "[]"])


@st.composite
def _turns(draw: st.DrawFn, name: str, *, last: bool) -> Turn:
    """One turn; all but the last one have a call of ours and none of the client's."""
    kinds = ["message", "message", "reasoning", "sealed", "search", "own" if last else "ours"]
    drawn = draw(st.lists(st.sampled_from(kinds), max_size=4))
    if not last or (draw(st.booleans()) and "own" in drawn):
        drawn.insert(draw(st.integers(0, len(drawn))), "ours")
    return [_item(draw, kind, f"{name}{place}") for place, kind in enumerate(drawn)]


def _item(draw: st.DrawFn, kind: str, name: str) -> Json:
    match kind:
        case "message":
            return message(f"msg_{name}", f"{draw(_WORDS)} said {name}")
        case "reasoning":
            return reasoning(f"rs_{name}", draw(_WORDS))
        case "sealed":
            return reasoning(f"rs_{name}", draw(_WORDS), f"seal{name}==")
        case "search":
            return search(f"ws_{name}", draw(_WORDS))
        case "own":
            return call(f"call_{name}", draw(st.sampled_from(["shell", "read"])), draw(_ARGUMENTS))
        case _:
            tool = draw(st.sampled_from(["bmcp_wiki_search", "bmcp_wiki_read", "bmcp_never_offered"]))
            return call(f"call_{name}", tool, draw(_ARGUMENTS))


@st.composite
def replies(draw: st.DrawFn, number: int = 0) -> Reply:
    """What the model says to one request of the client's."""
    hidden = draw(st.integers(0, 2))
    return [draw(_turns(f"{number}_{turn}_", last=turn == hidden)) for turn in range(hidden + 1)]


@st.composite
def conversations(draw: st.DrawFn) -> list[Reply]:
    return [draw(replies(number)) for number in range(draw(st.integers(1, 3)))]


# -- how clients write what they saw -------------------------------------------------------------------

Write = Callable[[Json], Json | None]
"""An item of a history, made of one that the client was shown; None when the client leaves it out."""


def _as_it_came(item: Json) -> Json | None:
    return item


def _with_members_in_another_order(item: Json) -> Json | None:
    return dict(reversed(item.items()))


def _without_ids(item: Json) -> Json | None:
    if item["type"] == "reasoning" and "encrypted_content" not in item:
        return None
    kept = item["type"] == "web_search_call"
    return {name: value for name, value in item.items() if kept or name not in ("id", "status")}


def _as_short_as_it_goes(item: Json) -> Json | None:
    match item["type"]:
        case "message":
            return {"role": "assistant", "content": item["content"][0]["text"]}
        case "function_call":
            return {name: item[name] for name in ("name", "arguments", "call_id", "type")}
        case _:
            return None


def _by_reference(item: Json) -> Json | None:
    return {"type": "item_reference", "id": item["id"]}


WRITERS: Sequence[Write] = (
    _as_it_came,
    _with_members_in_another_order,
    _without_ids,
    _as_short_as_it_goes,
    _by_reference,
)


@dataclass(frozen=True, slots=True)
class Histories:
    """A reply as its client writes it, and as one would that had been shown everything."""

    seen: list[Json]
    whole: list[Json]


def histories(reply: Reply, write: Write, *, stored: bool) -> Histories:
    """What our calls came from is whole wherever they are: a thought that the client leaves out stands before them."""
    seen: list[Json] = []
    whole: list[Json] = []
    for turn in reply:
        has_ours = any(map(is_ours, turn))
        for item in turn:
            written = None if is_ours(item) else write(item)
            if written is not None:
                seen.append(written)
                whole.append(written)
            elif is_ours(item) or (has_ours and _is_readable_thought(item, stored=stored)):
                whole.append(item)
        whole += (answer_item(item["call_id"]) for item in turn if is_ours(item))
    return Histories(seen, whole if seen else [])


def _is_readable_thought(item: Json, *, stored: bool) -> bool:
    return item["type"] == "reasoning" and (stored or "encrypted_content" in item)


def results_of(reply: Reply) -> list[Json]:
    """The client's answers to its own calls."""
    own = [item for item in reply[-1] if item["type"] == "function_call" and not is_ours(item)]
    return [{"type": "function_call_output", "call_id": item["call_id"], "output": "done"} for item in own]
