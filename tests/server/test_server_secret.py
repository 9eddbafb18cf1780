"""The server's secret, and the keys derived from it."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aibridge.clock import SystemClock, new_id
from aibridge.credentials import Secret
from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.server.config import Configuration, Wrong, load
from aibridge.server.server_secret import derived_key, server_secret
from aibridge.server.store import open_people
from tests.durable import BOUND

ONE, OTHER = "one-secret-of-some-length", "another-secret-of-some-length"

START = """
import sys
from aibridge.server.config import load
from aibridge.server.server_secret import server_secret
print(server_secret(load(None, {"AIBRIDGE_DATA_DIR": sys.argv[1]}), {}).reveal())
"""


def configured(folder: Path, secret: str | None = None) -> Configuration:
    said = {} if secret is None else {"AIBRIDGE_SERVER__SECRET": secret}
    return load(None, {"AIBRIDGE_DATA_DIR": str(folder), **said})


def with_a_key(folder: Path, secret: str | None = None) -> None:
    """A database with a user and a key, made with a secret, as `aibridge keys create` leaves it."""
    configuration = configured(folder, secret)
    hash_key = derived_key(server_secret(configuration, {}), "token hashes")
    with open_people(configuration.database, hash_key=hash_key, clock=SystemClock(), ids=new_id) as people:
        people.create_key(people.create_user("ada").id, name="laptop")


def forget_the_secret(folder: Path) -> None:
    """The database as a version left it that kept no fingerprint."""
    with DatabaseFile.at(folder / "aibridge.db").writing() as connection:
        connection.execute("DELETE FROM aibridge_fingerprints")


def fingerprints(folder: Path) -> list[bytes]:
    with closing(DatabaseFile.at(folder / "aibridge.db").connection()) as connection:
        return [found for (found,) in connection.execute("SELECT fingerprint FROM aibridge_fingerprints")]


def test_keys_differ_by_use_and_by_secret_and_are_the_same_every_time() -> None:
    one, other = Secret("a" * 32), Secret("b" * 32)

    keys = {derived_key(secret, use) for secret in (one, other) for use in ("token hashes", "attribution hashes")}

    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    # Written down here: another value would make every stored key worthless.
    assert derived_key(one, "token hashes").hex() == TOKEN_HASHES
    assert derived_key(one, "attribution hashes").hex() == ATTRIBUTION_HASHES


def test_it_is_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    configuration = load(None, {"HOME": str(tmp_path)})

    first = server_secret(configuration, {}).reveal()

    assert len(first) >= 43
    assert server_secret(configuration, {}).reveal() == first
    assert (configuration.data / "server.secret").read_text().strip() == first


def test_a_configured_one_is_used_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("0123456789-0123456789-0123456789\n")
    configuration = load(None, {"AIBRIDGE_DATA_DIR": str(tmp_path), "AIBRIDGE_SERVER__SECRET": "file:mine"})

    assert server_secret(configuration, {}).reveal() == "0123456789-0123456789-0123456789"
    assert not (tmp_path / "server.secret").exists()


def test_one_in_the_data_folder_that_was_cut_off_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "server.secret").write_text("cut")

    with pytest.raises(Wrong, match=r"server\.secret: must have at least 22 characters; put back what was in it"):
        server_secret(load(None, {"AIBRIDGE_DATA_DIR": str(tmp_path)}), {})


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("short", "AIBRIDGE_SERVER__SECRET: server.secret: must have at least 22 characters"),
        ("env:NOT_SET", "AIBRIDGE_SERVER__SECRET: server.secret: the environment variable NOT_SET is not set"),
        ("file:nowhere", "AIBRIDGE_SERVER__SECRET: server.secret: the file .* cannot be read"),
    ],
)
def test_one_that_cannot_be_used_stops_the_start(tmp_path: Path, reference: str, says: str) -> None:
    configuration = load(None, {"AIBRIDGE_DATA_DIR": str(tmp_path), "AIBRIDGE_SERVER__SECRET": reference})

    with pytest.raises(Wrong, match=says):
        server_secret(configuration, {})


def test_another_one_than_a_database_with_people_was_made_with_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(ONE)
    with_a_key(tmp_path, "file:mine")
    (tmp_path / "mine").write_text(OTHER)

    with pytest.raises(Wrong) as refused:
        server_secret(configured(tmp_path, "file:mine"), {})

    assert str(refused.value) == (
        "AIBRIDGE_SERVER__SECRET: server.secret (file:mine): is another secret than before, and without the one that "
        f"{tmp_path}/aibridge.db was made with no key in it opens anything: put that secret back, or give up all keys "
        "with `aibridge keys revoke --all` and make new ones"
    )
    (tmp_path / "mine").write_text(ONE)
    assert server_secret(configured(tmp_path, "file:mine"), {}).reveal() == ONE


def test_a_secret_that_stands_in_the_configuration_is_not_repeated(tmp_path: Path) -> None:
    with_a_key(tmp_path, ONE)

    with pytest.raises(Wrong, match=r"^AIBRIDGE_SERVER__SECRET: server\.secret: is another secret") as refused:
        server_secret(configured(tmp_path, OTHER), {})

    assert OTHER not in str(refused.value)


@pytest.mark.parametrize("keeps_a_fingerprint", [True, False])
def test_a_lost_one_stops_the_start_and_no_other_is_made(tmp_path: Path, *, keeps_a_fingerprint: bool) -> None:
    with_a_key(tmp_path)
    kept = (tmp_path / "server.secret").read_text()
    (tmp_path / "server.secret").unlink()
    if not keeps_a_fingerprint:
        forget_the_secret(tmp_path)

    with pytest.raises(
        Wrong, match=rf"^{tmp_path}/server\.secret: is not there, and without the one that {tmp_path}/aib"
    ):
        server_secret(configured(tmp_path), {})

    assert not (tmp_path / "server.secret").exists()
    (tmp_path / "server.secret").write_text(kept)
    assert server_secret(configured(tmp_path), {}).reveal() == kept.strip()


def test_a_database_from_before_remembers_the_one_that_it_is_first_served_with(tmp_path: Path) -> None:
    with_a_key(tmp_path, ONE)
    forget_the_secret(tmp_path)

    server_secret(configured(tmp_path, ONE), {})

    with pytest.raises(Wrong, match="is another secret than before"):
        server_secret(configured(tmp_path, OTHER), {})


def test_a_database_that_nobody_is_in_takes_another_one(tmp_path: Path) -> None:
    server_secret(configured(tmp_path), {})
    (tmp_path / "server.secret").unlink()

    made = server_secret(configured(tmp_path), {}).reveal()
    other = server_secret(configured(tmp_path, OTHER), {}).reveal()

    assert (tmp_path / "server.secret").read_text().strip() == made
    assert other == OTHER


def test_a_database_whose_keys_are_all_revoked_takes_another_one_and_keeps_to_that(tmp_path: Path) -> None:
    with_a_key(tmp_path, ONE)
    path = tmp_path / "aibridge.db"
    with open_people(path, hash_key=None, clock=SystemClock(), ids=new_id) as people:
        revoked = people.revoke_all_keys()

    assert revoked == 1
    assert server_secret(configured(tmp_path, OTHER), {}).reveal() == OTHER
    with pytest.raises(Wrong, match="is another secret than before"):
        server_secret(configured(tmp_path, ONE), {})


def test_what_a_database_keeps_of_it_is_the_same_every_time_and_does_not_tell_it(tmp_path: Path) -> None:
    with_a_key(tmp_path, "a" * 32)

    # Written down here: another value would stop every server that is there.
    assert [found.hex() for found in fingerprints(tmp_path)] == [FINGERPRINT]


def test_processes_that_start_at_once_make_one(tmp_path: Path) -> None:
    program = (sys.executable, "-c", START, str(tmp_path))

    starting = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=BOUND)[0] for process in starting]

    assert [process.returncode for process in starting] == [0, 0, 0, 0]
    assert said == [(tmp_path / "server.secret").read_text()] * 4
    assert len(fingerprints(tmp_path)) == 1


def test_beside_what_is_no_database_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes")
    (tmp_path / "folder").mkdir()
    there = set(tmp_path.iterdir())

    for name in ("notes.txt", "folder", "notes.txt/aibridge.db"):
        environ = {"HOME": str(tmp_path), "AIBRIDGE_DATABASE__URL": f"sqlite:///{tmp_path}/{name}"}
        with pytest.raises(DatabaseUnusable, match=name):
            server_secret(load(None, environ), {})

    assert set(tmp_path.iterdir()) == there
    assert list((tmp_path / "folder").iterdir()) == []


# HKDF as RFC 5869 says it, worked out with two HMACs.
TOKEN_HASHES = "8feb1a7321ed5eb9cb36fe409674095cac1087150d91b7e3b3b524dd9081b124"
ATTRIBUTION_HASHES = "abc7bb6bdd022ab6ec14eb19470140f08dc548247f9aaae4669cc9d5cd1f7716"
FINGERPRINT = "08d65ab976dc83703277cd90c2688d5ae9e9a3bda9dfacdeff486b5519447c64"
