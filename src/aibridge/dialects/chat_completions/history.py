"""Hidden turns in the history of a later chat request: put back where they were, the same bytes every time.

The client's messages keep their bytes. What is cut from them is what comes with the hidden turns: their text, and
where a stream brought the other members of all turns as one (reasoning, signatures), those of the hidden ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aibridge.dialects.chat_completions.assistant import said_in
from aibridge.dialects.chat_completions.calls import is_our_call
from aibridge.dialects.chat_completions.hidden_turns import HiddenTurns, Step, others_in, squeezed
from aibridge.dialects.chat_completions.so_far import SEPARATOR
from aibridge.dialects.chat_completions.splicing import EMPTY, changed, readable_array, readable_object
from aibridge.dialects.chat_completions.standing import Likeness, Message, Standing, likeness, standings
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import JsonObject

_HELD = msgspec.json.Decoder(HiddenTurns)


class History:
    """The messages of one request. Read when somebody asks: most requests carry nothing hidden."""

    __slots__ = ("_body", "_known")

    def __init__(self, body: JsonObject) -> None:
        self._body = body
        self._known: tuple[JsonArray, Sequence[Standing]] | None = None

    def answering(self) -> str:
        """What the reply to these messages answers to."""
        _, replies = self._read()
        return replies[-1].after

    def anchors(self) -> Sequence[Anchor]:
        """What may stand for a reply with hidden turns, in the order of the history, without doubles."""
        _, replies = self._read()
        return tuple(dict.fromkeys(one for reply in replies if reply.messages for one in reply.anchors()))

    def recalled(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> bytes | None:
        """The messages with the hidden turns among them; None when none belongs there."""
        if not hidden:
            return None
        array, replies = self._read()
        raws = array.elements()
        used: set[bytes] = set()
        replaced: dict[int, bytes] = {}
        # From the end: of replies that look alike the newest belongs to the last place.
        for reply in reversed(replies):
            found = _held(reply, hidden, used) if reply.messages else None
            if found is not None:
                content, held, whole = found
                if placed := _placed(raws, reply, held, whole=whole):
                    used.add(content)
                    replaced.update(placed)
        return array.replacing(replaced) if replaced else None

    def _read(self) -> tuple[JsonArray, Sequence[Standing]]:
        if self._known is None:
            array = JsonArray.parse(self._body.raw("messages") or b"") or EMPTY
            self._known = (array, tuple(standings(array.elements())))
        return self._known


def _held(
    reply: Standing, hidden: Mapping[Anchor, Sequence[Hidden]], used: set[bytes]
) -> tuple[bytes, HiddenTurns, bool] | None:
    """The held reply that this one is: of several the one that is most alike, or the newest."""
    best: tuple[bool, Likeness, bytes, HiddenTurns] | None = None
    candidates = {one.content: None for anchor in reply.anchors() for one in hidden.get(anchor, ())}
    for content in candidates:
        if content in used:
            continue
        try:
            held = _HELD.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # of another version of ours
        found = likeness(reply, held)
        if found is not None and (best is None or (found[0] == "whole", found[1]) > best[:2]):
            best = (found[0] == "whole", found[1], content, held)
    return None if best is None else (best[2], best[3], best[0])


def _placed(raws: Sequence[bytes], reply: Standing, held: HiddenTurns, *, whole: bool) -> dict[int, bytes]:
    """What stands in the place of a reply's messages: the hidden turns, then what the client saw of the last one."""
    before = [step for step in held.steps if not step.mixed]
    mixed = held.steps[-1] if held.steps[-1].mixed and reply.calls else None
    if whole:
        cut = _position(reply.text, held.text, held.begins) if held.last_seen else len(reply.text)
    else:
        before = [step for step in before if len(squeezed(held.text[: step.ends])) <= len(squeezed(reply.text))]
        cut = _position(reply.text, held.text, before[-1].ends) if before else 0
        cut += len(SEPARATOR) if cut and reply.text.startswith(SEPARATOR, cut) else 0
    if not before and mixed is None:
        return {}
    messages = list(raws[reply.start : reply.end])
    for number, message in enumerate(reply.messages):
        length = len(said_in(message.content))
        changes = _without_text(messages[number], message, min(cut, length)) if cut else {}
        changes |= _own_others(messages[number], before, held, whole=whole)
        messages[number] = changed(messages[number], changes)
        cut -= min(cut, length)
    if before and not (len(messages) == 1 and whole and held.last_seen) and _says_nothing(messages[0]):
        messages[0] = b""
    if mixed is not None:
        place = next(number for number, message in enumerate(reply.messages) if message.tool_calls)
        messages[place] = b",".join((_with_calls(messages[place], mixed), *map(bytes, mixed.results)))
    hidden = [piece for step in before for piece in (step.said, *step.results)]
    messages[0] = b",".join((*map(bytes, hidden), *filter(None, messages[:1])))
    places = range(reply.start, reply.end)
    return {place: message for place, message in zip(places, messages, strict=True) if message != raws[place]}


