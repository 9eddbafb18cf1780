r"""Raw path -> Route: a gate, then an exact table. What goes upstream is built from the table, never from the path.

No Python server normalises paths, so `..`, `%2e%2e` and `%2f` arrive here. They are refused, not resolved: what a
provider's server would make of them is not ours to guess, and the central key may open more than the table lists.

- The gate refuses (400) what some server reads as something else: not ASCII, controls, `\\`, `;`, `//`, `.` and `..`
  as parts, and the escapes of all these and of `/` and `%`.
- A fixed part of a path matches byte for byte. Each part below a `/*` is `[A-Za-z0-9_.:@-]{1,256}`, however deep;
  `%3A` and `%40` are read as the `:` and `@` that they stand for (URL builders differ), so an id has one spelling.
  Anything else is no route (404), other escapes too.
- `/x/*` wants a part; one slash may end it. A bare `/x/` is taken only where nothing is adapted, since an adapted
  route needs the id. The last part of an exact route is never an id (`/v1/responses/compact`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aibridge.dialects.base import Dialect
from aibridge.errors import Header, Problem, Refused

if TYPE_CHECKING:  # values that are handed in; siblings do not know each other at run time
    from aibridge.providers.base import Provider, RouteRule

PREFIXES = ("/api/v2/aibridge", "/api/v2/ai-gateway", "")

_PREFIX = re.compile(r"(?:/[A-Za-z0-9_-]+)*")
_HOSTILE = re.compile(
    rb"[^\x21-\x7e]|[\\;]|//|/\.\.?(?=/|\Z)|%(?![0-9a-f]{2})|%(?:[01][0-9a-f]|2[5ef]|3b|5c|7f|[89a-f])", re.IGNORECASE
)
_PARTS = re.compile(rb"(?:/[A-Za-z0-9_.:@-]{1,256})+/?")
_PART = re.compile(r"[A-Za-z0-9_.:@-]{1,256}")
_HARMLESS_ESCAPE = re.compile(rb"%(?:3a|40)", re.IGNORECASE)
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")  # visible ASCII but `#`
_NOT_IN_A_PATH = re.compile(rb"[^A-Za-z0-9_.:@/~!$&'()*+,;=-]")
_SHOWN = 200  # characters of a path in an error
# A part this long may be a key that somebody put into an address. The table's own parts, and names, are shorter; the
# keys of providers and ours begin at 39 characters.
_MAYBE_SECRET = re.compile(rb"[^/]{32,}")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `upstream_url_path` is below the provider's base URL; `params` is what a `*` stood for.

    `fallback` is the same route of the provider that is asked in this one's place, where there is one.
    """

    provider: Provider
    rule: RouteRule
    upstream_url_path: str
    params: tuple[str, ...] = ()
    fallback: Route | None = None

    @property
    def template(self) -> str:
        """The table's path, which is what records and metrics call the route."""
        return self.rule.path

    @property
    def bridged(self) -> bool:
        return self.rule.dialect is not None

    def below(self, first: str) -> Route:
        """The same with another first part below the path; itself where that is none that could be asked for."""
        if not _PART.fullmatch(first) or first in (".", ".."):
            return self
        head = self.rule.upstream_path[:-1]
        rest = self.upstream_url_path[len(head) + len(self.params[0]) :]
        return replace(self, upstream_url_path=f"{head}{first}{rest}", params=(first, *self.params[1:]))

    @property
    def errors(self) -> Dialect:
        """Whose words a refusal on this route has."""
        return self.rule.dialect or self.provider.errors


class NoRoute(Refused):
    """The request has no way through. `dialect` gives the error its shape; None where no provider is named."""

    def __init__(self, problem: Problem, dialect: Dialect | None = None) -> None:
        super().__init__(problem)
        self.dialect = dialect


