"""Which of a provider's keys may be used, as time passes."""

from aibridge.credentials import Secret
from aibridge.key_pool import KeyPool, fingerprint

FIRST, SECOND = fingerprint(Secret("sk-first")), fingerprint(Secret("sk-second"))
KEYS = (FIRST, SECOND)


def test_the_first_usable_key_serves() -> None:
    pool = KeyPool()

    assert pool.first_usable(KEYS, "opus", 0.0) == 0
    pool.cool(FIRST, "opus", 20.0, 0.0)
    assert pool.first_usable(KEYS, "opus", 19.9) == 1
    assert pool.first_usable(KEYS, "opus", 20.0) == 0


def test_a_rate_limit_is_of_one_model() -> None:
    pool = KeyPool()
    pool.cool(FIRST, "opus", None, 0.0)

    assert pool.first_usable(KEYS, "opus", 59.0) == 1
    assert pool.first_usable(KEYS, "haiku", 0.0) == 0
    assert pool.first_usable(KEYS, None, 0.0) == 0
    assert pool.cooling(FIRST, 10.0) == {"opus": 50.0}


def test_a_refusal_is_of_all_models() -> None:
    pool = KeyPool()
    pool.refuse(FIRST, 0.0)

    assert [pool.first_usable(KEYS, model, 59.0) for model in ("opus", "haiku", None)] == [1, 1, 1]
    assert pool.first_usable(KEYS, "opus", 60.0) == 0


def test_when_all_rest_the_soonest_is_told() -> None:
    pool = KeyPool()
    pool.cool(FIRST, "opus", 30.0, 0.0)
    pool.cool(SECOND, "opus", 12.0, 0.0)

    assert pool.first_usable(KEYS, "opus", 1.0) is None
    assert pool.soonest(KEYS, "opus", 1.0) == 11.0
    assert pool.soonest(KEYS, "haiku", 1.0) is None


def test_a_key_that_is_refused_promises_no_end() -> None:
    pool = KeyPool()
    pool.refuse(FIRST, 0.0)
    assert pool.soonest((FIRST,), "opus", 1.0) is None
    pool.cool(SECOND, "opus", 40.0, 0.0)

    assert pool.soonest(KEYS, "opus", 1.0) == 39.0


def test_a_key_that_serves_is_well_again() -> None:
    pool = KeyPool()
    pool.refuse(FIRST, 0.0)
    pool.cool(FIRST, "opus", 100.0, 0.0)
    assert pool.state(FIRST, 1.0) == ("refused", 59.0)
    pool.serve(FIRST, "haiku")
    assert pool.state(FIRST, 61.0) == ("cooling", 39.0)
    pool.serve(FIRST, "opus")

    assert pool.state(FIRST, 61.0) == ("usable", 0.0)
    assert pool._rests == {}


def test_names_that_clients_invent_do_not_make_the_pool_grow() -> None:
    pool = KeyPool()
    for number in range(10_000):
        pool.cool(FIRST, f"model-{number}", 10.0 + number % 7, 0.0)

    assert len(pool._rests[FIRST].cooling) <= 200
    pool.keep(())
    assert pool._rests == {}


def test_a_provider_cannot_take_a_key_out_for_good_or_have_it_asked_at_once() -> None:
    pool = KeyPool()
    pool.cool(FIRST, "opus", 1e9, 0.0)
    pool.cool(SECOND, "opus", 0.0, 0.0)

    assert pool.soonest((FIRST,), "opus", 0.0) == 24 * 3600
    assert pool.first_usable((SECOND,), "opus", 0.5) is None


def test_the_keys_that_stay_keep_their_state() -> None:
    pool = KeyPool()
    pool.cool(FIRST, "opus", 60.0, 0.0)
    pool.cool(SECOND, "opus", 60.0, 0.0)
    pool.keep((SECOND,))

    assert pool.state(FIRST, 1.0)[0] == "usable"
    assert pool.state(SECOND, 1.0)[0] == "cooling"


def test_a_fingerprint_is_not_the_key() -> None:
    assert fingerprint(Secret("sk-first")) == FIRST != SECOND
    assert b"sk-first" not in FIRST
