"""Why interceptions do not complete, in one place: what the record says of it, and what the client is told.

The texts are shown to people and kept; they hold nothing that came from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aibridge.errors import KeysExhausted, Problem, ToolsTookTooLong, UpstreamFailure, UpstreamStalled
from aibridge.records import State


@dataclass(frozen=True, slots=True)
class Failure:
    """`problem` is what the client is told where there is still somebody to tell."""

    state: State
    problem: Problem
    error_type: str


def rejected(problem: Problem) -> Failure:
    """A rule of ours forbids it; the provider was not asked."""
    return Failure("rejected", problem, "rejected")


def upstream_failure(error: UpstreamFailure) -> Failure:
    if isinstance(error, KeysExhausted):
        kind = "rate_limit_error" if error.problem.status == 429 else "authentication_error"
        return Failure("upstream_error", error.problem, kind)
    if isinstance(error, UpstreamStalled):
        return Failure("upstream_stalled", Problem(504, str(error)), "timeout")
    return Failure("upstream_error", Problem(502, str(error)), "connection_error")


def interrupted(reason: Literal["client_gone", "gateway_aborted"], problem: Problem | None = None) -> Failure:
    """`problem` is what whoever ended it says of it."""
    words = "the client hung up" if reason == "client_gone" else "the gateway ended this request"
    return Failure(reason, problem or Problem(503, words), reason)


def cancelled(reason: Literal["client_gone", "gateway_aborted"] | None) -> Failure:
    """The host cancelled the request's task; nobody is told."""
    state = reason or "gateway_aborted"
    return Failure(state, Problem(503, "the request was cancelled"), state)


def unrecordable() -> Failure:
    problem = Problem(503, "the record of this request could not be kept; the answer was withheld")
    return Failure("gateway_aborted", problem, "recording_failed")


def out_of_time(error: ToolsTookTooLong) -> Failure:
    return Failure("gateway_aborted", Problem(504, str(error)), "tool_time_limit")


def internal_error() -> Failure:
    """A fault of ours, which the edge of the house reports."""
    return Failure("gateway_aborted", Problem(500, "internal error"), "internal_error")
