"""What metrics say: of a registry in this process, and of a server as Prometheus reads it. Names are without `aibridge_`."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import httpx2
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.server.installation import BOUND, Running

Series: TypeAlias = Counter[tuple[str, ...]]


# -- a registry ----------------------------------------------------------------------------------------


def total(registry: CollectorRegistry, name: str, /, **labels: str) -> float:
    """The sum of the series that have these labels."""
    found = _samples(registry.collect(), name)
    return sum(sample.value for sample in found if labels.items() <= sample.labels.items())


def labels_of(registry: CollectorRegistry, name: str) -> list[dict[str, str]]:
    return [sample.labels for sample in _samples(registry.collect(), name)]


# -- a server ------------------------------------------------------------------------------------------


class Scraped:
    """One exposition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._families = list(text_string_to_metric_families(text))

    def by(self, name: str, *labels: str) -> Series:
        """Sums by these labels, without those that are 0."""
        found: Series = Counter()
        for sample in _samples(self._families, name):
            if sample.value:
                found[tuple(sample.labels[label] for label in labels)] += round(sample.value)
        return found

    def total(self, name: str) -> int:
        return sum(self.by(name).values())


async def scrape(server: Running, accept: str | None = None) -> Scraped:
    async with httpx2.AsyncClient(timeout=BOUND, trust_env=False) as client:
        answer = await client.get(metrics_url(server), headers={} if accept is None else {"accept": accept})
    assert answer.status_code == 200
    return Scraped(answer.text)


def metrics_url(server: Running) -> str:
    found = re.search(r"^metrics +(\S+)$", server.banner, re.MULTILINE)
    assert found is not None, server.banner
    return found[1]


async def at_rest(server: Running) -> Scraped:
    """When nothing is in flight any more: those who hung up may be seen a little later."""
    async with asyncio.timeout(BOUND):
        while (found := await scrape(server)).by("interceptions_inflight", "provider"):
            pass
    return found


def _samples(families: Iterable[Metric], name: str) -> Iterator[Sample]:
    return (sample for family in families for sample in family.samples if sample.name == f"aibridge_{name}")
