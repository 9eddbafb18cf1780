"""Forms for a token endpoint, as the client that it knows; and what its refusals are called.

Its answers are quoted nowhere: only an error's code, which is a word of RFC 6749, gets into a message.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import httpx2
import msgspec

from aibridge.mcp.oauth.fetching import Fetching
from aibridge.mcp.oauth.values import OAuthClient

_FORM = "application/x-www-form-urlencoded"
_WORD = re.compile(r"[a-z0-9_.-]{1,60}")


async def posted(url: str, asked: Mapping[str, str], client: OAuthClient, http: Fetching) -> httpx2.Response:
    """The answer to a form. Raises: Unanswered."""
    headers: dict[str, str] = {}
    form = {**asked, "client_id": client.client_id}  # beside Basic too: the MCP SDK's own server wants it there
    secret = client.client_secret
    if client.method == "client_secret_basic" and secret is not None:
        pair = f"{quote(client.client_id, safe='')}:{quote(secret, safe='')}"  # RFC 6749 section 2.3.1
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif client.method == "client_secret_post" and secret is not None:
        form["client_secret"] = secret
    return await http.post(url, urlencode(form).encode(), _FORM, headers)


def error_of(answer: httpx2.Response) -> str:
    """The code of RFC 6749 section 5.2; empty: there is none that can be shown."""
    try:
        found = msgspec.json.decode(answer.content)
    except (ValueError, RecursionError):
        return ""
    word = found.get("error") if isinstance(found, dict) else None
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""


def why(answer: httpx2.Response) -> str:
    """The code, or else the status, for the end of a line."""
    return f" ({error_of(answer) or f'it answers {answer.status_code}'})"
