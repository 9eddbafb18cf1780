"""The exact answers that a test asked for, waiting for their requests."""

from aibridge.server.demo.simulator.exchange import Answer, Incoming, ScriptedAnswer

_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Scripts:
    """Rules in the order in which they came; the first that matches a request serves it."""

    __slots__ = ("_rules",)

    def __init__(self) -> None:
        self._rules: list[tuple[ScriptedAnswer, int | None]] = []

    def add(self, rule: ScriptedAnswer) -> None:
        self._rules.append((rule, rule.times))

    def take(self, incoming: Incoming) -> Answer | None:
        """The answer for this request, and one use less of its rule; None when no rule matches."""
        for index, (rule, left) in enumerate(self._rules):
            if not rule.matches(incoming):
                continue
            if left is not None and left <= 1:
                del self._rules[index]
            elif left is not None:
                self._rules[index] = (rule, left - 1)
            return Answer(rule.status, _headers(rule), rule.steps, rule.response_id, rule.usage)
        return None


def _headers(rule: ScriptedAnswer) -> list[tuple[bytes, bytes]]:
    """The rule's own headers; a rule without any is a stream when it succeeds, and JSON when it does not."""
    if rule.headers is not None:
        return list(rule.headers)
    return list(_EVENTS if rule.status < 400 else _JSON)
