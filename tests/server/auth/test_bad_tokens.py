"""Bad tokens are counted by address and minute, in bounded memory."""

from aibridge.server.auth.bad_tokens import BadTokens


def test_the_thirty_first_within_a_minute_is_one_too_many() -> None:
    bad = BadTokens()

    assert [bad.count("10.0.0.1", float(second)) for second in range(30)] == [0] * 30
    assert bad.count("10.0.0.1", 30.0) == 30
    assert bad.count("10.0.0.1", 59.5) == 1
    assert bad.count("10.0.0.1", 60.0) == 0


def test_addresses_do_not_answer_for_each_other() -> None:
    bad = BadTokens(limit=1)

    assert bad.count("10.0.0.1", 0) == 0
    assert bad.count("10.0.0.2", 0) == 0
    assert bad.count("10.0.0.1", 1) > 0


def test_a_network_of_ipv6_counts_as_one() -> None:
    bad = BadTokens(limit=1)

    assert bad.count("2001:db8:1:2::1", 0) == 0
    assert bad.count("2001:db8:1:2:ffff::7", 0) > 0
    assert bad.count("2001:db8:1:3::1", 0) == 0
    assert bad.count("::ffff:10.0.0.1", 0) == 0
    assert bad.count("10.0.0.1", 0) > 0
    assert bad.count("fe80::1%eth0", 0) == 0
    assert bad.count("not:an:address", 0) == 0


def test_memory_is_bounded_and_the_oldest_are_forgotten_first() -> None:
    bad = BadTokens(limit=1, addresses=3)

    for number in range(5):
        bad.count(f"10.0.0.{number}", float(number))

    assert len(bad._counts) == 3
    assert bad.count("10.0.0.4", 5) > 0
    assert bad.count("10.0.0.0", 5) == 0
