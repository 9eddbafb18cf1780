"""What is the person's own in a conversation."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.prompt import last_message, own_words

_REMINDER = "<system-reminder>Mind\nthe gap.</system-reminder>"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("a question", "a question"),
        (" a question\n", " a question\n"),
        ("", None),
        (" \n", None),
        (_REMINDER, None),
        (f"{_REMINDER}\n\n{_REMINDER}\n", None),
        (f"{_REMINDER}\na question", "a question"),
        (f"  {_REMINDER}{_REMINDER}\n  a question", "  a question"),
        (f"a question\n\n{_REMINDER}\n", "a question"),
        (f"{_REMINDER}a{_REMINDER}\n{_REMINDER}", "a"),
        (f"what does {_REMINDER} mean?", f"what does {_REMINDER} mean?"),
        ("<system-reminder>never closed", "<system-reminder>never closed"),
        ("never opened</system-reminder>", "never opened</system-reminder>"),
    ],
)
def test_reminders_around_a_persons_words_are_left_out(said: str, words: str | None) -> None:
    assert own_words(said) == words


@given(st.lists(st.sampled_from([_REMINDER, "<system-reminder>", "</system-reminder>", " ", "\n", "a"]), max_size=12))
def test_words_are_never_made_up(pieces: list[str]) -> None:
    said = "".join(pieces)
    words = own_words(said)

    assert words is None or (words.strip() and words in said)


def test_a_text_of_nothing_but_reminders_costs_no_more_than_a_moment() -> None:
    start = time.process_time()
    own_words("<system-reminder></system-reminder>" * 100_000)

    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        (b'[{"role":"user"},{"role":"system"},{"role":"system"}]', {"role": "user"}),
        (b'[{"role":"user"},{"role":"tool"}]', {"role": "tool"}),
        (b'[{"role":"user"},{}]', {}),
        (b'[{"role":"system"}]', {}),
        (b'[{"role":"user"},7]', {}),
        (b'[{"role":"user"},{"role":"\xff"}]', {}),
        (b"[]", {}),
        (b'"x"', {}),
        (None, {}),
    ],
)
def test_the_last_message_is_one_that_is_not_an_aside(messages: bytes | None, found: object) -> None:
    assert last_message(messages, {"system"}) == found
