"""Open streams end with the token that let them in, or with its owner's suspension; those of other people run on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.auth.oidc.test_sign_in import Desk, made
from tests.server.test_watching import rest_of_the_one_that_dies

pytestmark = pytest.mark.anyio


def suspended(desk: Desk) -> None:
    desk.people.suspend("ada")


def ended(desk: Desk) -> None:
    desk.clock.advance(100)


@pytest.mark.parametrize(
    ("dies", "told"), [(suspended, b"your account is suspended"), (ended, b"your token has expired")]
)
async def test_a_stream_ends_with_the_token_that_let_it_in(
    tmp_path: Path, dies: Callable[[Desk], None], told: bytes
) -> None:
    async with made(tmp_path) as desk:
        tokens = desk.token(life=60), desk.token("sub-bob")
        rest = await rest_of_the_one_that_dies(desk.authenticator, *tokens, lambda: dies(desk))

    assert rest.startswith(b"event: error\n")
    assert told in rest
