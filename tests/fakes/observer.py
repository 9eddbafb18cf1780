"""An observer that keeps what it is told of providers."""

from aibridge.notices import Notice
from aibridge.unobserved import Unobserved


class NotingObserver(Unobserved):
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def noticed(self, notice: Notice) -> None:
        self.notices.append(notice)

    def of(self, kind: type[Notice]) -> list[Notice]:
        return [notice for notice in self.notices if isinstance(notice, kind)]
