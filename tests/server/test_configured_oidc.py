"""`[auth.oidc]` of a file as rules, and what is said of one that cannot be."""

from pathlib import Path
from typing import Any

import pytest

from aibridge.server.auth.oidc.rules import ALGORITHMS, OidcRules
from aibridge.server.config import Configuration, Wrong, load
from aibridge.server.configured_oidc import configured_oidc
from aibridge.server.reloading import changed_for_a_restart
from tests.upstream.authority import Authority

HEAD = '[auth]\nmodes = ["oidc"]\n[auth.oidc]\nissuer = "https://id.example"\naudience = "aibridge"\n'


def configuration(folder: Path, text: str, environ: dict[str, str] | None = None) -> Configuration:
    file = folder / "aibridge.toml"
    file.write_text(text)
    return load(file, environ or {})


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    rules = configured_oidc(configuration(tmp_path, HEAD))

    assert rules == OidcRules(issuer="https://id.example", audiences=("aibridge",))
    assert rules is not None
    assert rules.algorithms == ALGORITHMS
    assert {each[:2] for each in ALGORITHMS} == {"RS", "PS", "ES", "Ed"}


def test_everything_can_be_said_in_the_environment(tmp_path: Path) -> None:
    said = {
        "ISSUER": "https://id.example",
        "AUDIENCE": "a,b",
        "ADMIN_GROUPS": "root",
        "LEEWAY": "1m",
        "JWKS_URL": "https://k/",
    }
    said |= {"ALGORITHMS": "RS256", "USERNAME_CLAIM": "upn", "ALLOW_PRIVATE": "true", "REQUIRED_GROUPS": "x,y"}
    environ = {f"AIBRIDGE_AUTH__OIDC__{name}": value for name, value in said.items()}
    rules = configured_oidc(configuration(tmp_path, "", {**environ, "AIBRIDGE_AUTH__MODES": "key,oidc"}))

    assert rules == OidcRules(
        issuer="https://id.example",
        audiences=("a", "b"),
        admin_groups=frozenset({"root"}),
        leeway=60.0,
        jwks_url="https://k/",
        algorithms=("RS256",),
        username_claim="upn",
        allow_private=True,
        required_groups=frozenset({"x", "y"}),
    )


def test_without_the_mode_the_table_only_warns(tmp_path: Path) -> None:
    found = configuration(tmp_path, HEAD.replace('"oidc"', '"key"'))

    assert configured_oidc(found) is None
    assert found.warnings == ('auth.oidc has no effect: auth.modes does not contain "oidc"',)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {'"https://id.example"': '"http://id.example"'},
            "issuer: must be an https:// URL (http:// only with allow_pri",
        ),
        ({'"https://id.example"': '"id.example"'}, "issuer: must be an https:// URL"),
        ({'"https://id.example"': '"https://10.0.0.1"'}, "issuer: 10.0.0.1 is a private address"),
        ({'"https://id.example"': '"https://u:p@id.example"'}, "issuer: must have no name, no query"),
        ({'"https://id.example"': '"https://id.example?x=1"'}, "issuer: must have no name, no query"),
        ({'"https://id.example"': '"https://[::1"'}, "issuer: "),
        ({'"aibridge"': '["", "x"]'}, "audience: must name what tokens are for"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, changed: dict[str, str], told: str) -> None:
    text = HEAD
    for before, after in changed.items():
        text = text.replace(before, after)

    with pytest.raises(Wrong) as raised:
        configured_oidc(configuration(tmp_path, text))

    assert f"auth.oidc.{told}" in str(raised.value)


def test_authorities_are_its_own_or_those_of_all_providers(tmp_path: Path) -> None:
    bundle = str(Authority(tmp_path).root())
    own: Any = configured_oidc(configuration(tmp_path, f'{HEAD}ca_bundle = "{bundle}"'))
    shared: Any = configured_oidc(configuration(tmp_path, f'{HEAD}[upstream]\nca_bundle = "{bundle}"'))

    assert own.ca_bundle == shared.ca_bundle == bundle
    with pytest.raises(Wrong, match=r"upstream.ca_bundle: cannot be read"):
        configured_oidc(configuration(tmp_path, f'{HEAD}[upstream]\nca_bundle = "nothing.pem"'))


def test_a_change_needs_a_restart_and_is_named(tmp_path: Path) -> None:
    before = configuration(tmp_path, HEAD)
    after = configuration(tmp_path, f'{HEAD}required_groups = "staff"')

    assert list(changed_for_a_restart(before, after)) == ["auth.oidc"]
