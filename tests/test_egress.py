"""The checked way out: which addresses are refused, and that the checked address is the one connected to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest

from aibridge.egress import AddressRefused, CheckedTransport, Trusted, check_url, refusal, trusted
from tests.upstream.authority import Authority

TRUSTED = trusted()
PUBLIC = ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"]
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254",
    "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "198.18.0.1", "240.0.0.1",
]  # fmt: skip
NEVER = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_reached_with_tls_only(address: str) -> None:
    for allow_private in (False, True):
        assert refusal(ip_address(address), allow_private=allow_private, named=False, plain=False) is None
        assert refusal(ip_address(address), allow_private=allow_private, named=False, plain=True) is not None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_in_every_spelling_unless_it_is_allowed(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False, named=True, plain=False) is not None
    assert refusal(ip_address(address), allow_private=True, named=True, plain=True) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"])
def test_no_name_leads_to_a_link_local_address(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True, named=False, plain=False) is not None


@pytest.mark.parametrize("address", NEVER)
def test_what_is_no_address_of_a_server_is_never_reached(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True, named=True, plain=False) is not None


@pytest.mark.parametrize(
    ("url", "allow_private"),
    [("https://x.example/mcp", False), ("http://localhost:1/mcp", True), ("http://[::1]:1/", True)],
)
def test_a_url_that_may_be_is_accepted(url: str, allow_private: bool) -> None:
    check_url(url, allow_private=allow_private)


# -- connecting ----------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(heads: list[bytes]) -> AsyncIterator[int]:
    """Answers one request a connection, on 127.0.0.1 only; the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Resolver:
    """Gives another answer each time, as a rebinding name server does; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def get(port: int, resolver: Resolver, *, allow_private: bool = True, host: str = "wiki.test") -> httpx2.Response:
    transport = CheckedTransport(TRUSTED, allow_private=allow_private, resolve=resolver)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        return await client.get(f"http://{host}:{port}/a?b=c", headers={"authorization": "Bearer t"})


@pytest.mark.anyio
async def test_the_name_is_resolved_once_and_the_address_that_was_checked_is_connected_to() -> None:
    heads: list[bytes] = []
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    async with listening(heads) as port:
        answer = await get(port, resolver)

    assert resolver.asked == 1
    assert heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: wiki.test:{port}\r\n".encode() in heads[0].lower()
    assert answer.status_code == 307  # and not followed
    assert len(heads) == 1


@pytest.mark.anyio
async def test_addresses_that_are_refused_are_passed_over_and_those_that_do_not_answer_too() -> None:
    heads: list[bytes] = []
    async with listening(heads) as port:
        answer = await get(port, Resolver(["169.254.169.254", "9.9.9.9", "127.0.0.2", "127.0.0.1"]))

    assert answer.text == "ok"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("addresses", "allow_private", "why"),
    [
        (["10.0.0.1", "127.0.0.1"], False, "must be reached by https"),
        (["169.254.169.254"], True, "link-local"),
        (["9.9.9.9"], True, "public"),
        ([], True, "has no address"),
    ],
)
async def test_where_no_address_is_allowed_nothing_is_connected_to(
    addresses: list[str], allow_private: bool, why: str
) -> None:
    with pytest.raises(AddressRefused, match=why):
        await get(1, Resolver(addresses), allow_private=allow_private)


@pytest.mark.anyio
async def test_a_private_address_behind_a_name_is_refused_with_tls_too() -> None:
    transport = CheckedTransport(TRUSTED, allow_private=False, resolve=Resolver(["127.0.0.1"]))
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(AddressRefused, match=r"wiki\.test is a private address"):
            await client.get("https://wiki.test/")


@pytest.mark.anyio
async def test_the_certificate_is_checked_against_the_name_and_by_the_authorities_that_were_named(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def get_from(host: str, trust: Trusted, port: int) -> str:
        transport = CheckedTransport(trust, allow_private=True, resolve=Resolver(["127.0.0.1"]))
        async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
            return (await client.get(f"https://{host}:{port}/")).text

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=authority.server("wiki.test"))
    async with server:
        port = server.sockets[0].getsockname()[1]
        ours = trusted(str(authority.root()))
        said = await get_from("wiki.test", ours, port)
        for host, trust in (("other.test", ours), ("127.0.0.1", ours), ("wiki.test", TRUSTED)):
            with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
                await get_from(host, trust, port)

    assert said == "ok"
