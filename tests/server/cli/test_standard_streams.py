"""Commands on terminals, in pipes and locales of all kinds: what they say arrives, or it is said why it does not."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

BOUND = 60.0  # seconds; an interpreter starts, on a machine that may be busy
NOT_UTF_8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
AIBRIDGE = (sys.executable, "-m", "aibridge")


def environ(folder: Path, more: Mapping[str, str] = {}) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "AIBRIDGE_DATA_DIR": str(folder), "LC_ALL": "C.UTF-8", **more}


def aibridge(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*AIBRIDGE, *arguments], capture_output=True, env=environ(folder, more), timeout=BOUND, check=False
    )


def in_shell(folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of the shell in which `$@` stands for the program."""
    command = ["/bin/sh", "-c", line, "sh", *AIBRIDGE]
    return subprocess.run(command, capture_output=True, env=environ(folder), timeout=BOUND, check=False)


def on_terminal(folder: Path, *arguments: str, **more: str) -> str:
    """What a command says on a terminal of a size that nobody has told."""
    ours, theirs = pty.openpty()
    command = [*AIBRIDGE, *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ(folder, more))
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # EIO: nobody has it open any more
        pass
    os.close(ours)
    assert process.wait(BOUND) == 0
    return said.decode()


def test_a_name_that_the_locale_cannot_write_is_listed_all_the_same(tmp_path: Path) -> None:
    aibridge(tmp_path, "users", "create", "Żaneta")

    table = aibridge(tmp_path, "users", "list", **NOT_UTF_8)
    json = aibridge(tmp_path, "users", "list", "--json", **NOT_UTF_8)

    assert (table.returncode, table.stderr) == (0, b"")
    assert b"\\u017baneta\t" in table.stdout
    assert '"username": "Żaneta"'.encode() in json.stdout


def test_on_a_terminal_that_can_do_little_the_table_is_whole_and_without_colours(tmp_path: Path) -> None:
    made = aibridge(
        tmp_path, "users", "create", "ada", "--email", "ada.lovelace@mathematics.example.org"
    ).stdout.decode()
    [_, _, ident] = made.split()

    said = on_terminal(tmp_path, "users", "list", TERM="dumb", COLUMNS="20")

    assert ident.strip("()") in said
    assert "ada.lovelace@mathematics.example.org" in said
    assert "\x1b" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("json", ["", "--json"])
def test_an_output_that_is_full_is_said(tmp_path: Path, json: str) -> None:
    ran = in_shell(tmp_path, f'"$@" users list {json} > /dev/full')

    assert ran.returncode == 1
    assert ran.stderr == b"aibridge: the output cannot be written (No space left on device)\n"


def test_a_reader_who_has_seen_enough_hears_no_complaint(tmp_path: Path) -> None:
    ran = in_shell(tmp_path, '{ "$@" users list; echo $? >&2; } | true')

    assert ran.stderr in (b"1\n", b"0\n")  # who was quicker decides


def test_closed_standard_streams_harm_nothing(tmp_path: Path) -> None:
    made = in_shell(tmp_path, '"$@" users create ada <&- >&- 2>&-')
    listed = aibridge(tmp_path, "users", "list")

    assert made.returncode == 0
    assert b"ada\t" in listed.stdout


def test_ctrl_c_while_modules_are_read_leaves_no_traceback(tmp_path: Path) -> None:
    program = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
sys.meta_path.insert(0, CtrlC())
from aibridge.server.cli import main
main()
"""
    command = [sys.executable, "-c", program, "--version"]
    ran = subprocess.run(command, capture_output=True, env=environ(tmp_path), timeout=BOUND, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")
