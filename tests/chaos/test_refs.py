"""What a call to an actor says when the actor does not answer it, on a Ray of this test's own."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from system.waiting import until

from veza.actors.cluster import start_ray, stop_ray
from veza.actors.refs import NAMESPACE, ActorGone, ActorRef, ActorUnreachable
from veza.config import load_settings
from veza.errors import Unavailable


class Peer:
    async def pid(self) -> int:
        return os.getpid()

    async def never(self) -> None:
        await asyncio.Event().wait()

    async def refuse(self) -> None:
        raise Unavailable("Not now.", 7.0)


@pytest.fixture(scope="module", autouse=True)
def own_ray() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="veza-refs-") as folder:
        settings = load_settings({"VEZA_DATA_DIR": folder, "APP_ENV": "development"}, dotenv=None)
        start_ray(settings, Path(folder))
        # Actors cannot import this file.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield
        stop_ray(Path(folder))


def start(name: str, restarts: int) -> None:
    ray.remote(Peer).options(
        name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=restarts, lifetime="detached"
    ).remote()


async def dies_during_a_call(ref: ActorRef) -> None:
    pid = await ref.call("pid")
    waiting = asyncio.create_task(ref.call("never"))
    await ref.call("pid")
    os.kill(pid, signal.SIGKILL)
    await waiting


async def test_dead() -> None:
    start("mortal", restarts=0)
    ref = ActorRef("mortal")
    with pytest.raises(ActorGone):
        await dies_during_a_call(ref)
    with pytest.raises(ActorGone):
        await ref.call("pid")


async def test_nobody_has_the_name() -> None:
    with pytest.raises(ActorGone):
        await ActorRef("nobody").call("pid")


async def test_it_did_not_get_through_but_the_actor_lives() -> None:
    start("phoenix", restarts=1)
    ref = ActorRef("phoenix")
    with pytest.raises(ActorUnreachable):
        await dies_during_a_call(ref)

    async def answers() -> bool:
        try:
            return isinstance(await ref.call("pid"), int)
        except ActorUnreachable:
            return False  # on its way back

    await until(answers, "the actor that was started again to answer", 60.0)
    await ref.kill()


async def test_an_error_of_ours_arrives_as_itself() -> None:
    start("refusing", restarts=0)
    ref = ActorRef("refusing")
    with pytest.raises(Unavailable) as refusal:
        await ref.call("refuse")
    assert type(refusal.value) is Unavailable
    assert (refusal.value.message, refusal.value.retry_after) == ("Not now.", 7.0)
    await ref.kill()
