"""A gateway: the real router, feeds, joins and attendance, in a shell that does what `veza.http.hub`, `joining` and
`links` do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from simulation.network import Failure, Process
from simulation.outbox import Outbox
from simulation.store import StoreAway
from veza.errors import Unavailable, VezaError
from veza.http.links import error_of
from veza.realtime import commands as c
from veza.realtime import effects as e
from veza.realtime import protocol as p
from veza.realtime.attendance import Attendance
from veza.realtime.events import RoomEvent, wire
from veza.realtime.following import Following
from veza.realtime.joins import Joins
from veza.realtime.routing import Answer, PartitionMap, Router, Sends

if TYPE_CHECKING:
    from simulation.client import Client
    from simulation.world import World

PATIENCE_S = 10.0
SWEEP_S = 0.5
ASK_AGAIN_S = 0.05
MAP_TIMEOUT_S = 1.0

Handler = Callable[[Answer | VezaError], None]


class ServerSocket:
    """The gateway's end of a connection."""

    def __init__(self, gateway: "SimGateway", client: "Client", number: int) -> None:
        self.gateway = gateway
        self.client = client
        self.number = number
        self.user_id = client.person.id
        self.rooms: set[UUID] = set()
        self.closing = False

    def send(self, data: bytes) -> None:
        if not self.closing:
            self.client.carry(self.number, data)


