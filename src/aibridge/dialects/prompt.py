"""What of a conversation is the person's own: the last message that counts, and the words in it.

Clients put things around both: messages with instructions after the person's, reminders before or after the words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from aibridge.dialects.reading import decoded, elements, mapping, text

_REMINDER, _REMINDER_END = "<system-reminder>", "</system-reminder>"
# What Claude Code 2.1.329 says to the model, as the user, after an answer that broke off (observed November 2026).
_RESUMING = "Your response above was cut off mid-stream. Resume directly from where it stops"
_MOST_REMINDERS = 32  # each costs a copy of the words, which may be megabytes


class _Role(msgspec.Struct):
    role: Any = None


_ROLE = msgspec.json.Decoder(_Role)


def last_message(messages: bytes | None, asides: Collection[str]) -> Mapping[str, Any]:
    """The last of `messages` whose role is not one of `asides`; {} without one. The others are not decoded."""
    for raw in reversed(elements(messages)):
        try:
            role = _ROLE.decode(raw).role
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            break
        if text(role) not in asides:
            return mapping(decoded(bytes(raw)))
    return {}


def own_words(said: str) -> str | None:
    """The text without the reminders that clients put around a person's words; None when nothing is left, and for
    what a client says by itself to have an answer resumed.

    A reminder that does not end, or that stands in the midst of other words, is taken for the person's.
    """
    words = said
    for _ in range(_MOST_REMINDERS):
        bare = words.strip()
        if bare.startswith(_REMINDER) and _REMINDER_END in bare:
            words = words.partition(_REMINDER_END)[2].lstrip("\r\n")
        elif bare.endswith(_REMINDER_END) and _REMINDER in bare:
            words = words.rpartition(_REMINDER)[0].rstrip("\r\n")
        else:
            break
    bare = words.lstrip()
    return words if bare and not bare.startswith(_RESUMING) else None