class RouteTable:
    """All routes of all providers, under each prefix. Made once; `find` is two dict look-ups for a bridged route.

    Raises: ValueError for two providers of one name, a fallback that cannot be, and a prefix that is no plain path.
    """

    __slots__ = ("_exact", "_named", "_probed", "_reach")

    def __init__(self, providers: Iterable[Provider], prefixes: Iterable[str] = PREFIXES) -> None:
        self._exact: dict[bytes, Route] = {}
        self._named: dict[bytes, _Rows] = {}
        # A prefix is probed too: to a client whose base URL it is, it is the root.
        self._probed = {b""}
        names: set[str] = set()
        prefixes = tuple(prefixes)
        for prefix in prefixes:
            if not _PREFIX.fullmatch(prefix):
                raise ValueError(f"prefix {prefix!r}: a path such as /api/v2/aibridge, without a slash at its end")
            self._probed.add(prefix.encode("ascii"))
        providers = tuple(providers)
        by_name = {provider.name: provider for provider in providers}
        for provider in providers:
            if provider.name in names:
                raise ValueError(f"provider name {provider.name!r}: given twice")
            names.add(provider.name)
            rows = _Rows(provider, provider.fallback_among(by_name))
            for prefix in prefixes:
                self._add(f"{prefix}/{provider.name}", rows)
        self._reach = sorted({name.count(b"/") for name in self._named}, reverse=True)

    def find(self, method: str, raw_path: bytes) -> Route | None:
        """The route of a path without its query, as `raw_path_of` gives it.

        None for a probe, which is answered 200: `HEAD /` or `HEAD /<name>`, as Claude Code sends them.

        Raises:
            NoRoute: 400 for a hostile path, 404, 405 with `Allow`, 503 for a provider that is switched off.
        """
        route = self._exact.get(raw_path)
        if route is not None and method in route.rule.methods:
            return route
        if method == "HEAD" and raw_path.removesuffix(b"/") in self._probed:
            return None
        return self._find(method, raw_path)

    def _find(self, method: str, raw_path: bytes) -> Route:
        rows, rest = self._rows_of(raw_path)
        dialect = rows.provider.errors if rows is not None else None
        _refuse_hostile(raw_path, dialect)
        if rows is None:
            raise _not_found(method, raw_path, dialect)
        if not rows.provider.enabled:
            raise NoRoute(Problem(503, f"provider {rows.provider.name} is switched off"), dialect)
        route = rows.find(_HARMLESS_ESCAPE.sub(_unescaped, rest))
        if route is None:
            raise _not_found(method, raw_path, dialect)
        methods = route.rule.methods
        if len(route.params) > 1:
            methods |= route.rule.deeper_methods
        if method not in methods:
            raise _not_allowed(method, raw_path, methods, route.errors)
        return route

    def _add(self, mount: str, rows: _Rows) -> None:
        self._named[mount.encode("ascii")] = rows
        if not rows.provider.enabled:
            return
        self._probed.add(mount.encode("ascii"))
        for route in rows.exact.values():
            self._exact[f"{mount}{route.rule.path}".encode("ascii")] = route

    def _rows_of(self, raw_path: bytes) -> tuple[_Rows | None, bytes]:
        """The provider that a path names, and the path below its name. The longest prefix wins."""
        for depth in self._reach:
            parts = raw_path.split(b"/", depth + 1)
            rows = self._named.get(b"/".join(parts[: depth + 1]))
            if rows is not None:
                return rows, b"/" + parts[depth + 1] if len(parts) > depth + 1 else b""
        return None, b""


class _Rows:
    """One provider's table."""

    __slots__ = ("_below", "_reach", "_taken", "exact", "provider")

    def __init__(self, provider: Provider, fallback: Provider | None = None) -> None:
        self.provider = provider
        exact = [rule for rule in provider.rules if not rule.open_ended]
        others = {} if fallback is None else _Rows(fallback).exact
        self.exact: dict[bytes, Route] = {
            path: _with(route, others.get(path)) for path, route in _routes(provider, exact)
        }
        self._below = {rule.path[:-2].encode("ascii"): rule for rule in provider.rules if rule.open_ended}
        self._reach = sorted({head.count(b"/") for head in self._below}, reverse=True)
        # Below /v1/responses the words `compact` and `input_tokens` are operations. In any case of letters: a server
        # that does not tell `Compact` from `compact` would do for `/v1/responses/Compact` what nobody recorded.
        self._taken = frozenset(path.lower() for path in self.exact)

    def find(self, path: bytes) -> Route | None:
        """The route of a path that has passed the gate."""
        route = self.exact.get(path)
        if route is not None or not _PARTS.fullmatch(path):
            return route
        for depth in self._reach:
            parts = path.split(b"/")
            head = b"/".join(parts[: depth + 1])
            rule = self._below.get(head)
            if rule is not None and len(parts) > depth + 1:
                return self._open_ended(rule, head, parts[depth + 1 :])
        return None

    def _open_ended(self, rule: RouteRule, head: bytes, parts: list[bytes]) -> Route | None:
        slash = "/" if parts[-1] == b"" else ""
        params = tuple(part.decode("ascii") for part in parts if part)
        if not params and rule.adaptation is not None:
            return None
        if params and head + b"/" + parts[0].lower() in self._taken:
            return None
        return Route(
            self.provider, rule, f"{rule.upstream_path[:-1]}{'/'.join(params)}{slash if params else ''}", params
        )


