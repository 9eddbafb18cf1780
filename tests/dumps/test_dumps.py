"""Debug dumps: what is in the files, what is masked, and that neither size nor number outgrows its bound."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aibridge import providers
from aibridge.credentials import Scrubber
from aibridge.dumps import DumpingUpstream, Folder
from aibridge.dumps.exchange import Exchange as Dumped
from aibridge.dumps.folder import sanitised
from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.ports import UpstreamRequest
from tests.exchanges import EXCHANGES, MESSAGES, Exchange
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.clock import CountingIds
from tests.fakes.house import House, opened, path_of
from tests.fakes.interceptions import KEY
from tests.fakes.upstream import JSON, Scripted

pytestmark = pytest.mark.anyio

OWN = b"sk-own-credential-of-the-caller"


@asynccontextmanager
async def dumping(
    path: Path, *, more: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[House, Folder]]:
    """A bridge between fakes whose exchanges are dumped; after the block they are on disk."""
    folder = Folder(path, scrub=Scrubber([KEY]).scrub, **options)
    async with opened(around=partial(DumpingUpstream, folder=folder, ids=CountingIds()), **(more or {})) as house:
        yield house, folder


def files_in(path: Path) -> list[Path]:
    """A request before its response, and exchanges in their order."""
    return sorted((file for file in path.rglob("*.re*") if file.is_file()), key=lambda file: file.name)


def names(path: Path) -> list[str]:
    """The files by their paths below the folder, without their ids."""
    return [f"{file.parent.relative_to(path)}/{file.name[36:]}" for file in files_in(path)]


def dumps(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in files_in(path)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.dialect)
async def test_an_exchange_is_two_files_with_what_was_sent_and_what_came(
    tmp_path: Path, exchange: Exchange, stream: bool
) -> None:
    async with dumping(tmp_path / "dumps") as (house, _):
        (house.streams if stream else house.answers)(exchange)
        client = await asked(
            house.bridge, path_of(exchange), exchange.asked(stream=stream), query=b"beta=true&q=secret"
        )

    came = exchange.stream if stream else exchange.body
    folder = f"{exchange.provider}/{exchange.request['model']}"
    assert names(tmp_path / "dumps") == [f"{folder}/.request", f"{folder}/.response"]
    request, response = dumps(tmp_path / "dumps")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.splitlines()[0].endswith(exchange.upstream_path.encode() + b"?beta=true&q=[masked]")
    assert body == house.upstream.requests[0].body
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP 200"
    assert b"aibridge-dump: complete; %d bytes" % len(came) in head
    assert (body, client.body) == (came, came)
    interception_id = (client.header("x-aibridge-interception-id") or b"").decode()
    assert {file.name[:36] for file in files_in(tmp_path / "dumps")} == {interception_id}


async def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    async with dumping(tmp_path / "dumps") as (house, _):
        house.streams(MESSAGES)
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    made = [tmp_path / "dumps", *(tmp_path / "dumps").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}


async def test_headers_are_shown_by_an_allow_list_and_credentials_nowhere(tmp_path: Path) -> None:
    body = b'{"error":{"type":"x","message":"no such key ' + KEY.encode() + b" " + OWN + b'"}}'
    headers = [JSON, (b"request-id", b"req_1"), (b"set-cookie", b"session=of-the-provider")]
    async with dumping(tmp_path) as (house, _):
        for credential in ([], [(b"authorization", b"Bearer " + OWN)]):
            house.upstream.answers.append(Scripted((body,), 400, headers))
            await asked(
                house.bridge,
                path_of(MESSAGES),
                MESSAGES.asked(stream=True),
                headers=[*credential, (b"anthropic-version", b"2023-06-01"), (b"x-odd", b"something-of-theirs")],
            )

    mine, my_answer, theirs, their_answer = dumps(tmp_path)
    written = mine + my_answer + theirs + their_answer
    assert b"x-api-key: [masked]" in mine
    assert b"authorization: [masked]" in theirs
    assert b"x-odd: [masked]" in mine
    assert b"anthropic-version: 2023-06-01" in mine
    assert b"request-id: req_1" in written
    assert b"set-cookie: [masked]" in written
    for secret in (KEY.encode(), b"something-of-theirs", b"of-the-provider"):
        assert secret not in written
    assert OWN not in theirs + their_answer


async def test_passthrough_is_dumped_beside_the_models(tmp_path: Path) -> None:
    async with dumping(tmp_path) as (house, _):
        house.upstream.answers.append(Scripted((b'{"data":[]}',), 200, (JSON,)))
        await asked(house.bridge, "/openai/v1/models", method="GET")

    request, response = dumps(tmp_path)
    assert names(tmp_path) == ["openai/passthrough/.request", "openai/passthrough/.response"]
    assert request.startswith(b"GET http://openai.test/v1/models\r\n")
    assert response.endswith(b'\r\n\r\n{"data":[]}')


@pytest.mark.parametrize(
    ("scripted", "head", "ending"),
    [
        (Scripted(before=(UpstreamUnreachable("no"),)), b"no answer", b"UpstreamUnreachable; 0 bytes in 0 pieces"),
        (Scripted((*MESSAGES.events[:2], UpstreamReset("it broke"))), b"HTTP 200", b"UpstreamReset; "),
    ],
)
async def test_what_breaks_off_is_dumped_as_far_as_it_came(
    tmp_path: Path, scripted: Scripted, head: bytes, ending: bytes
) -> None:
    async with dumping(tmp_path) as (house, _):
        house.upstream.answers.append(scripted)
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    _, response = dumps(tmp_path)
    assert response.startswith(head)
    assert b"aibridge-dump: " + ending in response
    assert response.partition(b"\r\n\r\n")[2] == b"".join(step for step in scripted.steps if isinstance(step, bytes))


async def test_a_client_that_hangs_up_leaves_a_dump(tmp_path: Path) -> None:
    async with dumping(tmp_path) as (house, _):
        house.holds(MESSAGES, 3)
        under_way = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await under_way.client.until(len(MESSAGES.events[0]))
        under_way.hang_up()
        await under_way.done()

    _, response = dumps(tmp_path)
    assert b"aibridge-dump: CancelledError; " in response


async def test_a_long_body_is_cut_with_a_mark(tmp_path: Path) -> None:
    body = b'{"padding":"' + b"x" * 50_000 + KEY.encode() + b'"}'
    async with dumping(tmp_path, max_bytes=1000) as (house, _):
        house.upstream.answers.append(Scripted((body[:300], body[300:]), 400, (JSON,)))
        await asked(
            house.bridge,
            path_of(MESSAGES),
            MESSAGES.asked(
                stream=True,
            ),
        )

    _, response = dumps(tmp_path)
    head, _, kept = response.partition(b"\r\n\r\n")
    assert b"aibridge-dump: cut after 1000 of %d bytes" % len(body) in head
    assert kept == body[:1000]


async def test_a_secret_on_the_edge_of_the_cut_is_not_kept_in_part(tmp_path: Path) -> None:
    body = b"x" * 990 + KEY.encode() + b"y" * 50_000
    async with dumping(tmp_path, max_bytes=1000) as (house, _):
        house.upstream.answers.append(Scripted((body,), 400, (JSON,)))
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    _, response = dumps(tmp_path)
    assert KEY[:6].encode() not in response


async def test_the_oldest_go_when_there_are_too_many_also_those_of_an_earlier_process(tmp_path: Path) -> None:
    strange = tmp_path / "anthropic" / "notes.txt"
    for start in range(2):
        async with dumping(tmp_path, max_exchanges=3, more={"ids": _ids(start)}) as (house, _):
            for number in range(4):
                house.upstream.answers.append(Scripted((b"{}",), 400, (JSON,)))
                body = b'{"model":"m-%d%d","max_tokens":1,"messages":[]}' % (start, number)
                await asked(house.bridge, path_of(MESSAGES), body)
        strange.write_text("not ours")

    assert len(dumps(tmp_path)) == 6
    assert sorted(path.name for path in (tmp_path / "anthropic").iterdir()) == ["m-11", "m-12", "m-13", "notes.txt"]


def _ids(start: int) -> Any:
    ids = CountingIds()
    for _ in range(start * 1000):
        ids()
    return ids


async def test_what_memory_does_not_hold_is_given_up_and_the_stream_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dumping(tmp_path, max_held=1000) as (house, folder):
        house.streams(MESSAGES)
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))
        house.upstream.answers.append(Scripted((b"{}",), 200, (JSON,)))
        await asked(house.bridge, "/anthropic/v1/models", method="GET")

    assert client.body == MESSAGES.stream
    assert names(tmp_path) == ["anthropic/passthrough/.request", "anthropic/passthrough/.response"]
    assert folder.lost == 1
    assert [record.message for record in caplog.records] == ["debug dumps were not written"]


async def test_a_folder_that_cannot_be_written_harms_no_request(tmp_path: Path) -> None:
    (tmp_path / "dumps").write_text("a file is in the way")
    async with dumping(tmp_path / "dumps") as (house, folder):
        house.streams(MESSAGES)
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))

    assert client.body == MESSAGES.stream
    assert folder.lost == 1


async def test_the_relay_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    writing, written = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(data: bytes, *own: str) -> bytes:
        loop.call_soon_threadsafe(writing.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result(5)
        return data

    around = partial(DumpingUpstream, folder=Folder(tmp_path, scrub=slow), ids=CountingIds())
    async with opened(around=around) as house:
        for _ in range(2):
            house.streams(MESSAGES)
            client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))
            assert client.body == MESSAGES.stream
        async with asyncio.timeout(5):
            await writing.wait()
        assert dumps(tmp_path) == []
        written.set()

    assert len(dumps(tmp_path)) == 4


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "other"),
        ("", "other"),
        ("a/b\\c:d\0e\n", "a_b_c_d_e_"),
        ("modèle", "mod_le"),
        ("x" * 500, "x" * 80),
    ],
)
def test_a_name_that_a_client_chose_is_one_harmless_part_of_a_path(name: str, safe: str) -> None:
    assert sanitised(name) == safe


def test_a_provider_needs_no_folder_of_its_own_name_only() -> None:
    assert sanitised(providers.anthropic().name) == "anthropic"


def test_of_a_long_answer_only_so_much_is_held_as_will_be_written() -> None:
    request = UpstreamRequest("POST", "http://provider.test/", (), b"{}")
    exchange = Dumped("id", ("anthropic", "m"), request, 10_000)
    for _ in range(1000):
        exchange.keep(b"x" * 1000)

    assert exchange.held == sum(map(len, exchange.pieces)) < 15_000
    assert (exchange.size, exchange.count) == (1_000_000, 1000)
