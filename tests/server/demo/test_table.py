"""The demo's table: everything on one line where there is room, nothing lost where there is little."""

from typing import Any

import pytest

from aibridge.server.demo.table import print_records

INTERCEPTION: dict[str, Any] = {
    "initiator": {"id": "17", "username": "ada"},
    "client": "Claude Code",
    "model": "claude-sonnet-5",
    "session_id": "01a1fb4e-9121-7503-a2b3-b66732dd33b5",
    "user_prompts": [{"prompt": "Use the Bash tool"}],
    "token_usages": [
        {"input_tokens": 4, "output_tokens": 13, "cache_read_tokens": 68, "cache_write_tokens": 97},
        {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 0, "cache_write_tokens": 0},
    ],
    "tool_usages": [{"tool": "Bash"}, {"tool": "Read"}],
    "model_thoughts": [{"content": "I shall list them."}],
}
NOTHING: dict[str, Any] = {
    "user_prompts": [],
    "token_usages": [],
    "tool_usages": [],
    "model_thoughts": [],
    "initiator": {"id": "17", "username": None},
    "client": "Unknown",
    "model": "m",
    "session_id": "short",
}


def printed(capsys: pytest.CaptureFixture[str], interception: dict[str, Any], width: int) -> list[list[str]]:
    print_records([interception], width=width)
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_wide_screen_has_one_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert [" ".join(line) for line in printed(capsys, INTERCEPTION, 200)] == [
        "ada Claude Code claude-sonnet-5 Use the Bash tool 5 15 68 97 Bash, Read I shall list them. ...32dd33b5"
    ]


def test_what_was_not_recorded_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    assert [" ".join(line) for line in printed(capsys, NOTHING, 200)] == ["17 Unknown m - 0 0 0 0 - - short"]


@pytest.mark.parametrize("width", [80, 100, 149])
def test_a_narrow_screen_has_all_of_it_too(capsys: pytest.CaptureFixture[str], width: int) -> None:
    words = {word for line in printed(capsys, INTERCEPTION, width) for word in line}

    assert {"ada", "Claude", "Code", "...32dd33b5", "claude-sonnet-5", "5", "in,", "15", "out", "68", "97"} <= words
    assert {"Use", "Bash", "tool", "Bash,", "Read", "list", "them."} <= words


def test_what_clients_wrote_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {**NOTHING, "user_prompts": [{"prompt": "a\x1b[2Jb\u202ec"}]}

    assert "a?[2Jb?c" in " ".join(printed(capsys, hostile, 200)[0])