def _position(said: str, known: str, position: int) -> int:
    """Where in `said` that is which stands at a position of `known`; the two differ in spaces at most."""
    if said.startswith(known[:position]):
        return position
    left = len(squeezed(known[:position]))
    if not squeezed(said).startswith(squeezed(known[:position])):
        return 0  # known by its calls; the text is the client's own
    for number, letter in enumerate(said):
        if not letter.isspace():
            if left == 0:
                return number
            left -= 1
    return len(said)


def _without_text(raw: bytes, message: Message, cut: int) -> dict[str, bytes | None]:
    """The change of a message whose first `cut` characters of text are gone."""
    if isinstance(message.content, str):
        return {"content": _content(message, message.content[cut:])}
    array = readable_array(readable_object(raw).raw("content"))
    kept: list[bytes] = []
    for part in array.elements():
        found = mapping(decoded(part))
        words = text(found.get("text")) if found.get("type") == "text" else ""
        if len(words) > cut or not words:
            kept.append(changed(part, {"text": msgspec.json.encode(words[cut:])}) if cut and words else part)
        cut -= min(cut, len(words))
    return {"content": b"[" + b",".join(kept) + b"]" if kept else _content(message, "")}


def _content(message: Message, words: str) -> bytes:
    return b"null" if not words and message.tool_calls else msgspec.json.encode(words)


def _own_others(raw: bytes, before: Sequence[Step], held: HiddenTurns, *, whole: bool) -> dict[str, bytes | None]:
    """The change of a message that has the hidden turns' reasoning and the like in front of the last turn's own."""
    own = readable_object(bytes(held.others)) if held.last_seen else None
    found = readable_object(raw)
    changes: dict[str, bytes | None] = {}
    for name, value in _others_of(before).items():
        if name not in found:
            continue
        if whole and own is not None:
            if decoded(own.raw(name)) != decoded(found.raw(name)):
                changes[name] = own.raw(name)
        elif isinstance(value, str) and (has := text(decoded(found.raw(name)))).startswith(value):
            changes[name] = msgspec.json.encode(has[len(value) :]) if has != value else None
    return changes


def _others_of(steps: Sequence[Step]) -> dict[str, Any]:
    """The other members of hidden turns, as a client has them that takes them for one: texts joined."""
    joined: dict[str, Any] = {}
    for step in steps:
        for name, value in mapping(decoded(others_in(bytes(step.said)))).items():
            known = joined.get(name)
            joined[name] = known + value if isinstance(known, str) and isinstance(value, str) else value
    return joined


def _says_nothing(raw: bytes) -> bool:
    found = mapping(decoded(raw))
    return not found.get("content") and not found.get("tool_calls")


def _with_calls(raw: bytes, step: Step) -> bytes:
    """A mixed turn's message with our calls among the client's, where they were."""
    clients = readable_array(readable_object(raw).raw("tool_calls")).elements()
    by_id: dict[Any, list[bytes]] = {}
    for call in clients:
        by_id.setdefault(mapping(decoded(call)).get("id"), []).append(call)
    calls: list[bytes] = []
    for call in readable_array(readable_object(bytes(step.said)).raw("tool_calls")).elements():
        found = mapping(decoded(call))
        if is_our_call(found):
            calls.append(call)
        elif same := by_id.get(found.get("id")):
            calls.append(same.pop(0))
    left = [call for calls_of_id in by_id.values() for call in calls_of_id]
    return changed(raw, {"tool_calls": b"[" + b",".join((*calls, *left)) + b"]"})
