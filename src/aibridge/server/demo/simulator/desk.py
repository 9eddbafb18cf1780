"""Where a built-in answer is made: the ids and headers of one exchange, and the two forms that an answer can take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aibridge.server.demo.simulator.errors import Failure
from aibridge.server.demo.simulator.exchange import Answer, HeaderPairs, Ids, Step
from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_text, compact, indented
from aibridge.server.demo.simulator.wishes import Interruption, Wishes


@dataclass(frozen=True, slots=True)
class Desk:
    """One exchange. ``headers`` are the provider's own; ``pretty`` is how it spaces a blocking answer's JSON."""

    ids: Ids
    now: int
    headers: HeaderPairs
    pretty: bool

    def whole(self, value: JsonObject, wishes: Wishes | None = None) -> Answer:
        """A blocking answer. One that a prompt wants to be cut ends after half of its body."""
        body = indented(value) if self.pretty else compact(value)
        steps: tuple[Step, ...] = (body,)
        if wishes is not None and wishes.interruption == "cut":
            steps = (body[: len(body) // 2], "cut")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        return Answer(200, self.headers + headers, steps, *_accounts(value))

    def stream(
        self,
        result: JsonObject,
        events: Sequence[bytes],
        wishes: Wishes,
        error_event: Callable[[int], bytes],
    ) -> Answer:
        """A stream of events that leads to ``result``; ``error_event`` is the one after so many events."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        steps = interrupted(events, wishes.interruption, error_event)
        return Answer(200, self.headers + headers, steps, *_accounts(result), streamed=True)


def interrupted(
    events: Sequence[bytes], interruption: Interruption | None, error_event: Callable[[int], bytes]
) -> list[Step]:
    """The first half of the events, then an error event, or half an event and the end of the connection."""
    middle = len(events) // 2
    match interruption:
        case None:
            return list(events)
        case "overloaded":
            return [*events[:middle], error_event(middle)]
        case "cut":
            halved = events[middle]
            return [*events[:middle], halved[: len(halved) // 2], "cut"]


def refuse_what_was_asked(wishes: Wishes, *, streaming: bool) -> None:
    """Raise the failure that the prompt asked for; without a stream there is no middle to be overloaded in."""
    words = {
        401: "This key is not valid (simulated).",
        429: "Too many requests (simulated). Try again later.",
        500: "Internal server error (simulated)",
        529: "Overloaded (simulated)",
    }
    status = wishes.error
    if wishes.interruption == "overloaded" and not streaming:
        status = 529
    if status is not None:
        raise Failure(status, words.get(status, f"Simulated error {status}"))


def require(body: JsonObject, *names: str) -> None:
    for name in names:
        if body.get(name) is None:
            raise Failure(400, f"{name}: Field required", code="missing_required_parameter", param=name)


def _accounts(value: JsonObject) -> tuple[str | None, Mapping[str, object] | None]:
    """The id and the usage of an answer, for the ledger."""
    return as_text(value.get("id")) or None, as_object(value.get("usage")) or None