def _routes(provider: Provider, rules: Iterable[RouteRule]) -> Iterator[tuple[bytes, Route]]:
    for rule in rules:
        yield rule.path.encode("ascii"), Route(provider, rule, rule.upstream_path)


def _with(route: Route, fallback: Route | None) -> Route:
    """What is passed through, or has another form at the other provider, stays with its own."""
    if fallback is None or not route.bridged or fallback.rule.dialect is not route.rule.dialect:
        return route
    return replace(route, fallback=fallback)


def upstream_url(route: Route, query: bytes) -> str:
    """The whole URL, with the client's query as it came.

    Raises: NoRoute (400) for bytes that do not belong in a query (RFC 3986 section 3.4).
    """
    if not _QUERY.fullmatch(query):
        raise NoRoute(Problem(400, "the query has characters that must be percent-encoded"), route.errors)
    url = route.provider.base_url + route.upstream_url_path
    return f"{url}?{query.decode('ascii')}" if query else url


def raw_path_of(scope: Mapping[str, Any]) -> bytes:
    """The path of an ASGI request below where we are mounted, as the client wrote it.

    Raises: NoRoute (400) when a host gives only the decoded path and that has a `%`: it could be anything.
    """
    raw: bytes = scope.get("raw_path") or b""
    if raw:
        raw = raw.partition(b"?")[0]  # some servers leave the query in
    else:
        decoded = scope["path"].encode("utf-8", errors="surrogatepass")
        if b"%" in decoded:
            raise NoRoute(Problem(400, "the path has an escape that is not allowed"))
        raw = _NOT_IN_A_PATH.sub(lambda found: b"%%%02X" % found[0][0], decoded)
    root = (scope.get("root_path") or "").rstrip("/").encode("utf-8", errors="surrogatepass")
    # A server that strips the root itself gives a path that does not begin with it.
    if root and raw.startswith(root) and raw[len(root) : len(root) + 1] in (b"", b"/"):
        raw = raw[len(root) :]
    return raw or b"/"


def _refuse_hostile(raw_path: bytes, dialect: Dialect | None) -> None:
    if not raw_path.startswith(b"/"):
        raise NoRoute(Problem(400, "the request target is not a path"), dialect)
    found = _HOSTILE.search(raw_path)
    if found is not None:
        raise NoRoute(Problem(400, f"the path has {_shown(found[0])!r} in it, which is not allowed"), dialect)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return b":" if found[0].lower() == b"%3a" else b"@"


def _not_found(method: str, raw_path: bytes, dialect: Dialect | None) -> NoRoute:
    return NoRoute(Problem(404, f"route not supported: {_request_line(method, raw_path)}"), dialect)


def _not_allowed(method: str, raw_path: bytes, methods: Iterable[str], dialect: Dialect) -> NoRoute:
    allowed: Header = (b"allow", ", ".join(sorted(methods)).encode("ascii"))
    message = f"method not allowed: {_request_line(method, raw_path)}"
    return NoRoute(Problem(405, message, headers=(allowed,)), dialect)


def _request_line(method: str, raw_path: bytes) -> str:
    return f"{_shown(method.encode('utf-8', errors='replace'))[:20]} {_shown(_MAYBE_SECRET.sub(b'...', raw_path))}"


def _shown(raw: bytes) -> str:
    """Client bytes for a person to read: visible ASCII only, and not all of a long one."""
    text = "".join(_visible(raw[: _SHOWN + 1]))
    return text if len(raw) <= _SHOWN else text[:_SHOWN] + "..."


def _visible(raw: bytes) -> Iterator[str]:
    for byte in raw:
        yield chr(byte) if 0x21 <= byte <= 0x7E else "?"
