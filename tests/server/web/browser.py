"""A browser for tests: it keeps cookies by host, sends forms with what they hold, and follows what a person would."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import httpx2

_FORM = re.compile(r"<form method=\"post\">(.*?)</form>", re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
LINK = re.compile(r'<a href="([^"]*)"')


@dataclass
class Browser:
    """One person's. `jar` is by host and port; a browser's own is by host, which no page of ours depends on."""

    jar: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: list[httpx2.Response] = field(default_factory=list)
    where: str = ""

    @property
    def page(self) -> httpx2.Response:
        return self.seen[-1]

    async def open(self, url: str, *, follow: bool = True, **headers: str) -> httpx2.Response:
        response = await self._ask("GET", url, None, headers)
        for _ in range(5):
            if not follow or response.status_code not in (302, 303):
                break
            response = await self._ask("GET", urljoin(self.where, response.headers["location"]), None, {})
        return response

    async def send(self, action: str, *, follow: bool = True, **fields: str) -> httpx2.Response:
        """Sends the form of that action on the page, as its button does."""
        form = dict(self.forms()[action])
        response = await self._ask("POST", self.where, {**form, **fields}, {"origin": origin(self.where)})
        if follow and response.status_code == 303:
            return await self.open(urljoin(self.where, response.headers["location"]))
        return response

    async def post(self, url: str, fields: dict[str, str], **headers: str) -> httpx2.Response:
        """What another site's page makes a browser send."""
        return await self._ask("POST", url, fields, headers)

    async def go_on(self) -> httpx2.Response:
        """Follows the link of the page, which is also where it sends the browser by itself."""
        link = unescape(LINK.findall(self.page.text)[0])
        assert f'content="0;url={LINK.findall(self.page.text)[0]}"' in self.page.text
        return await self.open(link)

    def forms(self) -> dict[str, dict[str, str]]:
        """The forms of the page, by what they do."""
        found = [
            {unescape(name): unescape(value) for name, value in _HIDDEN.findall(each)}
            for each in _FORM.findall(self.page.text)
        ]
        return {each["action"]: each for each in found}

    async def _ask(self, method: str, url: str, fields: dict[str, str] | None, more: dict[str, str]) -> httpx2.Response:
        host = urlsplit(url).netloc
        kept = "; ".join(f"{name}={value}" for name, value in self.jar.get(host, {}).items())
        headers = {
            **({"cookie": kept} if kept else {}),
            **{name.replace("_", "-"): said for name, said in more.items()},
        }
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            response = await http.request(method, url, data=fields, headers=headers)
        for line in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.jar.setdefault(host, {})[name] = morsel.value
        self.where = url
        self.seen.append(response)
        return response


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
