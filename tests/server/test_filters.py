"""Questions as people type them: read exactly, or refused with a line that helps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aibridge.server.filters import BadFilter, Filters, moment, parsed_query
from tests.durable import START


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("", Filters()),
        ("  initiator:alice   provider:openai ", Filters(initiator="alice", provider="openai")),
        ("model:gpt-4.1 session:a:b", Filters(model="gpt-4.1", session="a:b")),
        ('client:"Claude Code" state:open', Filters(client="Claude Code", state="open")),
        ("started_after:24h", Filters(started_after=START - timedelta(days=1))),
        (
            "started_before:2026-11-20T13:00:00+02:00 started_after:2026-11-19",
            Filters(
                started_before=datetime(2026, 11, 20, 11, tzinfo=UTC), started_after=datetime(2026, 11, 19, tzinfo=UTC)
            ),
        ),
    ],
)
def test_a_query_is_read(query: str, filters: Filters) -> None:
    assert parsed_query(query, START) == filters


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("initiatr:alice", "there is no filter initiatr: the filters are initiator, provider"),
        ("alice", r'cannot read "alice": a query is made of name:value'),
        ("initiator:", "cannot read"),
        ('initiator:""', "initiator has no value"),
        ('client:"Claude Code', "cannot read"),
        ('client:"Claude"Code', "cannot read"),
        ("model:a model:b", "model is there twice"),
        ("state:finished", "there is no state finished: it is one of completed"),
        ("started_after:yesterday", "yesterday is no time: write 2026-11-20T22:43:01Z"),
        ("started_after:999999w", "is no time"),
        ("started_after:2026-13-01", "is no time"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(query: str, said: str) -> None:
    with pytest.raises(BadFilter, match=said):
        parsed_query(query, START)


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("5m", 300), ("24h", 86400), ("30d", 2592000), ("2w", 1209600)])
def test_times_may_be_how_long_ago(text: str, ago: int) -> None:
    assert moment(text, START) == START - timedelta(seconds=ago)
