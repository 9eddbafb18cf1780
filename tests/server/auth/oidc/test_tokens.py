"""A token is good if everything about it is, and one thing that is wrong with it is enough."""

import base64
import hashlib
import hmac
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.server.auth.oidc.keys import IssuerKey, IssuerKeys, keys_in
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.auth.oidc.tokens import (
    LONGEST,
    Claims,
    WrongToken,
    check_head,
    may_be_token,
    presented,
    verified,
)
from tests.fakes.oidc import Kind, OidcIssuer, SigningKey, signing_key

NOW = 1_800_000_000.0
RULES = OidcRules(issuer="https://id.example", audiences=("aibridge", "other"), leeway=30)
ISSUER = OidcIssuer(url=RULES.issuer)
KINDS: tuple[Kind, ...] = ("RS256", "PS256", "ES256", "EdDSA")
NUMBERS: tuple[Any, ...] = (True, "1800000000", None, [], {}, -1, 1e300, 1.8e12)


def shown(*keys: SigningKey, **more: Any) -> IssuerKeys:
    return keys_in(msgspec.json.encode({"keys": [{**key.as_dict(private=False), **more} for key in keys]}))


KEYS = shown(ISSUER.key)


def claims_of(value: str, keys: IssuerKeys = KEYS, now: float = NOW, rules: OidcRules = RULES) -> Claims:
    """What the whole verification makes of a value. Raises: WrongToken."""
    token = presented(value)
    if token is None:
        raise WrongToken("no token")
    check_head(token, rules)
    key = keys.named(token.kid, token.algorithm)
    if key is None:
        raise WrongToken("no key")
    return verified(token, key, rules, now)


def good(**more: Any) -> dict[str, Any]:
    return {**ISSUER.claims(at=NOW), **more}


def refused(value: str, keys: IssuerKeys = KEYS) -> str:
    with pytest.raises(WrongToken) as raised:
        claims_of(value, keys)
    return str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_token_of_each_kind_of_key_says_who_it_is(kind: Kind) -> None:
    issuer = OidcIssuer(url=RULES.issuer, kind=kind, key=signing_key(kind))

    claims = claims_of(issuer.token(at=NOW), shown(issuer.key))

    assert (claims.subject, claims.audiences) == ("sub-ada", ("aibridge",))
    assert claims.expires_at == NOW + 3600


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_access_tokens_and_identity_tokens_are_taken(kind: str | None) -> None:
    assert claims_of(ISSUER.signed(good(aud=["somebody", "other"]), header={"typ": kind})).subject == "sub-ada"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        *(({"iss": iss}, "issuer") for iss in (f"{RULES.issuer}/", "https://ID.example", "", 7, None, [RULES.issuer])),
        *(({"aud": aud}, "audience") for aud in ("", "aibridge ", "AIBRIDGE", [], ["x"], {"aibridge": 1}, None, 7)),
        *(({"sub": sub}, "whose") for sub in ("", 7, None, "x" * 256, ["sub-ada"])),
        *(({"exp": exp}, "from when to when") for exp in NUMBERS),
        *(({"iat": iat}, "from when to when") for iat in NUMBERS),
        *(({"exp": exp}, "expired") for exp in (0, NOW - 31, NOW - 30)),
        *(({"nbf": nbf}, "not good yet") for nbf in (NOW + 31, NOW + 3600, *NUMBERS)),
        ({"iat": NOW + 31}, "not good yet"),
    ],
)
def test_a_claim_that_is_wrong_is_enough(changed: dict[str, Any], why: str) -> None:
    assert why in refused(ISSUER.signed({**good(), **changed}))


@pytest.mark.parametrize("changed", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"iat": NOW + 29}, {"exp": NOW + 0.5}])
def test_clocks_may_differ_a_little(changed: dict[str, Any]) -> None:
    assert claims_of(ISSUER.signed(good(**changed))).subject == "sub-ada"


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat"])
def test_a_claim_that_is_missing_is_enough(name: str) -> None:
    claims = good()
    del claims[name]

    assert refused(ISSUER.signed(claims))


