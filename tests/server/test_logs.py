"""Log lines: one a line, JSON for machines, and never with a secret in them, whoever wrote it there."""

import logging
import time
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
    handlers, levels, raising = root.handlers[:], (root.level, ours.level), logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
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


def test_a_line_that_cannot_be_written_is_not_written_with_its_secrets_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr("json", [CENTRAL_KEY])
    logging.getLogger("aibridge.test").warning("%d were there", CENTRAL_KEY)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["json", "text", "auto"])
def test_no_line_holds_a_secret(capsys: pytest.CaptureFixture[str], form: Form) -> None:
    text = "\n".join(said(capsys, form))

    assert "something happened to alice" in text
    assert "RuntimeError" in text
    for secret in (CENTRAL_KEY, KEY, TOKEN, TOKEN.split(".")[2], "a-prompt"):
        assert secret not in text


@pytest.mark.parametrize("around", ["{}", "token={}.", "x_{}", "'{}', 2", "\n{}"])
def test_a_token_is_taken_out_whatever_stands_around_it(capsys: pytest.CaptureFixture[str], around: str) -> None:
    log_to_stderr("json")
    for token in (TOKEN, "eyJhbGciOiJFUzI1NiJ9.ewogICJzdWIiOiAiYWRhIgp9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"):
        logging.getLogger("aibridge.test").info("kept %s kept", around.format(token))
        line = capsys.readouterr().err

        assert line.count("kept") == 2
        assert not any(part in line for part in token.split("."))


@pytest.mark.parametrize("pattern", ["eyJ", "eyJ.", "eyJabcdefgh.", "a"])
def test_a_long_line_is_read_once(capsys: pytest.CaptureFixture[str], pattern: str) -> None:
    log_to_stderr("json")
    began = time.process_time()
    logging.getLogger("aibridge.test").info("%s%s", "eyJ" * 200_000, pattern * 100_000)

    assert len(capsys.readouterr().err) > 100_000
    assert time.process_time() - began < 5  # quadratic, it would take minutes


def test_for_people_lines_are_plain_when_nobody_looks_at_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in "\n".join(said(capsys, "text"))
