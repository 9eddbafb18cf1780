"""Circuits as a provider's answers move them. Seconds pass when a test says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.breaker import BreakerSettings, Circuit, CircuitBreaker, CircuitState, Permit, Tripped

OPUS = Circuit("/v1/messages", "claude-opus-4-6")
HAIKU = Circuit("/v1/messages", "claude-haiku-4-5")
ELSEWHERE = Circuit("/v1/responses", "claude-opus-4-6")


class Bench:
    """A breaker with the changes that it told of."""

    def __init__(self, *, most: int = 200, **settings: float) -> None:
        self.told: list[tuple[Circuit, CircuitState]] = []
        tell = self.told.append
        self.breaker = CircuitBreaker(
            BreakerSettings(**settings),  # type: ignore[arg-type]  # counts are whole where tests give them
            lambda circuit, state: tell((circuit, state)),
            most=most,
        )

    def passes(self, now: float, circuit: Circuit = OPUS) -> Permit:
        found = self.breaker.admit(circuit, now)
        assert isinstance(found, Permit)
        return found

    def waits(self, now: float, circuit: Circuit = OPUS) -> float:
        found = self.breaker.admit(circuit, now)
        assert isinstance(found, Tripped)
        return found.retry_after

    def fails(self, now: float, times: int = 1, circuit: Circuit = OPUS) -> None:
        for _ in range(times):
            self.breaker.failed(self.passes(now, circuit), now)


def test_a_circuit_opens_waits_probes_and_closes_again() -> None:
    bench = Bench()
    bench.fails(100.0, 4)
    assert bench.breaker.state(OPUS, 100.0) == "closed"
    bench.fails(101.0)

    assert bench.breaker.state(OPUS, 101.0) == "open"
    assert bench.waits(101.0) == 30
    assert bench.waits(130.5) == 0.5
    probes = [bench.passes(131.0) for _ in range(3)]
    assert bench.breaker.state(OPUS, 131.0) == "half_open"
    for probe in probes:
        bench.breaker.succeeded(probe, 132.0)
    assert bench.breaker.state(OPUS, 132.0) == "closed"
    bench.fails(133.0, 4)
    assert bench.breaker.state(OPUS, 133.0) == "closed"
    assert bench.told == [(OPUS, "open"), (OPUS, "half_open"), (OPUS, "closed")]


def test_a_half_open_circuit_lets_no_more_than_its_probes_pass() -> None:
    bench = Bench(max_requests=2)
    bench.fails(0.0, 5)
    first, second = bench.passes(30.0), bench.passes(30.0)

    assert bench.waits(30.0) > 0
    bench.breaker.succeeded(first, 31.0)
    assert bench.waits(31.0) > 0
    bench.breaker.succeeded(second, 31.0)
    assert bench.breaker.state(OPUS, 31.0) == "closed"


def test_one_bad_probe_opens_the_circuit_again_for_the_whole_time() -> None:
    bench = Bench()
    bench.fails(0.0, 5)
    good, bad, late = (bench.passes(30.0) for _ in range(3))
    bench.breaker.succeeded(good, 31.0)
    bench.breaker.failed(bad, 40.0)

    assert bench.waits(40.0) == 30
    bench.breaker.succeeded(late, 41.0)
    assert bench.waits(41.0) == 29
    bench.breaker.failed(late, 42.0)
    assert bench.waits(42.0) == 28


def test_a_probe_of_which_nothing_is_learned_gives_its_place_back() -> None:
    bench = Bench(max_requests=1)
    bench.fails(0.0, 5)
    bench.breaker.undecided(bench.passes(30.0))

    bench.breaker.succeeded(bench.passes(31.0), 32.0)
    assert bench.breaker.state(OPUS, 32.0) == "closed"


def test_a_probe_that_takes_long_keeps_nobody_waiting_and_still_counts() -> None:
    for fine in (True, False):
        bench = Bench(max_requests=1)
        bench.fails(0.0, 5)
        long_answer = bench.passes(30.0)
        assert bench.waits(59.0) > 0
        bench.passes(60.0)

        (bench.breaker.succeeded if fine else bench.breaker.failed)(long_answer, 300.0)
        assert bench.breaker.state(OPUS, 300.0) == ("closed" if fine else "open")


def test_a_good_answer_ends_a_row_of_failures() -> None:
    bench = Bench()
    bench.fails(0.0, 4)
    bench.breaker.succeeded(bench.passes(1.0), 1.0)
    bench.fails(2.0, 4)

    assert bench.breaker.state(OPUS, 2.0) == "closed"


def test_a_row_that_takes_too_long_begins_anew() -> None:
    bench = Bench()
    bench.fails(0.0, 4)
    bench.fails(10.5, 4)
    assert bench.breaker.state(OPUS, 10.5) == "closed"
    bench.fails(11.0)

    assert bench.breaker.state(OPUS, 11.0) == "open"


def test_without_an_interval_a_row_may_take_any_time() -> None:
    bench = Bench(interval=0)
    for hour in range(5):
        bench.fails(hour * 3600.0)

    assert bench.breaker.state(OPUS, 4 * 3600.0) == "open"


def test_models_and_endpoints_do_not_share_a_circuit() -> None:
    bench = Bench()
    bench.fails(0.0, 5)

    assert bench.waits(1.0, OPUS) > 0
    bench.passes(1.0, HAIKU)
    bench.passes(1.0, ELSEWHERE)
    assert bench.breaker.circuits(1.0) == [(OPUS, "open")]


def test_names_that_clients_invent_do_not_make_the_map_grow() -> None:
    bench = Bench(most=10, failure_threshold=1)
    for number in range(1000):
        bench.passes(0.0, Circuit("/v1/messages", f"good-{number}"))
    assert len(bench.breaker._troubles) == 0
    for number in range(1000):
        bench.fails(0.0, 1, Circuit("/v1/messages", f"bad-{number}"))

    assert len(bench.breaker._troubles) == 10
    open_now = {circuit.model for circuit, state in bench.told if state == "open"}
    assert len(open_now) == 1000
    closed = {circuit.model for circuit, state in bench.told if state == "closed"}
    assert closed == {f"bad-{number}" for number in range(990)}


def test_a_breaker_that_is_switched_off_tells_that_its_circuits_are_closed() -> None:
    bench = Bench()
    bench.fails(0.0, 5)
    bench.breaker.close_all()

    assert bench.told == [(OPUS, "open"), (OPUS, "closed")]
    bench.passes(0.0)


@pytest.mark.parametrize(
    "settings", [{"failure_threshold": 0}, {"max_requests": 0}, {"timeout": 0.0}, {"interval": -1.0}], ids=str
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="circuit_breaker"):
        BreakerSettings(**settings)  # type: ignore[arg-type]  # any of its settings


@given(st.lists(st.tuples(st.sampled_from(["ask", "good", "bad", "none", "wait"]), st.integers(0, 5))))
def test_whatever_happens_no_more_than_the_probes_are_under_way_while_half_open(
    steps: list[tuple[str, int]],
) -> None:
    bench, now = Bench(failure_threshold=2, max_requests=2), 0.0
    under_way: list[tuple[Permit, CircuitState]] = []
    for what, number in steps:
        if what == "wait":
            now += number * 10.0
        elif what == "ask":
            found = bench.breaker.admit(OPUS, now)
            if isinstance(found, Permit):
                under_way.append((found, bench.breaker.state(OPUS, now)))
        elif under_way:
            permit, _ = under_way.pop(number % len(under_way))
            match what:
                case "good":
                    bench.breaker.succeeded(permit, now)
                case "bad":
                    bench.breaker.failed(permit, now)
                case _:
                    bench.breaker.undecided(permit)
        if bench.breaker.state(OPUS, now) == "half_open":
            age = max((permit.age for permit, state in under_way if state == "half_open"), default=0)
            young = [
                one for one, state in under_way if state == "half_open" and one.age == age and now - one.since < 30
            ]
            assert len(young) <= 2
