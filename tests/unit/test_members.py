"""The watch over actors: who is silent, who cannot be reached, who has ended; on the loop's own clock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system.waiting import until

from veza.actors import members
from veza.actors.members import Member, Members
from veza.actors.refs import ActorGone, ActorRef, ActorUnreachable
from veza.actors.tasks import TaskSet

PATIENCE_S = 0.5


class Actor(ActorRef):
    """Answers as `state` says: `well`, `silent`, `unreachable` or `dead`."""

    def __init__(self) -> None:
        super().__init__("Gateway-0123abcd-00000001")
        self.state = "well"
        self.killed = False
        self._ended = asyncio.Event()

    async def call(self, method: str, *_: object) -> Any:
        if method == "lifeline":
            await self._ended.wait()
            if self.state == "dead":
                raise ActorGone(self.name)
            return None
        if self.state == "silent":
            await asyncio.Event().wait()
        if self.state == "unreachable":
            raise ActorUnreachable(self.name)
        if self.state == "dead":
            raise ActorGone(self.name)
        return {"sockets": 7}

    def end(self, state: str) -> None:
        self.state = state
        self._ended.set()

    async def kill(self) -> None:
        self.killed = True


class Watch:
    def __init__(self, tasks: TaskSet) -> None:
        self.lost: list[Member[Actor]] = []
        self.turns = 0
        self.members: Members[Actor] = Members(
            "gateway",
            tasks,
            period=0.01,
            patience=PATIENCE_S,
            settled=lambda _: True,
            on_turn=self._turned,
            on_lost=self.lost.append,
        )
        self.actor = Actor()
        self.members.add(self.actor)

    def _turned(self) -> None:
        self.turns += 1

    async def until_lost(self) -> None:
        async def lost() -> bool:
            return bool(self.lost) and self.actor.killed

        await until(lost, "the actor to be given up")
        assert len(self.lost) == 1
        assert not len(self.members)

    async def until_turned(self, alive: bool) -> None:
        async def turned() -> bool:
            return [member.alive for member in self.members] == [alive]

        await until(turned, f"the actor to be alive: {alive}")


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    monkeypatch.setattr(members, "SUSPECT_S", 0.05)
    monkeypatch.setattr(members, "UNREACHABLE_S", 0.1)
    tasks = TaskSet("test")
    yield Watch(tasks)
    await tasks.close()


async def test_whoever_answers_is_left_alone(watch: Watch) -> None:
    async def reported() -> bool:
        return bool(watch.members.state()[0].get("sockets"))

    await until(reported, "a report")
    assert (watch.turns, watch.lost, watch.actor.killed) == (0, [], False)
    assert [member.node for member in watch.members.on("0123abcd")] == ["0123abcd"]
    assert watch.members.on("other") == []


async def test_one_that_falls_silent_and_answers_again_turns_twice(watch: Watch) -> None:
    watch.actor.state = "silent"
    await watch.until_turned(alive=False)
    assert watch.members.alive() == {}
    watch.actor.state = "well"
    await watch.until_turned(alive=True)
    assert (watch.turns, watch.lost) == (2, [])


async def test_one_that_stays_silent_is_given_up(watch: Watch) -> None:
    watch.actor.state = "silent"
    await watch.until_lost()


async def test_one_that_cannot_be_reached_is_given_up_sooner(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.members, "_patience", 3600.0)
    watch.actor.state = "unreachable"
    await watch.until_lost()


@pytest.mark.parametrize("end", ["dead", "well"])
async def test_one_that_ends_is_lost_at_once(watch: Watch, end: str) -> None:
    watch.actor.end(end)
    await watch.until_lost()


async def test_one_that_is_about_to_end_does_not_count(watch: Watch) -> None:
    [member] = watch.members
    member.leaving = True
    assert watch.members.on("0123abcd") == []
    assert watch.members.staying() == set()
    assert watch.members.alive().keys() == {watch.actor.name}
    watch.actor.end("well")
    await watch.until_lost()
