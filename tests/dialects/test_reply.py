"""Replies of every dialect: whole events only, the terminal one withheld, memory bounded, the end told once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Plain, Thought, Turn, Unreadable
from aibridge.dialects.reply import StreamedReply, WholeAnswer, WholeReply
from aibridge.errors import Problem
from aibridge.wire import sse
from tests.strategies.chunks import chunkings

_PROBLEM = Problem(502, "broke off")


class _Reader:
    """A small dialect: `data: "end"` ends a turn, `data: "wait"` may, `data: "quiet"` is not shown."""

    def __init__(self) -> None:
        self.response_id: str | None = None
        self.seen: list[bytes] = []
        self._ended = False
        self._held = b""
        self._facts: list[Fact] = []

    def ended(self) -> bool:
        return self._ended

    @property
    def plain(self) -> Plain:
        return re.compile(rb'(?:data: "plain"\n\n)+').fullmatch

    def read(self, block: bytes) -> bytes:
        data = sse.parse_block(block).data
        if data is None:
            return block
        self.seen.append(data)
        self._facts.append(Thought(content=data.decode(), source="thinking"))
        if data == b'"quiet"':
            return b""
        if data == b'"wait"':
            self._held += block
            return b""
        if data == b'"end"':
            self._ended = True
            return block
        return self.held() + block

    def held(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def facts(self) -> tuple[Fact, ...]:
        facts, self._facts = tuple(self._facts), []
        return facts

    def end(self) -> Turn:
        self._facts.append(Thought(content="over", source="thinking"))
        return Turn(outcome="complete" if self._ended or self._held else "cut")


def _error_event(problem: Problem) -> bytes:
    return sse.event_block(problem.message.encode(), b"error")


def _streamed(largest_event: int = 1000) -> tuple[StreamedReply, _Reader]:
    reader = _Reader()
    return StreamedReply(reader, _error_event, largest_event=largest_event), reader


_EVENTS = st.lists(st.sampled_from(['"a"', '"quiet"', '"wait"', '"end"', "{}"]), max_size=6)


@given(_EVENTS, st.data())
def test_the_same_bytes_and_facts_come_of_any_chunks(events: list[str], data: st.DataObject) -> None:
    stream = b"".join(f"data: {event}\n\n".encode() for event in events)

    def run(chunks: list[bytes]) -> tuple[bytes, bytes, list[Fact], Turn]:
        reply, _ = _streamed()
        received = b""
        facts: list[Fact] = []
        for chunk in chunks:
            received += reply.receive(chunk)
            facts += reply.facts()
        turn = reply.end_turn()
        return received, reply.finish(), [*facts, *reply.facts()], turn

    assert run(data.draw(chunkings(stream))) == run([stream])


def test_the_terminal_event_and_what_follows_it_are_withheld() -> None:
    reply, reader = _streamed()

    assert reply.receive(b'data: 1\n\ndata: "end"\n\ndata: 2\n\ndat') == b"data: 1\n\n"
    assert reply.finished
    assert reply.receive(b"a: 3\n\n") == b""
    reply.end_turn()
    assert reply.finish() == b'data: "end"\n\ndata: 2\n\ndata: 3\n\n'
    assert reply.finish() == b""
    assert reader.seen == [b"1", b'"end"']


def test_bytes_behind_the_end_come_out_with_the_next_finish() -> None:
    reply, _ = _streamed()
    reply.receive(b'data: "end"\n\n')
    reply.end_turn()
    reply.finish()

    assert reply.receive(b": bye\n\n") == b""
    assert reply.finish() == b": bye\n\n"


def test_a_second_end_of_the_turn_tells_nothing_new() -> None:
    for reply in (_streamed()[0], WholeReply(lambda _: WholeAnswer(Turn(outcome="complete"), (Unreadable("x"),)))):
        reply.receive(b"data: 1\n\n")
        turn = reply.end_turn()
        assert reply.facts()

        assert reply.end_turn() is turn
        assert reply.facts() == ()


def test_a_terminal_event_without_its_empty_line_ends_the_stream_and_is_given_out_as_it_came() -> None:
    reply, _ = _streamed()
    reply.receive(b'data: 1\n\ndata: "end"')

    assert not reply.finished
    assert reply.end_turn().outcome == "complete"
    assert reply.finish() == b'data: "end"'


@pytest.mark.parametrize("rest", [b'data: "en', b'data: "end', b"dat", b'event: x\ndata: {"a":"end"', b"data: tru"])
def test_a_cut_event_is_neither_read_nor_shown_nor_a_fault_of_the_provider(rest: bytes) -> None:
    reply, reader = _streamed()

    assert reply.receive(b"data: 1\n\n" + rest) == b"data: 1\n\n"
    assert reply.end_turn().outcome == "cut"
    assert reader.seen == [b"1"]
    assert reply.fail(_PROBLEM) == b"event: error\ndata: broke off\n\n"
    assert reply.finish() == b""


def test_an_event_that_may_be_the_last_is_whole_and_goes_out_before_an_error() -> None:
    reply, _ = _streamed()

    assert reply.receive(b'data: 1\n\ndata: "wait"\n\ndata: {"') == b"data: 1\n\n"
    reply.end_turn()
    assert reply.fail(_PROBLEM) == b'data: "wait"\n\nevent: error\ndata: broke off\n\n'


def test_an_event_that_may_be_the_last_goes_out_with_the_one_that_follows() -> None:
    reply, _ = _streamed()

    assert reply.receive(b'data: "wait"\n\n') == b""
    assert reply.receive(b"data: 1\n\n") == b'data: "wait"\n\ndata: 1\n\n'


def test_a_large_event_passes_unread_and_is_told_once() -> None:
    stream = b'data: 1\n\ndata: "' + b"x" * 200 + b'"\n\ndata: "' + b"y" * 200 + b'"\n\ndata: 2\n\ndata: "end"\n\n'

    for size in (1, 7, 41, 1000):
        reply, reader = _streamed(largest_event=40)
        received = b"".join(reply.receive(stream[at : at + size]) for at in range(0, len(stream), size))
        reply.end_turn()

        assert received + reply.finish() == stream
        assert reader.seen == [b"1", b"2", b'"end"']
        assert [fact for fact in reply.facts() if isinstance(fact, Unreadable)] == [
            Unreadable("an event of the stream is too large to be read")
        ]
        assert reply.facts() == ()


def test_an_error_behind_a_torn_event_stands_on_its_own() -> None:
    reply, reader = _streamed(largest_event=40)
    received = reply.receive(b'data: "' + b"x" * 100)
    reply.receive(b'y\ndata: "end"')  # as part of the torn event, this ends nothing

    assert received
    assert reply.end_turn().outcome == "cut"
    assert reader.seen == []
    assert reply.fail(_PROBLEM) == b"\n\nevent: error\ndata: broke off\n\n"


def test_a_torn_event_lets_out_what_was_kept_back_before_it() -> None:
    reply, _ = _streamed(largest_event=40)

    assert reply.receive(b'data: "wait"\n\n') == b""
    assert reply.receive(b"data: " + b"x" * 100).startswith(b'data: "wait"\n\ndata: xxx')


# -- whole bodies


def _told(body: bytes) -> WholeAnswer:
    return WholeAnswer(Turn(outcome="complete", response_id="r"), (Thought(content=body.decode(), source="thinking"),))


@given(st.binary(max_size=30).map(bytes.hex), st.data())
def test_a_body_is_withheld_until_it_is_read(body: str, data: st.DataObject) -> None:
    reply = WholeReply(_told)

    assert all(reply.receive(chunk) == b"" for chunk in data.draw(chunkings(body.encode())))
    assert (reply.finished, reply.response_id, reply.facts()) == (False, None, ())
    assert reply.end_turn().outcome == "complete"
    assert reply.response_id == "r"
    assert reply.facts() == (Thought(content=body, source="thinking"),)
    assert reply.finish() == body.encode()


def test_a_body_that_fails_is_not_given_out() -> None:
    reply = WholeReply(_told)
    reply.receive(b"half")

    assert reply.fail(_PROBLEM) == b""
    assert reply.finish() == b""


def test_a_large_body_passes_as_it_comes_and_is_not_read() -> None:
    reply = WholeReply(_told, largest=10)

    assert reply.receive(b"123456") == b""
    assert reply.receive(b"78901") == b"12345678901"
    assert reply.receive(b"2") == b"2"
    assert reply.end_turn() == Turn(outcome="complete")
    assert reply.facts() == (Unreadable("the answer is too large to be read"),)
    assert reply.finish() == b""
