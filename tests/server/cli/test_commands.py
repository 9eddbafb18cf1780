"""Commands as scripts and people use them: what they print, with which status they end, and how they fail."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aibridge import __version__
from aibridge.server.cli import run
from tests.durable import ended, interception, prompt, recording, tool, usage


class Terminal:
    """Runs commands in one data folder, and remembers what the last one said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], data: Path) -> None:
        self._capsys = capsys
        self.data = data
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        status = run(arguments)
        self.out, self.err = self._capsys.readouterr()
        return status

    def json(self, *arguments: str) -> Any:
        assert self.run(*arguments, "--json") == 0, self.err
        return msgspec.json.decode(self.out)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    for variable in ("AIBRIDGE_CONFIG", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AIBRIDGE_DATA_DIR", str(tmp_path))
    return Terminal(capsys, tmp_path)


def test_users_are_made_listed_suspended_and_activated(terminal: Terminal) -> None:
    made = terminal.json("users", "create", "alice", "--email", "a@example.org", "--group", "staff", "--group", "ml")
    suspended = terminal.json("users", "suspend", "alice")
    activated = terminal.json("users", "activate", made["id"])
    listed = terminal.json("users", "list")

    assert (made["username"], made["email"], made["groups"]) == ("alice", "a@example.org", ["staff", "ml"])
    assert (made["role"], made["status"]) == ("member", "active")
    assert (suspended["status"], activated["status"]) == ("suspended", "active")
    assert listed == [made]


def test_keys_are_made_listed_and_revoked_and_their_secret_is_shown_once(terminal: Terminal) -> None:
    terminal.run("users", "create", "alice")
    made = terminal.json("keys", "create", "--user", "alice", "--name", "laptop", "--scope", "use", "--expires", "7d")
    of_admin = terminal.json("keys", "create", "--expires", "never")
    revoked = terminal.json("keys", "revoke", made["id"])
    listed = terminal.json("keys", "list")
    of_alice = terminal.json("keys", "list", "--user", "alice")

    assert re.fullmatch(r"aib_[A-Za-z0-9_-]+", made["key"])
    assert (made["username"], made["name"], made["scopes"]) == ("alice", "laptop", ["use"])
    assert (of_admin["username"], of_admin["scopes"], of_admin["expires_at"]) == ("admin", ["use", "read:own"], None)
    assert revoked["revoked_at"] is not None
    assert [key["id"] for key in listed] == [made["id"], of_admin["id"]]
    assert [key["id"] for key in of_alice] == [made["id"]]
    assert made["key"] not in terminal.out
    assert all("key" not in key for key in listed)


def test_a_new_key_stands_alone_on_standard_output(terminal: Terminal) -> None:
    terminal.run("keys", "create", "--name", "bench")

    assert re.fullmatch(r"aib_\w+\n", terminal.out)
    assert "key bench of admin" in terminal.err


def test_lists_have_one_line_each_with_tabs_where_another_program_reads(terminal: Terminal) -> None:
    terminal.run("users", "create", "alice", "--email", "a@example.org")
    terminal.run("users", "list")

    head, line = [line.split("\t") for line in terminal.out.splitlines()]
    assert head[:4] == ["NAME", "E-MAIL", "ROLE", "STATUS"]
    assert line[:4] == ["alice", "a@example.org", "member", "active"]


@pytest.mark.anyio
async def test_interceptions_are_listed_and_shown(terminal: Terminal) -> None:
    async with recording(terminal.data) as at_work:
        for number in range(3):
            record = interception(f"i{number}", initiator="alice", at=number, session="s")
            await at_work.recorder.record_interception(record)
            await at_work.recorder.record_prompt_usage(prompt(record.id, "mend\tthe \x1b[31mparser"))
            await at_work.recorder.record_token_usage(usage(record.id))
            await at_work.recorder.record_tool_usage(tool(record.id))
            await at_work.recorder.record_interception_ended(ended(record.id))
    first = terminal.json("interceptions", "list", "--limit", "2")
    rest = terminal.json("interceptions", "list", "--after-id", "i1")
    nobodys = terminal.json("interceptions", "list", "--initiator", "bob")
    one = terminal.json("interceptions", "show", "i0")
    terminal.run("interceptions", "list", "--limit", "2")
    lines = [line.split("\t") for line in terminal.out.splitlines()]
    said = terminal.err
    terminal.run("interceptions", "show", "i0")

    assert (first["count"], [found["id"] for found in first["results"]]) == (3, ["i2", "i1"])
    assert first["next_after_id"] == "i1"
    assert ([found["id"] for found in rest["results"]], nobodys) == (["i0"], {"count": 0, "results": []})
    assert one["user_prompts"][0]["prompt"] == "mend\tthe \x1b[31mparser"
    assert dict(zip(lines[0], lines[1], strict=True)) == {
        "ID": "i2",
        "STARTED": "2026-11-20 12:00:02",
        "USER": "alice",
        "PROVIDER": "anthropic",
        "MODEL": "claude-sonnet-4-5",
        "CLIENT": "Claude Code",
        "STATE": "completed",
        "TOKENS": "2112 in, 61 out",
        "TOOLS": "Read",
        "SESSION": "s",
        "PROMPT": "mend the [31mparser",
    }
    assert said == "2 of 3; go on with --after-id i1\n"
    assert "\x1b" not in terminal.out
    assert "12 in, 61 out, 2000 read from and 100 written to the cache (model-that-answered)" in terminal.out


def test_the_configuration_is_shown_and_checked(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-that-nobody-sees")
    monkeypatch.setenv("AIBRIDGE_SERVER__SECRET", "a-secret-that-nobody-sees-either")
    monkeypatch.setenv("AIBRIDGE_DATABASE__RETENTION", "30d")
    settings = {setting["name"]: setting for setting in terminal.json("config", "show")}
    shown = terminal.out
    checked = terminal.json("config", "check")

    assert settings["providers[1].keys"] == {
        "name": "providers[1].keys",
        "value": ["env:OPENAI_API_KEY"],
        "source": "OPENAI_API_KEY",
    }
    assert "nobody-sees" not in shown
    assert checked == {
        "ok": True,
        "file": None,
        "providers": ["anthropic", "openai", "copilot"],
        "warnings": ["database.retention is not built yet and has no effect (deleting old records)"],
    }
    assert not (terminal.data / "server.secret").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["keys", "create", "--user", "nobody"], 1, "there is no user nobody"),
        (["keys", "create", "--scope", "everything"], 2, "there is no scope everything: it is one of use,"),
        (["keys", "create", "--expires", "soon"], 2, "a duration such as 12h or 90d, or `never`"),
        (["keys", "create", "--expires", "30"], 2, "a duration such as 12h or 90d, or `never`"),
        (["keys", "create", "--expires", "0d"], 2, "a key lives for more than no time"),
        (["keys", "create", "--name", ""], 2, "a key's name must have"),
        (["keys", "revoke"], 2, "the ID of one key, or --all"),
        (["keys", "revoke", "nothing", "--all"], 2, "the ID of one key, or --all"),
        (["keys", "revoke", "nothing"], 1, "there is no key nothing"),
        (["users", "create", ""], 2, "a user name must have"),
        (["users", "create", "\udcc5"], 2, "cannot be read in this locale: set one with UTF-8"),
        (
            ["users", "create", "ada", "--role", "king"],
            2,
            "'--role': 'king' is not one of 'member', 'auditor', 'admin'.",
        ),
        (["users", "create", "ada", "--email", " "], 2, "an e-mail address must have"),
        (["users", "suspend", "nobody"], 1, "there is no user nobody"),
        (["interceptions", "show", "nothing"], 1, "there is no interception nothing"),
        (["interceptions", "list", "--state", "gone"], 2, "there is no state gone"),
        (["interceptions", "list", "--started-after", "soon"], 2, "soon is no time"),
        (["interceptions", "list", "--model", ""], 2, "model has no value"),
        (["interceptions", "list", "--after-id", "nothing"], 1, "there is no interception nothing to go on after"),
        (["interceptions", "list", "--limit", "0"], 2, "'--limit': must be greater than or equal to 1"),
        (["config", "check", "--config", "nowhere.toml"], 1, "nowhere.toml: cannot be read"),
        (["serve", "--config", "nowhere.toml"], 1, "nowhere.toml: cannot be read"),
        (["serve", "--port", "70000"], 2, "'--port': must be less than or equal to 65535"),
        (["serve", "--workers", "257"], 2, "'--workers': must be less than or equal to 256"),
        (["serve", "--log", "loud"], 2, "'--log': 'loud' is not one of 'auto', 'json', 'text'."),
        (["serve", "--fd", "-1"], 2, "'--fd': must be greater than or equal to 0"),
        (["demo", "--port", "70000"], 2, "'--port': must be less than or equal to 65535"),
        (["providers", "list", "--url", "gateway"], 2, "--url: http://HOST:PORT"),
        (["providers", "list", "--url", "http://localhost:99999"], 2, "--url: http://HOST:PORT"),
        (["serve", "--fd", "987"], 1, "descriptor 987 is no socket"),
        (["serve", "--host", "not a host"], 1, "cannot listen on not a host:"),
        (["serve", "--prot", "1"], 2, "No such option: --prot"),
        (["users", "create"], 2, "Missing argument 'NAME'"),
        (["nonsense"], 2, "No such command 'nonsense'"),
    ],
)
def test_what_fails_says_so_in_one_line(terminal: Terminal, arguments: list[str], status: int, says: str) -> None:
    assert terminal.run(*arguments) == status
    assert terminal.out == ""
    assert says in terminal.err
    assert terminal.err.startswith("aibridge: ")
    assert terminal.err.count("\n") == 1


