"""The format of stories: what a section holds, and that a story which does not keep to it is never a passing test."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibridge.dialects.base import StoredIds, TokenUsage
from tests.transcripts.stories import BadStory, Story, read_story

_WHOLE = """What it shows.
== request
{"model":"m"}
== upstream stream
data: 1

data: 2

== facts
{"fact":"TokenUsage","input_tokens":3}
{"fact":"StoredIds","ids":["a","b"]}
"""


def _read(folder: Path, text: str) -> Story:
    path = folder / "messages" / "story.txt"
    path.parent.mkdir()
    path.write_bytes(text.encode())
    return read_story(path)


def test_a_story_is_what_its_sections_say(tmp_path: Path) -> None:
    story = _read(tmp_path, _WHOLE)

    assert (story.name, story.dialect, story.stream) == ("story", "messages", True)
    assert story.request == b'{"model":"m"}'
    assert story.upstream == story.client == b"data: 1\n\ndata: 2\n\n"
    assert story.upstream_request is None
    assert story.facts == (TokenUsage(response_id=None, input_tokens=3), StoredIds(("a", "b")))
    assert (dict(story.turn), dict(story.read)) == ({"outcome": "complete"}, {})


def test_a_body_loses_its_last_newline_and_nothing_else(tmp_path: Path) -> None:
    story = _read(tmp_path, _WHOLE.replace("upstream stream", "upstream body").replace("data: 2\n", " {}"))

    assert not story.stream
    assert story.upstream == b"data: 1\n\n {}"


@pytest.mark.parametrize(
    ("marks", "stream"),
    [
        (", crlf", b"data: 1\r\n\r\ndata: 2\r\n\r\n"),
        (", cr", b"data: 1\r\rdata: 2\r\r"),
        (", unended", b"data: 1\n\ndata: 2"),
        (", bom", b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n"),
        (", unended, crlf", b"data: 1\r\n\r\ndata: 2"),
    ],
)
def test_marks_say_what_text_cannot_show(tmp_path: Path, marks: str, stream: bytes) -> None:
    assert _read(tmp_path, _WHOLE.replace("stream\n", f"stream{marks}\n")).upstream == stream


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it shows.\n", ""),
        ("== request", "== requests"),
        ("== facts", "==facts"),
        ("== facts", "== Facts"),
        ("== facts", "== request"),
        ("== facts", "== facts, crlf"),
        ("== upstream stream", "== upstream stream, lfcr"),
        ("== facts", "== upstream body\n{}\n== facts"),
        ("data: 2\n\n", "data: 2\n\n\n"),
        ('"fact":"TokenUsage"', '"fact":"TokenUse"'),
        ('"fact":"TokenUsage",', ""),
        ('"input_tokens":3', '"tokens":3'),
        ('["a","b"]}\n', '["a","b"]}\n== turn\n{"outcom":"cut"}\n'),
        ('["a","b"]}\n', '["a","b"]}\n== read\n{"words":"x"}\n'),
        ('["a","b"]}\n', '["a","b"]}\n== read\nprompt: x\n'),
    ],
)
def test_a_story_that_does_not_keep_to_the_format_is_an_error(tmp_path: Path, old: str, new: str) -> None:
    assert old in _WHOLE

    with pytest.raises(BadStory, match=r"story\.txt"):
        _read(tmp_path, _WHOLE.replace(old, new))
