"""`veza cluster`: the nodes of a Ray cluster, and what runs on them."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from veza.config import Settings, load_settings
from veza.errors import StartupError

BUSIEST = 10


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cluster() -> None:
    """Nodes of a Ray cluster, and what runs on them.

    `start` makes a machine a node. The others ask the platform that 'veza serve' runs on this data directory.
    """


@cluster.command(context_settings={"ignore_unknown_options": True})
@click.option("--head", is_flag=True, help="Begin a cluster on this machine.")
@click.option("--address", metavar="HOST:PORT", help="Join the cluster whose head is there.")
@click.option("--port", default=6379, show_default=True, help="With --head: the port that others join by.")
@click.option("--name", help="What the node is called; its address unless given.")
@click.argument("ray_arguments", nargs=-1, type=click.UNPROCESSED)
def start(head: bool, address: str | None, port: int, name: str | None, ray_arguments: tuple[str, ...]) -> None:
    """Make this machine a node, by 'ray start' with the settings that the platform wants.

    The first is the head, where 'RAY_ADDRESS=auto veza serve' belongs. All need the same ~/.ray/auth_token, which
    the head makes when there is none. Other arguments go to 'ray start': '--block' stays in the foreground.
    """
    from veza.actors.environment import OBJECT_STORE_BYTES, node_environment

    if head == bool(address):
        raise click.UsageError("Give either --head or --address.")
    settings = load_settings(keep_secrets=False)
    environment = node_environment(os.environ, settings.data_dir, head=head)
    # It would send a head to another cluster.
    environment.pop("RAY_ADDRESS", None)
    where = ["--head", f"--port={port}", "--include-dashboard=false"] if head else [f"--address={address}"]
    named = [f"--node-name={name}"] if name else []
    # So many processes are kept ready for actors; their number limits nothing.
    processes = max(2, settings.room_shards + settings.gateways + 2)
    limits = [f"--num-cpus={processes}", f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"]
    program = Path(sys.executable).with_name("ray")
    os.execve(program, [str(program), "start", *where, *named, *limits, *ray_arguments], environment)  # noqa: S606


@cluster.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(output: str) -> None:
    """Nodes, their actors and partitions, and the busiest partitions."""
    state = _ask(do="state")
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(state)).decode())
    else:
        _print(state)


@cluster.command()
@click.option("--shards", type=click.IntRange(1, 256), help="Room shards on each node.")
@click.option("--gateways", type=click.IntRange(1, 64), help="Gateways on each node.")
def scale(shards: int | None, gateways: int | None) -> None:
    """Run another number of actors on each node, while traffic flows.

    It holds until the next start; VEZA_ROOM_SHARDS and VEZA_GATEWAYS are what a start begins with.
    """
    if shards is None and gateways is None:
        raise click.UsageError("Give --shards, --gateways or both.")
    _print(_ask(do="scale", shards=shards, gateways=gateways))


@cluster.command()
@click.argument("node")
def drain(node: str) -> None:
    """Lead everything out of NODE (a name, an address or an id's beginning), before it is stopped.

    Its partitions go to other nodes, its sockets are told to reconnect. When this returns, nothing runs there and 'ray
    stop' on it is safe.
    """
    _print(_ask(do="drain", node=node))


@cluster.command()
@click.argument("node")
def resume(node: str) -> None:
    """Use a drained NODE again."""
    _print(_ask(do="resume", node=node))


def _ask(**request: Any) -> dict[str, Any]:
    from veza.serve.control import Request, ask

    settings: Settings = load_settings(keep_secrets=False)
    if not settings.data_dir.is_dir():
        raise StartupError(f"Nothing runs on {settings.data_dir}; start it with 'veza serve'.")
    return asyncio.run(ask(settings, Request(**request)))


def _print(state: dict[str, Any]) -> None:
    wanted = state["wanted"]
    click.echo(f"wanted on each node: {wanted['shards']} shards, {wanted['gateways']} gateways")
    click.echo(f"rooms' partitions with an owner that knows it: {state['partitions']} of 256\n")
    click.echo(
        f"{'node':<20}{'key':<10}{'address':<18}{'shards':>7}{'gateways':>10}{'partitions':>12}{'commands/s':>12}"
    )
    rates = {shard["name"]: shard.get("rates", {}) for shard in state["shards"]}
    for node in state["nodes"]:
        here = [shard["name"] for shard in state["shards"] if shard["node"] == node["key"]]
        rate = sum(sum(rates[name].values()) for name in here)
        click.echo(
            f"{node['name']:<20}{node['key']:<10}{node['address']:<18}{node['shards']:>7}{node['gateways']:>10}"
            f"{node['partitions']:>12}{rate:>12.1f}{'  drained' if node['drained'] else ''}"
        )
    kinds = ("shards", "stream_shards", "gateways", "ingests", "limiters", "runners", "processors")
    silent = [actor["name"] for kind in kinds for actor in state[kind] if not actor["alive"]]
    if silent:
        click.echo(f"\nsilent: {', '.join(silent)}")
    busy = sorted(
        ((rate, partition, name) for name, each in rates.items() for partition, rate in each.items()), reverse=True
    )
    if busy:
        click.echo(f"\n{'partition':>9}{'commands/s':>12}  shard")
    for rate, partition, name in busy[:BUSIEST]:
        click.echo(f"{partition:>9}{rate:>12.1f}  {name}")
