"""The keys of a server that nobody has configured, and what the banner says to paste."""

from pathlib import Path

import pytest

from aibridge import __version__
from aibridge.clock import new_id
from aibridge.server.banner import lines
from aibridge.server.config import load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.first_keys import FirstKeys, first_keys
from aibridge.server.process import Plan
from aibridge.server.server_secret import derived_key, server_secret
from aibridge.server.store import open_people
from tests.durable import SetClock

ADDRESS = "http://127.0.0.1:8787"


def plan(folder: Path, file: Path | None = None, more: dict[str, str] | None = None) -> Plan:
    environ = {"AIBRIDGE_DATA_DIR": str(folder), **(more or {})}
    configuration = load(file, environ)
    providers = tuple(configured_providers(configuration, environ))
    return Plan(configuration, providers, server_secret(configuration, environ))


def test_they_are_made_once_and_again_when_they_open_nothing_any_more(tmp_path: Path) -> None:
    clock = SetClock()
    served = plan(tmp_path)

    first = first_keys(served, clock, new_id, to_paste=True)
    again = first_keys(served, clock, new_id, to_paste=True)
    clock.advance(91 * 86400.0)
    later = first_keys(served, clock, new_id, to_paste=True)

    assert first == again
    assert first.admin_file == tmp_path / "admin.key"
    assert first.to_paste != later.to_paste is not None
    hash_key = derived_key(served.secret, "token hashes")
    with open_people(served.configuration.database, hash_key=hash_key, clock=clock, ids=new_id) as people:
        assert len(people.list_keys()) == 4
        assert people.identify(str(first.to_paste)) == "expired"


def test_where_nobody_looks_no_key_to_paste_is_made(tmp_path: Path) -> None:
    keys = first_keys(plan(tmp_path), SetClock(), new_id, to_paste=False)

    assert keys.to_paste is None
    assert not (tmp_path / "use.key").exists()


def test_with_a_configuration_file_there_are_none(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.touch()

    assert first_keys(plan(tmp_path, file), SetClock(), new_id, to_paste=True) == FirstKeys()
    assert not (tmp_path / "admin.key").exists()


@pytest.mark.parametrize(
    ("environ", "says", "says_not"),
    [
        (
            {"ANTHROPIC_API_KEY": "sk-ant-1234567890", "OPENAI_API_KEY": "sk-1234567890"},
            [
                "provider       anthropic: central key sk...90 (or the caller's own)",
                "  export ANTHROPIC_BASE_URL=http://127.0.0.1:8787/anthropic",
                "  export ANTHROPIC_AUTH_TOKEN=KEY",
                "  export OPENAI_BASE_URL=http://127.0.0.1:8787/openai/v1",
                "  export OPENAI_API_KEY=KEY",
            ],
            ["no provider key is set"],
        ),
        (
            {},
            [
                "provider       openai: no key, callers bring their own",
                "no provider key is set: callers bring their own",
                "  export ANTHROPIC_CUSTOM_HEADERS='X-AIBridge-Token: KEY'",
            ],
            ["ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"],
        ),
    ],
)
def test_the_banner_tells_what_to_paste(
    tmp_path: Path, environ: dict[str, str], says: list[str], says_not: list[str]
) -> None:
    text = "\n".join(lines(plan(tmp_path, more=environ), FirstKeys(tmp_path / "admin.key", "KEY"), ADDRESS))

    assert text.startswith(f"aibridge {__version__} serves at http://127.0.0.1:8787\n")
    assert all(line in text for line in says)
    assert not any(line in text for line in says_not)
    assert "1234567890" not in text
