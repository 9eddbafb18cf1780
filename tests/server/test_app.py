"""The outermost application: what is the server's own, and what is the bridge's, by exact names on the raw path."""

from typing import Any

import pytest

from aibridge.server.app import FrontDoor
from aibridge.server.config import RESERVED

pytestmark = pytest.mark.anyio


async def asked(path: str, kind: str = "http") -> str:
    """Who answered."""
    answered = []

    def answering(name: str) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            answered.append(name)

        return answer

    door = FrontDoor(bridge=answering("bridge"), api=answering("api"), own={b"/healthz": answering("health")})
    await door({"type": kind, "path": path, "raw_path": path.encode()}, None, None)  # type: ignore[arg-type]  # the door uses neither
    [name] = answered
    return name


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("prefix", ["/", "/api/v2/aibridge/", "/api/v2/ai-gateway/"])
async def test_a_reserved_name_is_never_a_provider(name: str, prefix: str) -> None:
    if f"{prefix}{name}" == "/healthz":
        assert await asked("/healthz") == "health"
    else:
        assert await asked(f"{prefix}{name}") == "api"
    assert await asked(f"{prefix}{name}/anything") == "api"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/anthropic",
        "/anthropic/v1/messages",
        "/api/v2/aibridge",
        "/api/v2/aibridge/",
        "/api/v2/ai-gateway",
        "/api/v2/aibridge/anthropic/v1/messages",
        "/api/v2/aibridge/anthropic/interceptions",
        "/healthzz",
        "/Healthz",
        "/%68ealthz",
        "//healthz",
        "/../healthz",
        "/api%2fv2",
        "",
        "*",
    ],
)
async def test_everything_else_is_the_bridges(path: str) -> None:
    assert await asked(path) == "bridge"


async def test_a_websocket_is_the_bridges() -> None:
    assert await asked("/healthz", kind="websocket") == "bridge"
