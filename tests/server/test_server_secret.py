"""The server's secret, and the keys derived from it."""

from pathlib import Path

import pytest

from aibridge.credentials import Secret
from aibridge.server.config import Wrong, load
from aibridge.server.server_secret import derived_key, server_secret


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


# HKDF as RFC 5869 says it, worked out with two HMACs.
TOKEN_HASHES = "8feb1a7321ed5eb9cb36fe409674095cac1087150d91b7e3b3b524dd9081b124"
ATTRIBUTION_HASHES = "abc7bb6bdd022ab6ec14eb19470140f08dc548247f9aaae4669cc9d5cd1f7716"
