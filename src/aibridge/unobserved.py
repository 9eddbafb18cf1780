"""The observers of a bridge that has none: every call costs as good as nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from aibridge.notices import Notice
from aibridge.ports import Observation
from aibridge.records import InterceptionRecord, ToolUsageRecord


class Unobserved:
    """An `Observer`, and the `Observation` of every interception, that notes nothing."""

    __slots__ = ()

    def intercepting(self, record: InterceptionRecord) -> Observation:  # noqa: ARG002  the port's argument
        return self

    def passing(self, provider_name: str, route: str, method: str) -> None: ...

    def refused(self, provider_name: str | None, route: str | None, status: int) -> None: ...

    def noticed(self, notice: Notice) -> None: ...

    def asked(self) -> None: ...

    def answered(self, status: int) -> None: ...

    def unreadable(self) -> None: ...

    def ran(self, record: ToolUsageRecord, server: str) -> None: ...

    def read(self) -> None: ...

    def over(self) -> None: ...


UNOBSERVED = Unobserved()


class UnobservedToolbox:
    """A `ToolboxObserver` that notes nothing."""

    __slots__ = ()

    def reached(self, server: str, *, up: bool) -> None: ...

    def sessions(self, server: str, count: int) -> None: ...

    def called(self, server: str, outcome: str, seconds: float) -> None: ...

    def changed(self, server: str) -> None: ...


UNOBSERVED_TOOLBOX = UnobservedToolbox()


class Unfollowed:
    """A `Connecting` that follows nothing."""

    __slots__ = ()

    def connecting(self, server: str, url: str | None) -> AbstractContextManager[None]:  # noqa: ARG002  the port's
        return nullcontext()

    def listing(self) -> AbstractContextManager[None]:
        return nullcontext()


UNFOLLOWED = Unfollowed()
