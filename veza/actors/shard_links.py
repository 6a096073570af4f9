"""Links to the shards of one kind: one outbox each, and answers matched to who waits for them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from veza import errors, metrics
from veza.actors.mailbox import Outbox
from veza.actors.refs import ActorGone, ActorUnreachable, CallFailed, ShardRef, SupervisorRef
from veza.actors.tasks import TaskSet
from veza.errors import Unavailable, VezaError
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.partition import ROOMS
from veza.realtime.presence import BEAT_S
from veza.realtime.routing import Answer, PartitionMap, Router, Sends

log = logging.getLogger(__name__)

# A command that no shard answered for this long is given up; a failover takes a tenth of it.
PATIENCE_S = 10.0
ASK_AGAIN_S = 0.05
MAP_TIMEOUT_S = 1.0
SWEEP_S = 0.5
# A shard that answered none of so many beats in a row is linked to anew. One may be late because this process was.
MISSED_BEATS = 3

# On the wire, with the two bytes that say what it is.
UUID_WEIGHT = 18

# Gets the answer that belongs to the command, or an error.
AnswerHandler = Callable[[Any], None]


class ShardLinks:
    """Commands go out by `send` and `request`; `on_moved` is told which partitions changed hands."""

    def __init__(self, name: str, tasks: TaskSet, on_moved: Callable[[set[int]], None], *, first: int = ROOMS) -> None:
        """To the shards of the kind whose partitions begin with `first`."""
        self.router = Router(first)
        self._name = name
        self._tasks = tasks
        self._on_moved = on_moved
        self._outboxes: dict[str, tuple[Outbox[c.Routed], asyncio.Task[Any]]] = {}
        self._supervisor = SupervisorRef()
        self._asking: asyncio.Task[Any] | None = None
        self._call_seconds = metrics.OUTBOX_CALL_SECONDS.labels("shards")

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, command: c.Routed, subject: UUID) -> None:
        """Send what wants no answer; lost if the shard is."""
        self._post(self.router.submit(command, subject))

    def request(self, make: Callable[[int], c.Routed], subject: UUID, handle: AnswerHandler) -> None:
        """Send `make(ref)`; `handle` is called once, with an answer or an error."""

        def resolve(answer: Answer | None) -> None:
            handle(Unavailable() if answer is None else error_of(answer) if isinstance(answer, c.Refusal) else answer)

        command = make(self.router.next_ref())
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        self._post(self.router.submit(command, subject, resolve, deadline))

    async def ask(self, make: Callable[[int], c.Routed], subject: UUID) -> Any:
        """Like `request`, awaited: the decoded `data` of the answer. Raises what the shard refused with."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def handle(answer: Any) -> None:
            if future.done():
                return
            if isinstance(answer, VezaError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.request(make, subject, handle)
        answer = await future
        return msgspec.json.decode(answer.data) if isinstance(answer, c.Answer) else answer

    async def settled(self, room_id: UUID) -> None:
        """Wait until what was sent about the room before is decided and stored."""
        await self.ask(lambda ref: c.Settle(ref, room_id), room_id)

    def depth(self) -> tuple[int, int]:
        """How many bytes wait in the outboxes, and how many calls are in flight."""
        outboxes = [outbox for outbox, _ in self._outboxes.values()]
        return sum(outbox.bytes for outbox in outboxes), sum(outbox.calling for outbox in outboxes)

    def _post(self, sends: Sends) -> None:
        for shard, command in sends:
            outbox, _ = self._outboxes.get(shard) or self._open(shard)
            if not outbox.put(command):
                # The shard is stuck: better an honest error than a queue without end.
                metrics.COMMANDS_GIVEN_UP.labels("outbox_full").inc()
                self.router.give_up(command)
        if not self.router.complete:
            self._ask_for_map()

    def _open(self, shard: str) -> tuple[Outbox[c.Routed], asyncio.Task[Any]]:
        ref = ShardRef(shard)

        async def send(commands: list[c.Routed]) -> None:
            began = time.monotonic()
            await ref.submit(c.encode_commands(self._name, commands))
            self._call_seconds.observe(time.monotonic() - began)

        outbox: Outbox[c.Routed] = Outbox(send, weigh=_weight)
        task = self._tasks.start(self._run(ref, outbox, send), f"outbox {shard}")
        self._outboxes[shard] = outbox, task
        return outbox, task

    async def _run(
        self, ref: ShardRef, outbox: Outbox[c.Routed], send: Callable[[list[c.Routed]], Awaitable[None]]
    ) -> None:
        # Over a connection of their own, so that no batch holds them up.
        beats = ShardRef(ref.name)
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self._beat(beats), name=f"beat {ref.name}")
                # An empty batch introduces this gateway.
                await send([])
                await outbox.run()
        except* (ActorGone, ActorUnreachable, CallFailed) as errors:
            # What was in flight may be lost in any case; all that waits for an answer is sent again.
            reasons = ", ".join(type(error).__name__ for error in errors.exceptions)
            log.warning("shard not reached", extra={"shard": ref.name, "reason": reasons})
            if self._outboxes.get(ref.name, (None, None))[0] is outbox:
                del self._outboxes[ref.name]
                self.router.shard_lost(ref.name)
                self._ask_for_map()
        finally:
            await asyncio.gather(ref.close(), beats.close())

    async def _beat(self, ref: ShardRef) -> None:
        """Be heard by the shard, also when there is nothing to say, or what is said takes long. Raises ActorUnreachable
        when it stays silent.
        """
        nothing = c.encode_commands(self._name, [])
        clock = asyncio.get_running_loop().time
        missed = 0
        while missed < MISSED_BEATS:
            due = clock() + BEAT_S
            try:
                async with asyncio.timeout(BEAT_S):
                    await ref.submit(nothing)
                missed = 0
            except (ActorGone, ActorUnreachable, CallFailed, TimeoutError) as error:
                missed += 1
                log.warning("shard does not hear", extra={"shard": ref.name, "reason": type(error).__name__})
            await asyncio.sleep(due - clock())
        raise ActorUnreachable(ref.name)

    # -- in --------------------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        self.router.answered(answer)

    def not_owned(self, shard: str, refs: list[tuple[int, int]]) -> None:
        if self.router.not_owned(shard, refs):
            self._ask_for_map()

    def set_map(self, partitions: PartitionMap) -> None:
        sends, moved = self.router.reroute(partitions)
        if not moved:
            return
        for shard in set(self._outboxes) - self.router.owners():
            # Gone, or it owns nothing any more: what waits in its outbox was sent again to others.
            self._outboxes.pop(shard)[1].cancel()
        for shard in self.router.owners() - set(self._outboxes):
            self._open(shard)
        self._on_moved(moved)
        self._post(sends)

    def _ask_for_map(self) -> None:
        """The Supervisor pushes every new map; this is for when one is needed sooner than it comes."""
        if self._asking is None or self._asking.done():
            self._asking = self._tasks.start(self._fetch_map(), "map")

    async def _fetch_map(self) -> None:
        while not self.router.complete:
            await asyncio.sleep(ASK_AGAIN_S)
            try:
                async with asyncio.timeout(MAP_TIMEOUT_S):
                    partitions = await self._supervisor.partition_map()
            except ActorGone:
                # Another one takes its place, under the same name.
                self._supervisor = SupervisorRef()
            except (ActorUnreachable, TimeoutError):
                continue
            else:
                self.set_map(partitions)

    async def cluster(self) -> dict[str, Any]:
        """What the Supervisor says of all actors. Raises Unavailable when it does not answer."""
        try:
            async with asyncio.timeout(MAP_TIMEOUT_S):
                state: dict[str, Any] = await SupervisorRef().call("state")
        except (ActorGone, ActorUnreachable, TimeoutError) as error:
            raise Unavailable("The Supervisor does not answer; another takes its place.") from error
        return state

    async def sweep_forever(self) -> None:
        """Give up on commands that waited too long."""
        while True:
            await asyncio.sleep(SWEEP_S)
            before = self.router.waiting
            self.router.expire(asyncio.get_running_loop().time())
            # Nothing else runs meanwhile, save what their ends bring about.
            metrics.COMMANDS_GIVEN_UP.labels("no_answer").inc(max(0, before - self.router.waiting))


def error_of(refusal: c.Refusal) -> VezaError:
    """The error that a shard refused with."""
    kind = getattr(errors, refusal.error)
    if not issubclass(kind, VezaError):
        raise TypeError(f"{refusal.error} is no error of ours")
    arguments = [tuple(map(tuple, a)) if isinstance(a, list) else a for a in refusal.args]
    error: VezaError = kind(*arguments)
    return error


def _weight(command: c.Routed) -> int:
    """About its bytes, rather more than less."""
    match command:
        case c.Post(content=content, attachments=attachments):
            return _content_weight(content) + UUID_WEIGHT * len(attachments) + 300
        case s.SayInStream(content=content):
            return _content_weight(content) + 300
        case c.EditMessage(content=content):
            return _content_weight(content) + 250
        case c.GetPresence(user_ids=people) | s.FollowStream(people=people):
            return UUID_WEIGHT * len(people) + 150
        case s.ReportViewers(came=came, left=left):
            return UUID_WEIGHT * (len(came) + len(left)) + 150
    return 150


def _content_weight(content: str) -> int:
    # Known without a look at the characters; others than ASCII take up to four bytes each.
    return len(content) if content.isascii() else 4 * len(content)
