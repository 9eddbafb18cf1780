"""What an interception makes of what providers do: errors, breaks, odd answers; and whom it tells them it asks for."""

import asyncio
import json

import pytest

from aibridge.errors import AnswerBroken, UpstreamFailure, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange, last_event
from tests.fakes.interceptions import KEY, stage
from tests.fakes.upstream import EVENT_STREAM, JSON, Scripted

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

FAILURES = [
    (UpstreamUnreachable("no connection to the provider"), 502, "upstream_error", "connection_error"),
    (UpstreamReset("the provider's answer broke off"), 502, "upstream_error", "connection_error"),
    (UpstreamStalled("the provider sent nothing for 120 s"), 504, "upstream_stalled", "timeout"),
]


def told(exchange: Exchange, body: bytes) -> str:
    """The message of an error in the dialect's shape."""
    found = json.loads(body)
    if exchange.dialect == "messages":
        assert set(found) == {"type", "error", "request_id"}
        assert found["type"] == "error"
        assert set(found["error"]) == {"type", "message"}
    else:
        assert set(found["error"]) == {"message", "type", "param", "code"}
    message: str = found["error"]["message"]
    return message


# -- odd answers ----------------------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("kind", [None, b"text/plain; charset=utf-8", b"application/octet-stream"])
async def test_a_stream_without_a_type_that_says_so_is_one_where_one_was_asked_for(
    exchange: Exchange, kind: bytes | None
) -> None:
    headers = [] if kind is None else [(b"content-type", kind)]
    scene = stage(exchange)
    scene.streams(headers=headers)
    await scene.run()

    assert scene.client.body == exchange.stream
    assert scene.client.header("content-type") == kind
    assert scene.client.header("content-length") is None  # handed on as it came, not whole at its end
    assert scene.recorder.end.state == "completed"
    [used] = scene.recorder.kept.token_usages
    assert (used.output_tokens, used.partial) == (exchange.final.output, False)


@every_dialect
async def test_a_whole_answer_without_a_type_is_one_where_no_stream_was_asked_for(exchange: Exchange) -> None:
    for stream, headers in ((False, []), (True, [JSON])):
        scene = stage(exchange)
        scene.upstream.answers.append(Scripted((exchange.body,), 200, headers))
        await scene.run(stream=stream)

        assert scene.client.body == exchange.body
        assert [used.output_tokens for used in scene.recorder.kept.token_usages] == [exchange.final.output]


# -- breaks ---------------------------------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize(("failure", "status", "state", "kind"), FAILURES)
async def test_a_failure_before_the_first_byte_is_an_answer_in_the_dialects_words(
    exchange: Exchange, stream: bool, failure: UpstreamFailure, status: int, state: str, kind: str
) -> None:
    for at_the_head in (True, False):
        scene = stage(exchange)
        before, steps = ((failure,), ()) if at_the_head else ((), (failure,))
        scene.upstream.answers.append(Scripted(steps, 200, [EVENT_STREAM if stream else JSON], before))
        await scene.run(stream=stream)

        assert (scene.client.status, scene.client.header("content-type")) == (status, b"application/json")
        assert told(exchange, scene.client.body) == str(failure)
        end = scene.recorder.end
        assert (end.state, end.http_status, end.error_type, end.error_message) == (state, status, kind, str(failure))
        assert end.time_to_first_byte is None
        assert scene.recorder.kept.token_usages == []
        assert len(scene.recorder.kept.prompts) == 1
        for name in ("x-aibridge-interception-id", "request-id", "x-request-id"):
            assert scene.client.header(name) == end.interception_id.encode()
        assert scene.client.header("x-content-type-options") == b"nosniff"
        if exchange.dialect == "messages":
            assert json.loads(scene.client.body)["request_id"] == end.interception_id


