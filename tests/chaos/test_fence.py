"""A shard that was paused knows nothing of what happened meanwhile: PostgreSQL alone refuses its commit."""

import signal

import psutil
from owners import owner_of
from system.people import People
from system.running import Running
from system.waiting import until

FAILOVER_S = 30.0


async def test_a_late_commit_is_refused(victim: Running, crowd: People) -> None:
    person = await crowd.register()
    room = await person.room()
    [supervisor] = await victim.living("Supervisor", 1)
    async with await person.connect() as socket:
        await socket.call("join_room", room_id=room)
        first = await socket.send(room, "in time")
        _, pid = await owner_of(victim, room)
        fenced = await victim.metric("veza_commits_fenced_total")
        shard = psutil.Process(pid)
        shard.send_signal(signal.SIGSTOP)
        try:
            # On its way to the paused shard; stored by the next owner of the room.
            stored = await socket.answer(await socket.command("send_message", room_id=room, content="late"), FAILOVER_S)
            assert (await owner_of(victim, room))[1] != pid
            # Now nobody can tell the shard that the room is not its any more before it commits.
            supervisor.send_signal(signal.SIGSTOP)
            shard.send_signal(signal.SIGCONT)

            async def refused() -> bool:
                return await victim.metric("veza_commits_fenced_total") > fenced

            await until(refused, "the commit of the paused shard to be refused", FAILOVER_S)
        finally:
            for process in (shard, supervisor):
                if process.is_running():
                    process.send_signal(signal.SIGCONT)
        third = await socket.send(room, "afterwards")
        assert [first["seq"], stored["seq"], third["seq"]] == [1, 2, 3]
        assert [event["content"] for event in await socket.through(room, 3)] == ["in time", "late", "afterwards"]
    assert [message["content"] for message in await person.history(room)] == ["in time", "late", "afterwards"]
