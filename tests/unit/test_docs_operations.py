"""Metrics in the documents, the dashboard and the rules are those that there are, and all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pachgw.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
# Prometheus makes it itself, for each target.
NOT_OURS = {"up"}
NAME = re.compile(r"\b(?:pachgw|process|python)_\w+")
LABELS = re.compile(r"\{([^{}]*)\}")


def metrics() -> dict[str, Any]:
    return {metric.name: metric for metric in Metrics().registry.collect()}


def series() -> set[str]:
    """The names that an expression may have."""
    return {name + ending for name, metric in metrics().items() for ending in ENDINGS.get(metric.type, ("",))}


def labels() -> dict[str, set[str]]:
    """By the table of the document: which labels each name has."""
    return {name: set(having.strip().split(", ")) - {""} for name, _, having, _ in table()}


def table() -> list[tuple[str, ...]]:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\| (.+) \|$", text, re.MULTILINE)


def test_the_table_has_every_metric_as_it_is() -> None:
    said = {name.removesuffix("_total"): (kind, what) for name, kind, _, what in table()}
    assert said == {
        name: (metric.type, metric.documentation.rstrip(".")) for name, metric in metrics().items()
    }
    assert [name for name, kind, *_ in table() if name.endswith("_total") != (kind == "counter")] == []


def test_the_table_has_the_labels() -> None:
    made = Metrics()
    for name, _, having, _ in table():
        if not name.startswith("pachgw_") or name.startswith("pachgw_cache_"):
            continue
        (metric,) = [one for one in vars(made).values() if _name(one) == name.removesuffix("_total")]
        assert ", ".join(metric._labelnames) == having.strip(), name


def _name(value: object) -> str:
    return str(getattr(value, "_name", ""))


def expressions(name: str) -> Iterator[str]:
    text = (DOCS / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        dashboard = json.loads(text)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield target["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["definition"]
    else:
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                yield rule["expr"]


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_every_series_that_is_asked_for_is_one(name: str) -> None:
    known = series()
    asked = list(expressions(name))
    assert len(asked) > 10
    for expression in asked:
        named = set(NAME.findall(expression))
        assert named - known == set(), expression
        assert named or NOT_OURS & set(re.findall(r"\w+", expression)), expression
        assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_every_label_that_is_asked_for_is_one(name: str) -> None:
    having = labels()
    # Prometheus adds these to all.
    always = {"job", "instance"}
    for expression in expressions(name):
        for metric, selected in re.findall(r"\b((?:pachgw|process|python)_\w+)\{([^}]*)\}", expression):
            base = re.sub("_(bucket|sum|count)$", "", metric)
            known = having.get(metric, having.get(base, set())) | always
            known |= {"le"} if metric.endswith("_bucket") else set()
            assert set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', selected)) <= known, expression


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    text = " ".join(expressions("grafana-dashboard.json"))
    missing = [name for name in metrics() if name.startswith("pachgw_") and name not in text]
    assert missing == []
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]


def test_each_alert_says_what_it_is_and_is_in_the_document() -> None:
    rules = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        name = rule["alert"]
        assert name in text or (name.endswith("NearLimit") and "Pachgw…NearLimit" in text), name
    assert len({rule["alert"] for rule in rules}) == len(rules)