@every_dialect
@pytest.mark.parametrize(("failure", "status", "state", "kind"), FAILURES[1:])
@pytest.mark.parametrize("torn", [False, True], ids=["between events", "within an event"])
async def test_a_failure_in_a_stream_is_an_error_event_after_the_last_whole_one(
    exchange: Exchange, failure: UpstreamFailure, status: int, state: str, kind: str, torn: bool
) -> None:
    for count in range(1, len(exchange.events)):
        scene = stage(exchange)
        part = exchange.events[count][: len(exchange.events[count]) // 2] if torn else b""
        scene.streams(*exchange.events[:count], *([part] if part else []), failure)
        await scene.run()

        whole = b"".join(exchange.events[:count])
        assert scene.client.status == 200
        assert scene.client.body.startswith(b"".join(exchange.events[: exchange.visible[count]]))
        last = last_event(scene.client.body)
        assert whole.startswith(scene.client.body.removesuffix(last))
        assert exchange.is_error(last), last
        assert scene.client.ended
        end = scene.recorder.end
        assert (end.state, end.http_status, end.error_type) == (state, 200, kind)
        known, usages = exchange.usage[count], scene.recorder.kept.token_usages
        assert [(used.output_tokens, used.partial) for used in usages] == (
            [] if known is None else [(known.output, known.partial or torn)]
        )


@every_dialect
async def test_a_stream_that_ends_before_its_terminal_event_is_no_whole_answer(exchange: Exchange) -> None:
    whole_without_done = 8  # of chat: every choice has its finish reason, and the body ends cleanly
    for count in range(1, len(exchange.events)):
        scene = stage(exchange)
        scene.streams(*exchange.events[:count])
        await scene.run()

        last = last_event(scene.client.body)
        if exchange is CHAT and count >= whole_without_done - 1:
            assert scene.recorder.end.state == "completed"
            assert scene.client.body == b"".join(exchange.events[:count])
        else:
            assert scene.recorder.end.state == "upstream_error"
            assert exchange.is_error(last)


@both_modes
async def test_a_whole_body_that_breaks_off_is_a_502(stream: bool) -> None:
    scene = stage(RESPONSES)
    scene.answers(RESPONSES.body[:100], UpstreamReset("the provider's answer broke off"))
    await scene.run(stream=stream)

    assert scene.client.status == 502
    assert told(RESPONSES, scene.client.body) == "the provider's answer broke off"


@every_dialect
async def test_an_empty_stream_is_a_502(exchange: Exchange) -> None:
    scene = stage(exchange)
    scene.upstream.answers.append(Scripted(()))
    await scene.run()

    assert scene.client.status == 502
    assert scene.recorder.end.state == "upstream_error"


@every_dialect
async def test_an_error_event_in_a_stream_is_relayed_as_it_came(exchange: Exchange) -> None:
    for count in range(1, len(exchange.events) - 1):
        scene = stage(exchange)
        scene.streams(*exchange.events[:count], exchange.error)
        await scene.run()

        assert scene.client.body == b"".join(exchange.events[:count]) + exchange.error
        assert scene.client.ended
        end = scene.recorder.end
        assert (end.state, end.http_status, end.error_message) == ("upstream_error", 200, "Overloaded")
        assert end.error_type in ("overloaded_error", "server_error", "server_is_overloaded")


@both_modes
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_not_followed(stream: bool, status: int) -> None:
    scene = stage(MESSAGES)
    scene.answers(b"elsewhere", status=status, headers=[(b"location", b"https://elsewhere.test/v1/messages")])
    await scene.run(stream=stream)

    assert scene.client.status == 502
    assert scene.client.header("location") is None
    assert str(status) in told(MESSAGES, scene.client.body)
    assert len(scene.upstream.requests) == 1
    assert scene.recorder.end.state == "upstream_error"


async def test_a_stream_that_the_client_did_not_ask_for_is_read_as_one() -> None:
    scene = stage(MESSAGES)
    scene.streams()
    await scene.run(stream=False)

    assert scene.client.body == MESSAGES.stream
    assert [used.output_tokens for used in scene.recorder.kept.token_usages] == [42]


async def test_a_whole_body_where_a_stream_was_asked_for_is_read_as_one() -> None:
    scene = stage(MESSAGES)
    scene.answers()
    await scene.run(stream=True)

    assert scene.client.body == MESSAGES.body
    assert [used.output_tokens for used in scene.recorder.kept.token_usages] == [42]


@every_dialect
async def test_what_cannot_be_read_is_relayed_unchanged(exchange: Exchange) -> None:
    scene = stage(exchange)
    scene.answers(b"<html>no JSON</html>")
    await scene.run(stream=False)

    assert scene.client.body == b"<html>no JSON</html>"
    assert scene.client.header("content-length") == b"20"
    assert scene.recorder.end.state == "completed"
    assert scene.recorder.kept.token_usages == []


@every_dialect
async def test_what_follows_the_terminal_event_is_relayed_too_but_not_waited_for(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.trailers._DEADLINE", 0.05)
    trailer = b": goodbye\n\n"
    scene = stage(exchange)
    scene.streams(*exchange.events, trailer)
    await scene.run()
    assert scene.client.body == exchange.stream + trailer
    assert scene.recorder.end.state == "completed"

    scene = stage(exchange)
    never = asyncio.Event()
    scene.streams(*exchange.events, never)
    task = scene.begin()
    await scene.client.until(len(exchange.stream))
    assert "end" not in scene.journal.of("client")
    assert scene.recorder.end.state == "completed"
    await task
    assert scene.client.ended
    assert scene.upstream.cut == 1


async def test_a_whole_answer_too_large_to_keep_passes_unread_and_a_break_in_it_cuts_the_connection() -> None:
    large = b'{"filler": "' + b"x" * (33 * 1024 * 1024)
    scene = stage(MESSAGES)
    scene.answers(large, b'"}')
    await scene.run(stream=False)
    assert scene.client.body == large + b'"}'
    assert scene.client.header("content-length") is None
    assert scene.recorder.end.state == "completed"

    scene = stage(MESSAGES)
    scene.answers(large, UpstreamReset("the provider's answer broke off"))
    with pytest.raises(AnswerBroken):
        await scene.run(stream=False)
    assert not scene.client.ended
    assert scene.recorder.end.state == "upstream_error"


# -- errors of the provider -----------------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 500, 503, 529])
async def test_an_error_of_the_provider_passes_byte_for_byte(exchange: Exchange, stream: bool, status: int) -> None:
    error = b'{ "type": "error", "error": {"type":"some_error", "message":"as it is \\u00e9"}}\n'
    scene = stage(exchange)
    headers = [(b"Retry-After", b"7"), (b"request-id", b"req_1"), (b"set-cookie", b"a=1"), (b"content-length", b"999")]
    scene.answers(error[:10], error[10:], status=status, headers=headers)
    await scene.run(stream=stream)

    assert (scene.client.status, scene.client.body) == (status, error)
    assert scene.client.header("retry-after") == b"7"
    assert scene.client.header("request-id") == b"req_1"
    assert scene.client.header("content-length") == str(len(error)).encode()
    assert scene.client.header("set-cookie") is None
    assert scene.client.header("x-content-type-options") == b"nosniff"
    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_message) == ("upstream_error", status, "as it is é")
    assert end.error_type == "some_error"
    assert end.time_to_first_byte is not None
    assert len(scene.recorder.kept.prompts) == 1


@every_dialect
@both_modes
@pytest.mark.parametrize("came", [b"", b'{"type":"error","error":{"type":"overl'], ids=["nothing", "a piece"])
async def test_an_error_that_breaks_off_keeps_its_status_and_when_to_ask_again(
    exchange: Exchange, stream: bool, came: bytes
) -> None:
    scene = stage(exchange)
    broken = UpstreamReset("the provider's answer broke off")
    scene.answers(*filter(None, [came]), broken, status=529, headers=[(b"retry-after", b"7")])
    await scene.run(stream=stream)

    assert (scene.client.status, scene.client.body, scene.client.ended) == (529, came, True)
    assert scene.client.header("retry-after") == b"7"
    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_type) == ("upstream_error", 529, "http_529")


