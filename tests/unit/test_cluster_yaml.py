"""cluster.yaml is what `ray up` accepts, and its commands are those by which the multi-node tests start their nodes."""

import json
import shlex
from importlib.metadata import files
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from veza.cli.cluster import start

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())


def test_it_follows_rays_schema() -> None:
    schema = next(file for file in files("ray") or [] if file.name == "ray-schema.json")
    jsonschema.validate(DOCUMENT, json.loads(schema.read_text()))


def arguments(commands: list[str]) -> dict[str, Any]:
    """What `veza cluster start` makes of the one command that calls it."""
    [words] = [shlex.split(command) for command in commands if "veza cluster start" in command]
    assert words[:3] == ["cd", "~/veza", "&&"]
    # What stands before the command is its environment.
    program = words.index(".venv/bin/veza")
    assert all("=" in word for word in words[3:program])
    context: click.Context = start.make_context("start", words[program + 3 :])
    return context.params


def test_its_head_begins_a_cluster_that_its_workers_join() -> None:
    head = arguments(DOCUMENT["head_start_ray_commands"])
    worker = arguments(DOCUMENT["worker_start_ray_commands"])
    assert head["head"]
    assert head["address"] is None
    # Without it Ray's autoscaler does not know the workers.
    assert head["ray_arguments"] == ("--autoscaling-config=~/ray_bootstrap_config.yaml",)
    assert not worker["head"]
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"


@pytest.mark.parametrize("words", [[], ["--head", "--address", "10.0.0.1:6379"]])
def test_a_node_either_begins_or_joins(words: list[str]) -> None:
    with pytest.raises(click.UsageError, match="--head or --address"):
        start.main(words, standalone_mode=False)
