"""The dashboard, the alert rules and the reference name metrics and labels that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from aibridge.metrics import Metrics
from aibridge.server.reload_series import ReloadSeries
from aibridge.server.store_series import StoreSeries
from tests.promtool import promtool

CHECKOUT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((CHECKOUT / "deploy/grafana/aibridge.json").read_text())
RULES = (CHECKOUT / "deploy/prometheus/rules.yml").read_text()
PAGE = (CHECKOUT / "docs/reference/metrics.md").read_text()
OF_THE_SCRAPER = {"instance", "job"}
IN_THE_SHARES = {"le"}
SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")


def registered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of every metric that a server has, by the name that queries have."""
    metrics = Metrics()
    StoreSeries(metrics.registry, metrics.prefix)
    ReloadSeries(metrics.registry, metrics.prefix)
    found = {}
    for collector in metrics.registry._collector_to_names:
        described: Any = collector
        (family,) = described.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, tuple(described._labelnames))
    return found


METRICS = registered()


def metric_of(name: str) -> str:
    """The metric that a name in a query belongs to."""
    return name if name in METRICS else SUFFIXES.sub("", name)


def check(expression: str, *shown: str) -> None:
    """Fails when an expression, or what shows its result, names what there is not."""
    known = set(OF_THE_SCRAPER | IN_THE_SHARES)
    used = re.findall(r"\b(aibridge_\w+)(?:\{([^}]*)\})?", expression)
    assert used, expression
    labels_of_all: list[set[str]] = []
    for name, selector in used:
        assert metric_of(name) in METRICS, f"no metric {name}"
        kind, labels = METRICS[metric_of(name)]
        assert (name.endswith("_bucket") and kind == "histogram") or name == metric_of(name), f"{name} is a {kind}"
        assert set(re.findall(r"(\w+)\s*=?[=~!]", selector)) <= set(labels), f"{name}{{{selector}}}"
        labels_of_all.append(set(labels))
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    assert grouped <= set.intersection(*labels_of_all) | known, expression
    shows = {label for text in shown for label in re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)}
    assert shows <= grouped, f"{shows - grouped} is not in the result of {expression}"


def targets() -> Iterator[tuple[str, str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(("title", "expression", "legend"), list(targets()))
def test_a_panel_asks_for_metrics_and_labels_that_there_are(title: str, expression: str, legend: str) -> None:
    check(expression, legend)


def test_every_metric_is_on_the_dashboard() -> None:
    asked = {metric_of(name) for _, expression, _ in targets() for name in re.findall(r"\baibridge_\w+", expression)}

    assert asked == set(METRICS)


def test_the_dashboard_can_be_imported_anywhere() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]

    assert "id" not in DASHBOARD
    assert len(set(ids)) == len(ids)
    assert len(set(places)) == len(places)
    sources = [panel["datasource"] for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    for variable in DASHBOARD["templating"]["list"][1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]  # else the test fails, as it should
        assert label == variable["name"]
        assert label in METRICS[name][1]


def rules() -> Iterator[tuple[str, str, str]]:
    """Name, expression and annotations of each rule."""
    for rule in re.split(r"^      - alert: ", RULES, flags=re.MULTILINE)[1:]:
        expression = re.search(r"^        expr:(.*?)^        (?:for|labels):", rule, re.MULTILINE | re.DOTALL)
        assert expression is not None, rule
        yield rule.partition("\n")[0], expression[1].removeprefix(" >-"), rule.partition("annotations:")[2]


@pytest.mark.parametrize(("name", "expression", "annotations"), list(rules()))
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(name: str, expression: str, annotations: str) -> None:
    check(expression, annotations)
    assert name.startswith("Aibridge")
    assert "summary: " in annotations
    assert re.search(r"runbook: (?:>-\s+)?\S.{20}", annotations)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "words", [("check", "rules", "deploy/prometheus/rules.yml"), ("test", "rules", "tests/deploy/rules_test.yml")]
)
async def test_promtool_takes_the_rules_and_they_fire_when_they_should(words: tuple[str, ...]) -> None:
    await promtool(*words)


# -- the reference --------------------------------------------------------------------------------------


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`aibridge_"):
            found[cells[0].strip("`")] = (cells[1], tuple(re.findall(r"`(\w+)`", cells[2])))
    return found


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other() -> None:
    assert documented() == METRICS


def test_the_example_queries_ask_for_what_there_is() -> None:
    (block,) = re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)
    queries = [line for line in block.splitlines() if line and not line.startswith("#")]

    assert len(queries) >= 5
    for query in queries:
        check(query)


def test_the_kinds_of_errors_are_those_that_are_documented() -> None:
    source = (CHECKOUT / "src/aibridge/metrics/following.py").read_text().partition("def _kind_of")[2]
    said = set(re.findall(r'"(\w+)"', source)) - {"upstream_stalled", "connection_error"}
    table = PAGE.partition("| `kind` of an upstream error")[2].partition("\n\n")[0]

    assert set(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)) - {"---"}
    named = {kind for row in re.findall(r"^\|(.*?)\|", table, re.MULTILINE) for kind in re.findall(r"`(\w+)`", row)}
    assert named == said


def test_the_example_of_a_host_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    module = ModuleType("example")
    exec(compile(code, "docs/reference/metrics.md (example)", "exec"), module.__dict__)

    registry: CollectorRegistry = module.registry
    assert {family.name for family in registry.collect()} >= {"gateway_interceptions", "gateway_build_info"}
