"""Tokens that people came with are kept for those people, for the time that they live, and in bounded memory."""

from aibridge.server.auth.caller_tokens import CallerTokens
from tests.fakes.clock import BEGINNING, FakeClock

NOON = BEGINNING.timestamp()


def test_the_newest_token_of_a_person_counts_even_when_an_older_one_comes_again() -> None:
    tokens = CallerTokens(FakeClock())

    tokens.seen("ada", "first", NOON + 600, ("gateway",))
    tokens.seen("ada", "second", NOON + 300, ("gateway",))
    tokens.seen("ada", "first", NOON + 600, ("gateway",))

    newest = tokens.of("ada", None)
    assert newest is not None
    assert newest.value == "second"


def test_the_newest_token_that_names_a_server_is_found_behind_one_that_does_not() -> None:
    tokens = CallerTokens(FakeClock())

    tokens.seen("ada", "both", NOON + 600, ("gateway", "https://wiki.example/mcp"))
    tokens.seen("ada", "gateway only", NOON + 600, ("gateway",))

    for_wiki = tokens.of("ada", "https://wiki.example/mcp")
    assert for_wiki is not None
    assert for_wiki.value == "both"
    assert tokens.of("ada", "https://wiki.example") is None
    assert tokens.of("ada", "wiki") is None


def test_nobody_gets_the_token_of_somebody_else() -> None:
    tokens = CallerTokens(FakeClock())

    tokens.seen("ada", "hers", NOON + 600, ("gateway",))

    assert tokens.of("bob", None) is None
    assert tokens.of("", None) is None


def test_a_token_that_has_ended_is_not_given_and_an_older_one_that_lives_is() -> None:
    clock = FakeClock()
    tokens = CallerTokens(clock)
    tokens.seen("ada", "long", NOON + 600, ("gateway",))
    tokens.seen("ada", "short", NOON + 60, ("gateway",))

    clock.passed = 60.0
    left = tokens.of("ada", None)
    clock.passed = 600.0

    assert left is not None
    assert left.value == "long"
    assert tokens.of("ada", None) is None


def test_what_has_ended_is_forgotten_when_others_come() -> None:
    clock = FakeClock()
    tokens = CallerTokens(clock)
    tokens.seen("ada", "short", NOON + 60, ("gateway",))
    tokens.seen("bob", "long", NOON + 600, ("gateway",))

    clock.passed = 61.0
    tokens.seen("eve", "new", NOON + 600, ("gateway",))

    assert len(tokens) == 2
    assert tokens.of("bob", None) is not None


def test_memory_is_bounded_in_people_and_in_tokens_of_one_person() -> None:
    tokens = CallerTokens(FakeClock(), most_people=3, most_each=2)

    for person in range(10):
        for number in range(5):
            tokens.seen(f"person {person}", f"token {person}.{number}", NOON + 600, ("gateway",))

    assert len(tokens) == 6
    assert tokens.of("person 6", None) is None
    newest = tokens.of("person 9", None)
    assert newest is not None
    assert newest.value == "token 9.4"


def test_nothing_is_kept_while_no_server_wants_it() -> None:
    tokens = CallerTokens(FakeClock(), needed=False)

    tokens.seen("ada", "unwanted", NOON + 600, ("gateway",))
    before = tokens.of("ada", None)
    tokens.need(needed=True)
    tokens.seen("ada", "wanted", NOON + 600, ("gateway",))
    during = tokens.of("ada", None)
    tokens.need(needed=False)

    assert before is None
    assert during is not None
    assert tokens.of("ada", None) is None


def test_no_token_is_in_a_repr() -> None:
    tokens = CallerTokens(FakeClock())
    tokens.seen("ada", "canary-token", NOON + 600, ("gateway",))

    assert "canary" not in repr(tokens) + repr(tokens.of("ada", None)) + str(tokens.of("ada", None))
