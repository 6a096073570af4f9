"""The Grafana dashboard as a file: what Grafana needs to load it, and what a person needs to use it."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "monitoring" / "grafana-dashboard.json").read_text()
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ASKING = [panel for panel in PANELS if panel["type"] != "row"]

SOURCE = {
    "type": "object",
    "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
    "required": ["type", "uid"],
}
# What Grafana's own schema of version 39 demands of the parts we use.
SCHEMA = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "panels", "templating", "annotations", "time", "refresh"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "uid": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$"},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "graphTooltip": {"enum": [0, 1, 2]},
        "time": {"type": "object", "required": ["from", "to"]},
        "panels": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/definitions/row"}, {"$ref": "#/definitions/panel"}]},
        },
        "templating": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "type", "query"],
                        "properties": {"type": {"enum": ["datasource", "query"]}, "query": {"type": "string"}},
                    },
                }
            },
        },
        "annotations": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "datasource", "enable", "iconColor", "expr"],
                        "properties": {"datasource": SOURCE},
                    },
                }
            },
        },
    },
    "definitions": {
        "place": {
            "type": "object",
            "required": ["h", "w", "x", "y"],
            "properties": {
                "h": {"type": "integer", "minimum": 1},
                "w": {"type": "integer", "minimum": 1, "maximum": 24},
                "x": {"type": "integer", "minimum": 0, "maximum": 23},
                "y": {"type": "integer", "minimum": 0},
            },
        },
        "row": {
            "type": "object",
            "required": ["id", "type", "title", "collapsed", "gridPos", "panels"],
            "properties": {"type": {"const": "row"}, "gridPos": {"$ref": "#/definitions/place"}},
        },
        "panel": {
            "type": "object",
            "required": [
                "id",
                "type",
                "title",
                "description",
                "datasource",
                "gridPos",
                "targets",
                "fieldConfig",
                "options",
            ],
            "properties": {
                "type": {"enum": ["stat", "timeseries", "table"]},
                "datasource": SOURCE,
                "gridPos": {"$ref": "#/definitions/place"},
                "fieldConfig": {"type": "object", "required": ["defaults", "overrides"]},
                "targets": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["refId", "datasource", "expr", "legendFormat"],
                        "properties": {"datasource": SOURCE, "expr": {"type": "string", "minLength": 1}},
                    },
                },
            },
        },
    },
}


def test_grafana_can_load_it() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(DASHBOARD)] == []


def test_nothing_has_the_same_id_or_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
        assert one["x"] + one["w"] <= 24


@pytest.mark.parametrize("panel", ASKING, ids=[panel["title"] for panel in ASKING])
def test_a_panel_asks_the_chosen_machines_only(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        for metric, selector in re.findall(r"(veza_\w+)(\{[^}]*\})?", target["expr"]):
            assert 'instance=~"$instance"' in selector, metric


def test_variables_are_those_that_panels_use() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(PANELS)))
    assert used == names
