"""What stops a start, and that a start that is stopped leaves nothing behind."""

from pathlib import Path

import pytest

from tests.server.installation import Installation, messages

pytestmark = pytest.mark.anyio


def files_of(folder: Path) -> set[str]:
    """All files below, but the configuration and the home of the user."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return found - {"aibridge.toml", "home"}


async def test_a_lost_secret_is_named_until_it_is_put_back(installation: Installation) -> None:
    config = ("--config", str(installation.configure()))
    key = await installation.key("admin")
    secret = installation.folder / "server.secret"
    kept = secret.rename(installation.folder / "kept")
    refused = [
        await installation.run(*command, *config)
        for command in (("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2"), ("keys", "create"))
    ]
    listed = await installation.run("keys", "list", *config)
    found = secret.exists()
    kept.rename(secret)
    async with installation.serving() as server, server.client(key) as client:
        answer = await client.post("/anthropic/v1/messages", json=messages())

    assert [(ran.status, ran.out) for ran in refused] == [(1, "")] * 3
    says = (
        f"aibridge: {secret}: is not there, and without the one that {installation.folder}/aibridge.db was made with no "
        "key in it opens anything: put that secret back, or give up all keys with `aibridge keys revoke --all` and make "
        "new ones\n"
    )
    assert {ran.err for ran in refused} == {says}
    assert listed.status == 0
    assert not found
    assert answer.status_code == 200


async def test_once_all_keys_are_given_up_the_server_starts_with_another_secret(installation: Installation) -> None:
    config = ("--config", str(installation.configure()))
    old = await installation.key("admin")
    (installation.folder / "server.secret").unlink()
    await installation.run("keys", "revoke", "--all", *config)
    async with installation.serving("--workers", "2") as server:
        new = await installation.key("admin")
        answers = []
        for key in (old, *[new] * 6):
            async with server.client(key) as client:
                answers.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)

    assert answers == [401, *[200] * 6]


@pytest.mark.parametrize(
    ("more", "options", "says"),
    [
        ('[[providers]]\ntype = "copilot"\nkeys = ["env:NOT_SET"]', (), "the environment variable NOT_SET is not set"),
        (
            '[[providers]]\ntype = "copilot"\nbase_url = "http://127.0.0.1:8799"',
            ("--port", "8799"),
            "this server itself",
        ),
        ("", ("--host", "not a host"), "cannot listen on not a host"),
        ("[server]", (), "aibridge.toml"),
    ],
)
async def test_a_configuration_that_cannot_be_served_leaves_nothing_on_the_disk(
    installation: Installation, more: str, options: tuple[str, ...], says: str
) -> None:
    file = installation.configure(more)

    ran = await installation.run("serve", "--config", str(file), "--port", "0", *options)

    assert ran.status == 1
    assert says in ran.err
    assert files_of(installation.folder) == set()


async def test_beside_a_database_that_is_none_nothing_is_left(installation: Installation) -> None:
    file = installation.configure()
    (installation.folder / "aibridge.db").write_text("this is no database")

    refused = [await installation.run(*command, "--config", str(file)) for command in (("serve",), ("keys", "create"))]

    assert [ran.status for ran in refused] == [1, 1]
    assert {ran.err for ran in refused} == {
        f"aibridge: {installation.folder}/aibridge.db is not a database of SQLite\n"
    }
    assert files_of(installation.folder) == {"aibridge.db"}
