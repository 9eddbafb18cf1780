"""Credentials that prove nothing, for tests of what is sent to a cloud beside its proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aibridge.ports import Proof, UpstreamRequest


@dataclass
class PlainProof:
    """A `CredentialSource`. `fault` is raised as long as it is set."""

    hint: str = "..."
    fault: Exception | None = None
    proved: list[UpstreamRequest] = field(default_factory=list)

    @property
    def secrets(self) -> Sequence[str]:
        return ["secret-session-token"]

    async def proof(self, request: UpstreamRequest) -> Proof:
        if self.fault is not None:
            raise self.fault
        self.proved.append(request)
        self.hint = "AKIA...MPLE"
        return Proof([(b"authorization", b"proof %d" % len(self.proved))], self.hint, ["secret-session-token"])
