"""What is worth another attempt, and when."""

from datetime import UTC, datetime

import pytest

from aibridge.errors import Header
from aibridge.retry import back_off, told_to_wait, worth_retrying

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_statuses_that_may_get_better_are_asked_again_and_no_others() -> None:
    statuses = [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529]

    assert [status for status in statuses if worth_retrying(status, ())] == [408, 409, 429, 500, 502, 503, 504, 529]


def test_the_providers_own_word_counts_most() -> None:
    assert worth_retrying(400, [(b"X-Should-Retry", b"true")])
    assert not worth_retrying(503, [(b"x-should-retry", b"False")])
    assert worth_retrying(503, [(b"x-should-retry", b"perhaps")])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"Retry-After", b"7")], 7),
        ([(b"retry-after", b" 1.5 ")], 1.5),
        ([(b"retry-after", b"0")], 0),
        ([(b"retry-after", b"Fri, 20 Nov 2026 12:00:09 GMT")], 9),
        ([(b"retry-after", b"Fri, 20 Nov 2026 11:00:00 GMT")], 0),
        ([(b"retry-after", b"Fri, 20 Nov 2026 12:00:09 -0000")], 9),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"9")], 0.25),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"9")], 9),
        ([(b"retry-after", b"-3")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"next week")], None),
        ([(b"retry-after", b"\xff\xfe")], None),
        ([(b"retry-after", b"Fri, 99 Nov 2026 12:00:09 GMT")], None),
    ],
)
def test_what_the_provider_said_to_wait_is_read(headers: list[Header], seconds: float | None) -> None:
    assert told_to_wait(headers, NOW) == seconds


def test_the_back_off_doubles_up_to_a_bound_and_is_never_longer_than_without_chance() -> None:
    assert [back_off(retries, lambda: 0.0) for retries in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert [back_off(retries, lambda: 1.0) for retries in range(6)] == [0.375, 0.75, 1.5, 3, 6, 6]
    assert back_off(1000, lambda: 0.0) == 8