def part(content: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).decode().rstrip("=")


def forged(header: dict[str, Any], secret: bytes) -> str:
    """A token signed with a shared secret."""
    signed = f"{part(header)}.{part(good())}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def test_what_everybody_knows_of_a_key_signs_nothing() -> None:
    rsa = signing_key("RS256", "rsa")
    keys = shown(ISSUER.key, rsa)
    secrets = [rsa.as_pem(private=False), rsa.as_der(private=False), ISSUER.key.as_pem(private=False), b""]
    secrets.append(msgspec.json.encode(rsa.as_dict(private=False)))

    for secret in secrets:
        for kid in ("rsa", "key-1", None):
            assert "signed in a way" in refused(forged({"alg": "HS256", "kid": kid}, secret), keys)
            for algorithm in ("RS256", "ES256", "EdDSA"):
                assert refused(forged({"alg": algorithm, "kid": kid}, secret), keys)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "ES256K", "A128KW", "dir"])
def test_no_other_way_to_sign_is_taken(algorithm: str) -> None:
    _, claims, signature = ISSUER.signed(good()).split(".")

    for end in (signature, "AA"):
        assert "signed in a way" in refused(f"{part({'alg': algorithm, 'kid': 'key-1'})}.{claims}.{end}")
    assert refused(f"{part({'alg': algorithm, 'kid': 'key-1'})}.{claims}.") == "no token"


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": None},
        {"b64": False},
    ],
)
def test_extensions_are_not_known(header: dict[str, Any]) -> None:
    _, claims, signature = ISSUER.signed(good()).split(".")

    told = refused(f"{part({'alg': 'ES256', 'kid': 'key-1', 'typ': 'JWT', **header})}.{claims}.{signature}")
    assert "extensions" in told


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", ""])
def test_a_token_of_another_kind_lets_nobody_in(kind: str) -> None:
    assert "of a kind" in refused(ISSUER.signed(good(), header={"typ": kind}))


def test_the_key_of_somebody_else_does_not_do_whatever_the_head_says() -> None:
    other = signing_key("ES256", "key-1")
    jwk = other.as_dict(private=False)

    for header in ({}, {"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5c": ["AAAA"]}, {"kid": None}):
        assert "signature" in refused(ISSUER.signed(good(), key=other, header=header))
    assert refused(ISSUER.signed(good(), key=other, header={"kid": "key-9"})) == "no key"
    assert "another issuer" in refused(ISSUER.signed(good(iss="https://other.example")))


def test_a_key_that_is_for_one_algorithm_is_for_no_other() -> None:
    rsa = signing_key("RS256", "rsa")
    keys = shown(rsa, alg="RS256")
    pss = OidcIssuer(url=RULES.issuer, kind="PS256", key=rsa)

    assert refused(pss.token(at=NOW), keys) == "no key"


TOKEN = ISSUER.signed(good())


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_none(data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(TOKEN) - 1))
    change = data.draw(st.sampled_from(["truncate", "replace", "insert"]))
    letter = data.draw(st.sampled_from("ABCabc012-_.=+/ \u00e9"))
    changed = {
        "truncate": TOKEN[:cut],
        "replace": TOKEN[:cut] + letter + TOKEN[cut + 1 :],
        "insert": TOKEN[:cut] + letter + TOKEN[cut:],
    }[change]

    try:
        claims = claims_of(changed)
    except WrongToken:
        return
    # The last letter of base64 has bits that mean nothing.
    assert changed[:-1] == TOKEN[:-1]
    assert claims.all == good()


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_parts_of_anything_are_refused_in_words(first: bytes, second: bytes, third: bytes) -> None:
    parts = [base64.urlsafe_b64encode(each).decode().rstrip("=") for each in (b'{"' + first, second, third)]

    assert refused(".".join(parts))


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "email", "x"]),
        _json := st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    )
)
def test_claims_of_any_kind_are_refused_or_right(changed: dict[str, Any]) -> None:
    said = {**good(), **changed}
    try:
        claims = claims_of(ISSUER.signed(said))
    except WrongToken:
        return
    assert said["iss"] == RULES.issuer
    assert said["exp"] > NOW - RULES.leeway
    assert claims.subject == said["sub"]
    assert set(claims.audiences) & set(RULES.audiences)


