"""Routes of a platform that we answer ourselves: the models of the configuration, and what the platform does not have.

The shapes are Anthropic's: https://docs.claude.com/en/api/models-list.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aibridge.errors import Problem, Refused
from aibridge.routes import Route

_UNKNOWN = "1970-01-01T00:00:00Z"  # what Anthropic says of a model whose day of release it does not know
# The SDKs ask again after any 5xx, which would change nothing.
_FOR_GOOD = ((b"x-should-retry", b"false"),)


def answer_of_ours(route: Route) -> bytes | None:
    """The body of the answer where no provider is asked; None where one is.

    Raises: Refused, 501 for what the platform does not have, 404 for a model that the configuration does not name.
    """
    if route.rule.adaptation == "not_there":
        text = f"provider {route.provider.name} has no {route.template}: its platform does not offer it"
        raise Refused(Problem(501, text, headers=_FOR_GOOD))
    if route.rule.adaptation != "configured_models":
        return None
    names = route.provider.platform.models if route.provider.platform is not None else ()
    if not route.params:
        return _listed(names)
    asked = "/".join(route.params)
    if asked not in names:
        raise Refused(Problem(404, f"model: {asked}"))
    return msgspec.json.encode(_model(asked))


def _listed(names: Sequence[str]) -> bytes:
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return msgspec.json.encode({"data": [_model(name) for name in names], "has_more": False, **ends})


def _model(name: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _UNKNOWN}
