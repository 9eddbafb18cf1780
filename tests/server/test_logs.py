"""Log lines: one a line, JSON for machines, and never with a secret in them, whoever wrote it there."""

import logging
from collections.abc import Iterator

import msgspec
import pytest

from aibridge.clock import new_id
from aibridge.server.auth.key_format import make
from aibridge.server.logs import Form, log_to_stderr

CENTRAL_KEY = "central-key-of-the-organisation"
KEY = make(new_id(), bytes(32))
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("aibridge")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def said(capsys: pytest.CaptureFixture[str], form: Form) -> list[str]:
    """What is written about an event with fields and about a failure, all of them full of secrets."""
    log_to_stderr(form, [CENTRAL_KEY])
    log = logging.getLogger("aibridge.test")
    log.info("something happened to %s", "alice", extra={"count": 3, "key": KEY, "token": TOKEN})
    prompt = "tpmorp-a"[::-1]  # backwards, so that no line of source has it
    try:
        raise RuntimeError(f"{CENTRAL_KEY} and {KEY} and {TOKEN}", len(prompt))
    except RuntimeError:
        log.exception("it failed")
    logging.getLogger("somebody.else").info("not of interest")
    return capsys.readouterr().err.splitlines()


def test_for_machines_every_line_is_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    happened, failed = [msgspec.json.decode(line) for line in said(capsys, "json")]

    assert happened | {"time": "", "key": "", "token": ""} == {
        "event": "something happened to alice",
        "level": "info",
        "logger": "aibridge.test",
        "count": 3,
        "time": "",
        "key": "",
        "token": "",
    }
    assert happened["time"].endswith("Z")
    assert failed["level"] == "error"
    assert "RuntimeError" in failed["exception"]


@pytest.mark.parametrize("form", ["json", "text", "auto"])
def test_no_line_holds_a_secret(capsys: pytest.CaptureFixture[str], form: Form) -> None:
    text = "\n".join(said(capsys, form))

    assert "something happened to alice" in text
    assert "RuntimeError" in text
    for secret in (CENTRAL_KEY, KEY, TOKEN, TOKEN.split(".")[2], "a-prompt"):
        assert secret not in text


def test_for_people_lines_are_plain_when_nobody_looks_at_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in "\n".join(said(capsys, "text"))