def test_what_is_huge_is_not_read() -> None:
    huge = ISSUER.signed(good(groups=["x" * 100] * 1000))
    began = time.monotonic()

    assert len(huge) > LONGEST
    assert refused(huge) == "no token"
    assert refused("eyJ" + "a" * 5_000_000) == "no token"
    assert refused(f"eyJ{part({})}." + "." * 16_000) == "no token"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("deep", ["[" * 5000 + "]" * 5000, '{"a":' * 1500 + "1" + "}" * 1500, "[" * 9000])
@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ('{"alg":"ES256"}', '{"iss":DEEP}'),
        ('{"alg":"ES256"}', '{"iss":"https://id.example","more":DEEP}'),
        ('{"alg":"ES256","jwk":DEEP}', '{"iss":"https://id.example"}'),
        ('{"alg":"ES256","crit":DEEP}', '{"iss":"https://id.example"}'),
    ],
)
def test_what_is_deep_is_refused_and_breaks_nothing(head: str, claims: str, deep: str) -> None:
    refused(f"{encoded(head.replace('DEEP', deep))}.{encoded(claims.replace('DEEP', deep))}.AAAA")


def test_claims_that_are_deep_are_refused_also_where_the_issuer_wrote_them() -> None:
    deep: list[Any] = []
    for _ in range(800):
        deep = [deep]

    assert refused(ISSUER.signed(good(sub=None, deep=deep)))


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_keys_of_ours_and_of_providers_have_another_shape() -> None:
    for value in ("aib_0123", "sk-ant-api03-AAAA", "eyJ.eyJ", "a.b.c", "", "eyJhbGciOiJub25lIn0.e30.", "Bearer a.b.c"):
        assert not may_be_token(value)


def test_what_is_secret_is_in_no_repr() -> None:
    token = presented(TOKEN)
    key = KEYS.keys[0]
    claims = claims_of(TOKEN)

    assert isinstance(key, IssuerKey)
    assert not any(each in f"{token!r} {claims!r} {key!r}" for each in (*TOKEN.split("."), "ada@example.org"))


JWK_VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(
        ["RSA", "EC", "OKP", "oct", "P-256", "P-521", "Ed25519", "X25519", "secp256k1", "sig", "enc", "AQAB"]
    ),
    st.binary(max_size=70).map(lambda each: base64.urlsafe_b64encode(each).decode().rstrip("=")),
    st.just("u" * 342),
    st.text(max_size=10),
    st.lists(st.sampled_from(["verify", "sign"]), max_size=2),
)
MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid", "key_ops", "k", "d"])
SOME_KEYS = [key.as_dict(private=False) for key in (ISSUER.key, signing_key("RS256"), signing_key("EdDSA"))]


@given(
    st.lists(st.tuples(st.sampled_from([{}, *SOME_KEYS]), st.dictionaries(MEMBERS, JWK_VALUES, max_size=4)), max_size=4)
)
def test_a_key_that_is_odd_takes_no_other_with_it(odd: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    keys = [{**key, **changed} for key, changed in odd]
    good_one = {**ISSUER.key.as_dict(private=False), "kid": "the-good-one"}

    found = keys_in(msgspec.json.encode({"keys": [*keys, good_one]}))

    assert claims_of(ISSUER.signed(good(), header={"kid": "the-good-one"}), found).subject == "sub-ada"
    for key in found.keys:
        for algorithm in RULES.algorithms:
            token = f"{part({'alg': algorithm, 'kid': key.kid})}.{part(good())}.AAAA"
            if key.kid != "the-good-one" or algorithm != "ES256":
                assert refused(token, IssuerKeys((key,), found.thumbprints))