async def test_an_error_that_cannot_be_read_is_named_by_its_status() -> None:
    scene = stage(MESSAGES)
    scene.answers(b"<html>Bad gateway</html>", status=502)
    await scene.run()

    assert scene.client.body == b"<html>Bad gateway</html>"
    assert scene.recorder.end.error_type == "http_502"


async def test_no_more_than_a_megabyte_of_an_error_is_held() -> None:
    scene = stage(MESSAGES)
    scene.answers(*[b"x" * 65536] * 64, status=500)
    await scene.run()

    assert len(scene.client.body) == 1024 * 1024
    assert scene.client.header("content-length") == b"1048576"
    assert scene.upstream.cut == 1


@every_dialect
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_central_key_is_no_fault_of_the_clients_login(exchange: Exchange, status: int) -> None:
    scene = stage(exchange)
    scene.answers(b'{"error":{"type":"authentication_error","message":"bad key ' + KEY.encode() + b'"}}', status=status)
    await scene.run()

    assert scene.client.status == 502
    message = told(exchange, scene.client.body)
    assert message == f"the provider refused the gateway's own credential (HTTP {status})"
    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_type) == ("upstream_error", 502, "authentication_error")
    assert KEY not in repr(scene.recorder.attempts)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_of_ones_own_is_told_as_it_is(status: int) -> None:
    own = b"sk-own-0123456789abcdef"
    scene = stage(MESSAGES)
    scene.answers(b'{"error":{"message":"no such key: ' + own + b'"}}', status=status)
    await scene.run(headers=[(b"x-api-key", own)])

    assert scene.client.status == status
    assert scene.client.body == b'{"error":{"message":"no such key: [redacted]"}}'
    [started] = scene.recorder.kept.interceptions
    assert (started.credential_kind, started.credential_hint) == ("byok", "sk-o...cdef")
    assert own.decode() not in repr(scene.recorder.attempts)


@every_dialect
async def test_a_secret_that_a_provider_echoes_reaches_nobody(exchange: Exchange) -> None:
    scene = stage(exchange)
    body = json.dumps({"error": {"type": "invalid", "message": f"bad request with {KEY} in it, twice {KEY}"}}).encode()
    scene.answers(body[:60], body[60:], status=400)  # the key is cut in two
    await scene.run()
    assert KEY.encode() not in scene.client.body
    assert KEY not in repr(scene.recorder.attempts)
    assert scene.recorder.end.error_message == "bad request with [redacted] in it, twice [redacted]"
    assert scene.client.header("content-length") == str(len(scene.client.body)).encode()

    scene = stage(exchange)
    scene.streams(exchange.events[0], exchange.error.replace(b"Overloaded", KEY.encode()))
    await scene.run()
    assert KEY not in repr(scene.recorder.attempts)
    assert scene.recorder.end.error_message == "[redacted]"


async def test_a_long_error_message_is_cut_on_the_record() -> None:
    scene = stage(MESSAGES)
    scene.answers(json.dumps({"error": {"type": "x", "message": "é" * 5000}}).encode(), status=400)
    await scene.run()

    message = scene.recorder.end.error_message
    assert message is not None
    assert message == "é" * 512
