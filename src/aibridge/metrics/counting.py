"""What a host makes once: the metrics of one bridge. They hold no global state; two of them never meet."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from aibridge.metrics.following import Following
from aibridge.metrics.incidents import Incidents
from aibridge.metrics.names import Names
from aibridge.metrics.noticed import Noticed
from aibridge.metrics.recorder import CountingRecorder
from aibridge.metrics.series import Series
from aibridge.metrics.toolbox import ToolboxSeries
from aibridge.notices import Notice
from aibridge.ports import Observation, Recorder
from aibridge.records import AnyRecord, InterceptionRecord, InterceptionRecordEnded

_NAMES = 200  # models, and tools, with series of their own


class Metrics:
    """An `Observer`, and what puts a counting recorder in front of the host's own.

    Args:
        registry: where the series are registered; by default a new one.
        prefix: what every name begins with.
        include_initiator: whether `interceptions_total` names people (`initiator_id`): one set of series for each.
        names: how many models, and how many tools, have series of their own; the rest is `other`.
        monotonic: seconds since some fixed moment.

    Raises:
        ValueError: the registry has one of the names already.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        prefix: str = "aibridge_",
        include_initiator: bool = False,
        names: int = _NAMES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.prefix = prefix
        self._series = Series(self.registry, prefix, include_initiator=include_initiator, most_names=names)
        self._incidents = Incidents(self.registry, prefix)
        self._noticed = Noticed(self.registry, prefix, Names(names))
        self.toolbox = ToolboxSeries(self.registry, prefix)
        """The observer of a toolbox."""
        self._monotonic = monotonic
        self._followed: dict[str, Following] = {}

    def recording(self, recorder: Recorder) -> CountingRecorder:
        """A recorder for the bridge: it keeps what `recorder` keeps, and counts it."""
        return CountingRecorder(recorder, self._incidents, self._followed, self._follow)

    def left_out(self, record: AnyRecord) -> None:
        """For a recorder behind `recording` that goes on without a record: that one is not counted.

        To be called before the interception's end is durable; in any thread.
        """
        interception_id = record.id if isinstance(record, InterceptionRecord) else record.interception_id
        following = self._followed.get(interception_id)
        if following is not None:
            following.left_out.add(interception_id if isinstance(record, InterceptionRecordEnded) else record.id)

    # As an observer of the bridge.

    def intercepting(self, record: InterceptionRecord) -> Observation:
        forget = partial(self._followed.pop, record.id, None)
        following = Following(self._series, self._incidents, self._series.of(record), self._monotonic, forget)
        self._followed[record.id] = following
        return following

    def passing(self, provider_name: str, route: str, method: str) -> None:
        self._incidents.passthrough.labels(provider_name, route, method).inc()

    def refused(self, provider_name: str | None, route: str | None, status: int) -> None:
        # No provider and no route can be called "-".
        self._incidents.refused.labels(provider_name or "-", route or "-", status).inc()

    def noticed(self, notice: Notice) -> None:
        self._noticed.note(notice)

    def _follow(self, record: InterceptionRecord) -> Following:
        return Following(self._series, self._incidents, self._series.of(record), self._monotonic)
