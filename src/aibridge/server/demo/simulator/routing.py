"""Which request is for which route. Paths are compared as they came, segment by segment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aibridge.server.demo.simulator.desk import Desk
from aibridge.server.demo.simulator.errors import Shape
from aibridge.server.demo.simulator.exchange import Answer, Incoming

Handler: TypeAlias = Callable[[Incoming, Desk, str], Answer]
"""Answers a request on a route; the text is the id in its path, or empty where it has none."""

ID = "{id}"
REST = "{rest}"


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path in which ``{id}`` is any one segment, and ``{rest}`` one or more.

    OpenAI's paths and Copilot's are the same but for ``/v1``, so that most routes are found with it and without.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    shape: Shape = "openai"
    versioned: bool | None = None
    needs_credential: bool = True

    def id_in(self, incoming: Incoming) -> str | None:
        """The id that a request for this route names (empty where the path has none); None for another route."""
        method = "GET" if incoming.method == "HEAD" else incoming.method
        versioned = incoming.path.startswith("/v1/")
        if method != self.method or self.versioned not in {None, versioned}:
            return None
        given = incoming.path.removeprefix("/v1").split("/")
        wanted = self.path.split("/")
        if wanted[-1] == REST and len(given) >= len(wanted):
            wanted, given = wanted[:-1], given[: len(wanted) - 1]
        if len(given) != len(wanted):
            return None
        found = ""
        for expected, segment in zip(wanted, given, strict=True):
            if expected == ID and segment:
                found = segment
            elif expected != segment:
                return None
        return found
