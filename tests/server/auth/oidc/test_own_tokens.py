"""Our issuer's tokens are found in whatever stands around them and however they are written, and nothing else is."""

import base64
import time

import pytest

from aibridge.server.auth.oidc.own_tokens import OwnTokens
from tests.fakes.oidc import OidcIssuer

ISSUER = OidcIssuer(url="https://id.example")
OURS = OwnTokens(ISSUER.url)
TOKEN = ISSUER.token()
FOREIGN = OidcIssuer(url="https://auth.example").token()


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


# Some issuers write their JSON for people to read.
SPACED = ".".join((TOKEN.split(".")[0], part(f'{{\n  "iss": "{ISSUER.url}"\n}}'), "c2lnbmF0dXJl"))


@pytest.mark.parametrize("token", [TOKEN, SPACED])
@pytest.mark.parametrize(
    "around", ["{}", "Bearer {}", "a={}; b=c", "eyJhbGciOiJub25lIn0.{}", "{}.rest", "x_{}", "{} {}"]
)
def test_a_token_is_cut_out_of_what_stands_around_it(token: str, around: str) -> None:
    kept = OURS.without([(b"x-trace", around.format(token, token).encode()), (b"x-other", b"1")])

    assert not any(token.encode() in value or token.split(".")[1].encode() in value for _, value in kept)
    assert (b"x-other", b"1") in kept
    assert OURS.is_in_path(f"/v1/{around.format(token, token)}".replace(" ", "%20").encode())
    assert OURS.query_without(f"a=1&t={token}&b=2".encode()) == b"a=1&b=2"


@pytest.mark.parametrize(
    "text", [FOREIGN, f"{FOREIGN} and {FOREIGN}", "eyJ.eyJ.eyJ", "1.2.3", "a.b", "eyJhbGci" * 3, ""]
)
def test_what_is_somebody_elses_stays_as_it_is(text: str) -> None:
    assert OURS.cut(text.encode()) == text.encode()
    assert OURS.without([(b"authorization", text.encode())]) == [(b"authorization", text.encode())]


@pytest.mark.parametrize("pattern", [b"eyJ", b"eyJ.", b"eyJa.b.", b".", b"a.", b"eyJhbGciOiJub25lIn0."])
def test_what_is_no_token_is_read_once_however_long_it_is(pattern: bytes) -> None:
    text = pattern * (1_000_000 // len(pattern))
    began = time.process_time()

    assert OURS.cut(text) == text
    assert time.process_time() - began < 5  # quadratic, it would take minutes