def test_all_keys_are_revoked_at_once(terminal: Terminal) -> None:
    first, second = (terminal.json("keys", "create")["id"] for _ in range(2))
    terminal.run("keys", "revoke", first)
    when = terminal.json("keys", "list")[0]["revoked_at"]

    assert terminal.json("keys", "revoke", "--all") == {"revoked": 1}
    listed = {key["id"]: key["revoked_at"] for key in terminal.json("keys", "list")}
    assert listed[first] == when
    assert listed[second] is not None
    assert terminal.run("keys", "revoke", "--all") == 0
    assert terminal.out == "keys that are revoked now: 0\n"


def test_a_user_that_is_there_is_not_made_again(terminal: Terminal) -> None:
    terminal.run("users", "create", "alice")

    assert terminal.run("users", "create", "alice") == 1
    assert terminal.err == "aibridge: there is a user alice already\n"


def test_a_database_that_is_none_is_named(terminal: Terminal) -> None:
    (terminal.data / "aibridge.db").write_text("this is no database" * 100)

    assert terminal.run("users", "list") == 1
    assert "aibridge.db" in terminal.err
    assert "Traceback" not in terminal.err


def test_the_version_is_told(terminal: Terminal) -> None:
    assert terminal.run("--version") == 0
    assert terminal.out == f"{__version__}\n"


@pytest.mark.parametrize("group", ["users", "keys", "interceptions", "config"])
def test_a_group_without_a_command_shows_its_help(terminal: Terminal, group: str) -> None:
    assert terminal.run(group) == 2
    assert terminal.err.startswith(f"Usage: aibridge {group}")


def test_a_fault_of_ours_is_one_line_too(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibridge.server.people.People.list_users", None)

    assert terminal.run("users", "list") == 1
    assert terminal.err.startswith("aibridge: internal error: TypeError")
    assert terminal.err.count("\n") == 1