class SimGateway(Process):
    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        self.router = Router()
        self.following: Following[ServerSocket] = Following(self.router)
        self.attendance: Attendance[ServerSocket] = Attendance(self.router)
        self.joins = Joins(self.following)
        self.sockets: set[ServerSocket] = set()
        self._world = world
        self._outboxes: dict[str, Outbox[c.ShardCommand]] = {}
        self._inbox: list[bytes] = []
        self._turns: deque[Iterator[e.Effect]] = deque()
        self._working = False
        self._asking = False
        self._sweeping = False
        self._chance = world.chance.of(f"{name} writes")

    # -- links -----------------------------------------------------------------------------------------------

    def request(self, make: Callable[[int], c.ShardCommand], subject: UUID, handle: Handler) -> int:
        """Returns the ref."""

        def resolve(answer: Answer | None) -> None:
            if answer is None:
                self._world.seen["given up"] += 1
                handle(Unavailable())
            else:
                handle(error_of(answer) if isinstance(answer, c.Refusal) else answer)

        ref = self.router.next_ref()
        self._post(self.router.submit(make(ref), subject, resolve, self._world.clock.now + PATIENCE_S))
        if not self._sweeping:
            self._sweeping = True
            self._world.clock.later(SWEEP_S, lambda: self.do(self._sweep))
        return ref

    def _sweep(self) -> None:
        self.router.expire(self._world.clock.now)
        self._sweeping = bool(self.router.waiting)
        if self._sweeping:
            self._world.clock.later(SWEEP_S, lambda: self.do(self._sweep))

    def _post(self, sends: Sends) -> None:
        for shard, command in sends:
            self._link(shard).put(command)
        if not self.router.complete:
            self._ask_for_map()

    def _link(self, shard: str) -> Outbox[c.ShardCommand]:
        outbox = self._outboxes.get(shard)
        if outbox is None:
            chance = self._world.chance.of(f"{self.name} calls {shard}")
            outbox = Outbox(self._world.clock, chance, lambda items: self._submit(shard, outbox, items))
            self._outboxes[shard] = outbox
            outbox.introduce()
        return outbox

    def _submit(self, shard: str, outbox: Outbox[c.ShardCommand], items: list[c.ShardCommand]) -> None:
        if not self.alive:
            return
        target = self._world.shard(shard)
        data = c.encode(c.CommandBatch(self.name, items))

        def failed(failure: Failure) -> None:
            if self._outboxes.get(shard) is not outbox:
                return
            if tell := self._world.tell:
                tell(f"{self.name}: {shard} {failure.value}; what waits for it is sent again")
            self._close(shard)
            self.router.shard_lost(shard)
            self._ask_for_map()

        self._world.network.call(self, target, lambda: target.submit(data), outbox.returned, failed)

    def _close(self, shard: str) -> None:
        self._outboxes.pop(shard).closed = True

    def set_map(self, partitions: PartitionMap) -> None:
        sends, moved = self.router.reroute(partitions)
        if not moved:
            return
        for shard in sorted(set(self._outboxes) - self.router.owners()):
            self._close(shard)
        self._do(self.following.moved(moved))
        self._do(self.attendance.moved(moved))
        self._post(sends)

    def _ask_for_map(self) -> None:
        if not self._asking:
            self._asking = True
            self._world.clock.later(ASK_AGAIN_S, lambda: self.do(self._fetch_map))

    def _fetch_map(self) -> None:
        if self.router.complete:
            self._asking = False
            return
        found: list[PartitionMap] = []
        supervisor = self._world.supervisor
        over = False

        def done() -> None:
            nonlocal over
            if not over:
                over = True
                self.set_map(found[0])
                self._world.clock.later(ASK_AGAIN_S, lambda: self.do(self._fetch_map))

        def late() -> None:
            nonlocal over
            if not over:
                over = True
                self._world.clock.later(ASK_AGAIN_S, lambda: self.do(self._fetch_map))

        perform = lambda: found.append(dict(supervisor.map))  # noqa: E731 - read when the call arrives
        self._world.network.call(self, supervisor, perform, done, lambda _: late())
        self._world.clock.later(MAP_TIMEOUT_S, lambda: self.do(late))

    # -- deliveries ------------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        self._inbox.append(data)
        # What came while the last was written is handled together.
        if len(self._inbox) == 1:
            self._turns.append(self._take_inbox())
            self._work_soon()

    def _take_inbox(self) -> Iterator[e.Effect]:
        taken, self._inbox = self._inbox, []
        yield from self.following.deliver(map(c.decode_deliveries, taken))

    def _work_soon(self) -> None:
        self._world.clock.later(0.0, lambda: self.do(self._work))

    def _work(self) -> None:
        """Do what needs a turn, one after another."""
        if self._working:
            return
        self._working = True
        while self._turns:
            for effect in self._turns[0]:
                if isinstance(effect, e.Write):
                    if self._write(effect, list(effect.entry.sockets), paused=False):
                        return
                else:
                    self._perform(effect)
            self._turns.popleft()
        self._working = False

    def _write(self, effect: "e.Write[ServerSocket]", sockets: list[ServerSocket], *, paused: bool) -> bool:
        """True when the loop gets a turn in between; then it goes on later."""
        data = b"".join(effect.frames)
        for index, socket in enumerate(sockets):
            if index and self._chance.random() < 0.1:
                rest = sockets[index:]
                self._world.seen["pause while writing"] += 1
                pause = self._chance.random() * 0.02
                self._world.clock.later(pause, lambda rest=rest: self.do(lambda: self._write_on(effect, rest)))
                return True
            if not paused or socket in effect.entry.sockets:
                socket.send(data)
        return False

    def _write_on(self, effect: "e.Write[ServerSocket]", sockets: list[ServerSocket]) -> None:
        if not self._write(effect, sockets, paused=True):
            self._working = False
            self._work()

    def _handle(self, shard: str, item: c.Delivery) -> None:
        match item:
            case c.NotOwner():
                if self.router.not_owned(shard, item.refs):
                    self._ask_for_map()
            case c.Lagged():
                self._world.seen["lagged"] += 1
                self._do(self.attendance.lagged(shard))

    # -- effects ---------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[e.Effect]) -> None:
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.Answers():
                self._answered(effect.items)
            case e.Tell():
                self._tell(effect)
            case e.Say():
                effect.socket.send(effect.data)
            case e.Close():
                self._hang_up(effect.socket)
            case e.Send():
                self._post(self.router.submit(effect.command, effect.subject))
            case e.Request():
                self.request(effect.make, effect.subject, lambda answer: self._do(effect.then(answer)))
            case e.ReadPage() | e.ReadLog():
                self._read(effect)
            case e.Entered():
                effect.socket.rooms.add(effect.room_id)
            case e.Later():
                seconds = self._chance.uniform(effect.least, effect.most)
                self._world.clock.later(seconds, lambda: self.do(lambda: self._do(effect.then())))
            case e.Other():
                self._handle(effect.shard, effect.item)

    def _answered(self, answers: list[Answer]) -> None:
        for answer in answers:
            self.router.answered(answer)

    @staticmethod
    def _tell(effect: "e.Tell[ServerSocket]") -> None:
        for socket, member in effect.entry.sockets.items():
            if member.user_id != effect.but:
                socket.send(effect.frame)

    def _read(self, effect: "e.ReadPage[ServerSocket] | e.ReadLog") -> None:
        if isinstance(effect, e.ReadLog):
            self._read_log(effect)
        else:
            self._read_page(effect)

    def _read_log(self, effect: e.ReadLog) -> None:
        store = self._world.store
        self._world.seen["catch-up read"] += 1

        def got(events: list[RoomEvent], error: StoreAway | None) -> None:
            if error is not None:
                finish(None)
            elif events and events[0].seq == effect.after + 1:
                finish(e.LogPage(events))
            else:
                self._world.database.run(
                    self,
                    lambda: store.first_seq(effect.room_id),
                    lambda first, error: finish(None if error else e.LogPage(events, first)),
                )

        def finish(page: e.LogPage | None) -> None:
            self._turns.append(iter(effect.then(page)))
            self._work_soon()

        self._world.database.run(self, lambda: store.read_after(effect.room_id, effect.after, effect.limit), got)

    def _read_page(self, effect: "e.ReadPage[ServerSocket]") -> None:
        store, join = self._world.store, effect.join
        room_id = join.command.room_id
        read: list[RoomEvent] = []

        def got_events(events: list[RoomEvent], error: StoreAway | None) -> None:
            if error is not None:
                failed()
                return
            read.extend(event for event in events if event.seq <= effect.upto)
            self._world.database.run(self, lambda: store.first_seq(room_id), got_first)

        def got_first(first_seq: int, error: StoreAway | None) -> None:
            if error is not None:
                failed()
                return
            last = max(read[-1].seq if read else effect.after, first_seq - 1)
            shown = msgspec.Raw(b"[%b]" % b",".join(p.json(wire(event)) for event in read))
            self._do(self.joins.page_read(join, e.JoinPage(shown, last, first_seq)))

        def failed() -> None:
            join.socket.send(p.error_frame(join.command.id, Unavailable()))
            self._do(self.joins.page_failed(join))

        self._world.seen["page read"] += 1
        limit = effect.upto - effect.after
        if limit:
            self._world.database.run(self, lambda: store.read_after(room_id, effect.after, limit), got_events)
        else:
            self._world.database.run(self, lambda: store.first_seq(room_id), got_first)

    # -- sockets ---------------------------------------------------------------------------------------------

    def accept(self, socket: ServerSocket) -> None:
        self.sockets.add(socket)
        self._do(self.attendance.arrive(socket, socket.user_id))

    def closed(self, socket: ServerSocket) -> None:
        if socket.closing:
            return
        socket.closing = True
        self.sockets.discard(socket)
        for room_id in sorted(socket.rooms):
            self._do(self.following.leave(socket, room_id))
        self._do(self.attendance.depart(socket, socket.user_id))

    def _hang_up(self, socket: ServerSocket) -> None:
        self._world.seen["hung up"] += 1
        self.closed(socket)
        delay = self._world.network.delay(self.name, socket.client.name)
        self._world.clock.later(delay, lambda: socket.client.holds(socket) and socket.client.cut_off(noticed=True))

    def receive(self, socket: ServerSocket, command: p.JoinRoom | p.LeaveRoom | c.RoomCommand, command_id: str) -> None:
        """What `http.session` makes of a command; a change of a room comes as the shard's command, without its ref."""
        if socket.closing:
            return
        match command:
            case p.JoinRoom():
                self._do(self.joins.join(socket, command, socket.user_id))
            case p.LeaveRoom():
                socket.rooms.discard(command.room_id)
                self._do(self.following.leave(socket, command.room_id))
                socket.send(p.reply_frame(command_id, b"{}"))
            case _:
                self._forward(socket, command, command_id)

    def _forward(self, socket: ServerSocket, command: c.RoomCommand, command_id: str) -> None:
        def handle(answer: Answer | VezaError) -> None:
            if isinstance(answer, VezaError):
                socket.send(p.error_frame(command_id, answer))
            elif isinstance(answer, c.Answer):
                socket.send(p.reply_frame(command_id, answer.data))

        ref = self.request(lambda ref: _with_ref(command, ref), command.room_id, handle)
        self._world.sent(self.name, ref, command, socket)

    def follows(self, room_id: UUID) -> bool:
        return room_id in self.following.rooms

    def inside(self, room_id: UUID) -> list[ServerSocket]:
        entry = self.following.rooms.get(room_id)
        return [] if entry is None else [*entry.sockets, *entry.joiners]


def _with_ref(command: c.RoomCommand, ref: int) -> c.RoomCommand:
    made = msgspec.structs.replace(command)
    made.ref = ref  # type: ignore[union-attr]
    return made
