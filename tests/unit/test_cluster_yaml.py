"""cluster.yaml is what `ray up` accepts."""

import json
from importlib.metadata import files
from pathlib import Path

import jsonschema
import yaml


def test_cluster_yaml_follows_rays_schema() -> None:
    schema = next(file for file in files("ray") or [] if file.name == "ray-schema.json")
    document = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())
    jsonschema.validate(document, json.loads(schema.read_text()))
