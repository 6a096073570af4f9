"""A gateway: real feeds, joins and attendance, in a shell that does what `veza.http.hub`, `joining`, `session` and
`sockets` do.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from simulation.limits import SimLimits
from simulation.links import SimLinks
from simulation.network import Process
from simulation.pages import PageReads
from simulation.sockets import SWEEP_S, ServerSocket
from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime import effects as e
from veza.realtime import protocol as p
from veza.realtime.attendance import Attendance
from veza.realtime.following import Following
from veza.realtime.frames import CloseCode
from veza.realtime.joins import Joins
from veza.realtime.routing import Answer, PartitionMap

if TYPE_CHECKING:
    from simulation.world import World

Command = p.JoinRoom | p.LeaveRoom | p.SetPresence | c.RoomCommand


class SimGateway(Process):
    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        self.links = SimLinks(world, self, self._moved)
        self.router = self.links.router
        self.following: Following[ServerSocket] = Following(self.router)
        self.attendance: Attendance[ServerSocket] = Attendance(self.router)
        self.joins = Joins(self.following)
        self.sockets: dict[ServerSocket, None] = {}
        self.woke_at = 0.0
        self._world = world
        # No two processes have the same clock.
        self._skew = world.chance.of(f"{name} runs").random() * 1000
        self._inbox: list[bytes] = []
        self._turns: deque[Iterator[e.Effect]] = deque()
        self._working = False
        self._lagging: dict[ServerSocket, None] = {}
        self._sweeping = False
        self._chance = world.chance.of(f"{name} writes")
        self._pages = PageReads(world, self)
        self.limits = SimLimits(world, self, self._obey)
        self.attendance.loans = self.limits

    @property
    def now(self) -> float:
        return self._world.clock.now + self._skew

    def wake(self) -> None:
        if self.paused:
            self.woke_at = self._world.clock.now
        super().wake()

    def set_map(self, partitions: PartitionMap) -> None:
        self.links.set_map(partitions)

    def _moved(self, partitions: set[int]) -> None:
        self.perform(self.following.moved(partitions))
        self.perform(self.attendance.moved(partitions))

    # -- deliveries ------------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        self._inbox.append(data)
        # What came while the last was written is handled together.
        if len(self._inbox) == 1:
            self.in_turn(self._take_inbox())

    def _take_inbox(self) -> Iterator[e.Effect]:
        taken, self._inbox = self._inbox, []
        yield from self.following.deliver(map(c.decode_deliveries, taken))

    def in_turn(self, effects: Iterator[e.Effect]) -> None:
        """Effects among which are writes to rooms: nobody else writes to rooms meanwhile."""
        self._turns.append(effects)
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
                self._write_later(self._chance.random() * 0.02, effect, rest)
                return True
            if paused and socket not in effect.entry.sockets:
                continue
            if socket.lagging_since is None and not socket.closing:
                socket.write(data)
            else:
                socket.send(data)
        return False

    def _write_later(self, seconds: float, effect: "e.Write[ServerSocket]", rest: list[ServerSocket]) -> None:
        self._world.clock.later(seconds, lambda: self.do(lambda: self._write_on(effect, rest)))

    def _write_on(self, effect: "e.Write[ServerSocket]", sockets: list[ServerSocket]) -> None:
        if not self._write(effect, sockets, paused=True):
            self._working = False
            self._work()

    def _handle(self, shard: str, item: c.Delivery) -> None:
        match item:
            case c.NotOwner():
                self.links.not_owned(shard, item.refs)
            case c.Lagged():
                self._world.seen["lagged"] += 1
                self.perform(self.attendance.lagged(shard))
            case c.AllowanceLent() | c.RecallAllowance():
                self.limits.handle(shard, item)

    # -- effects ---------------------------------------------------------------------------------------------

    def perform(self, effects: Iterable[e.Effect]) -> None:
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.Answers():
                for answer in effect.items:
                    self.router.answered(answer)
            case e.Tell():
                self._tell(effect)
            case e.Say():
                effect.socket.send(effect.data)
            case e.Close():
                self._world.seen["hung up"] += 1
                effect.socket.close(CloseCode.GOING_AWAY, "come back for what you missed")
            case e.Send():
                self.links.send(effect.command, effect.subject)
            case e.Request():
                self.links.request(effect.make, effect.subject, lambda answer: self.perform(effect.then(answer)))
            case e.ReadPage():
                self._pages.read_page(effect)
            case e.ReadLog():
                self._pages.read_log(effect)
            case e.Entered():
                effect.socket.rooms.add(effect.room_id)
            case e.Later():
                seconds = self._chance.uniform(effect.least, effect.most)
                self._world.clock.later(seconds, lambda: self.do(lambda: self.perform(effect.then())))
            case e.Other():
                self._handle(effect.shard, effect.item)

    def _tell(self, effect: "e.Tell[ServerSocket]") -> None:
        for socket, member in effect.entry.sockets.items():
            if member.user_id == effect.but:
                continue
            if socket.lagging_since is None:
                socket.send(effect.frame)
            else:
                # It asks when it wants to know.
                socket.client.presence.missed()

    # -- sockets ---------------------------------------------------------------------------------------------

    def accept(self, socket: ServerSocket) -> None:
        self.sockets[socket] = None
        self.perform(self.attendance.arrive(socket, socket.user_id))

    def closed(self, socket: ServerSocket) -> None:
        """The connection is gone (`websocket.Receiver`)."""
        del self.sockets[socket]
        self._lagging.pop(socket, None)
        for room_id in sorted(socket.rooms):
            self.perform(self.following.leave(socket, room_id))
        self.perform(self.attendance.depart(socket, socket.user_id))
        self.limits.left(socket.user_id)

    def lagging(self, socket: ServerSocket) -> None:
        self._world.seen["socket lags"] += 1
        self._lagging[socket] = None
        if not self._sweeping:
            self._sweeping = True
            self._world.clock.later(SWEEP_S, lambda: self.do(self._sweep))

    def _sweep(self) -> None:
        """Close who takes nothing of a backlog."""
        now = self._world.clock.now
        self._lagging = {socket: None for socket in self._lagging if socket.lagging_since is not None}
        for socket in list(self._lagging):
            if socket.overdue(now):
                socket.close(CloseCode.SLOW_CONSUMER, "too slow")
            socket.check_overdue()
        self._sweeping = bool(self._lagging)
        if self._sweeping:
            self._world.clock.later(SWEEP_S, lambda: self.do(self._sweep))

    def receive(self, socket: ServerSocket, command: Command, command_id: str) -> None:
        """What `http.session` makes of a command; a change of a room comes as the shard's command, without its ref."""
        if not socket.closing:
            self._world.arrived(command, socket)
            self.limits.receive(socket, command, command_id)

    def _obey(self, socket: ServerSocket, command: Command, command_id: str) -> None:
        match command:
            case p.JoinRoom():
                self.perform(self.joins.join(socket, command, socket.user_id))
            case p.LeaveRoom():
                socket.rooms.discard(command.room_id)
                self.perform(self.following.leave(socket, command.room_id))
                socket.send(p.reply_frame(command_id, b"{}"))
            case p.SetPresence():
                self.perform(self.attendance.choose_status(socket, socket.user_id, command.status))
                socket.send(p.reply_frame(command_id, b"{}"))
            case c.Post() | c.EditMessage() if not self.limits.may_write(socket, command, command_id):
                pass
            case _:
                self._forward(socket, command, command_id)

    def _forward(self, socket: ServerSocket, command: c.RoomCommand, command_id: str) -> None:
        def handle(answer: Answer | VezaError) -> None:
            if isinstance(answer, VezaError):
                socket.send(p.error_frame(command_id, answer))
            elif isinstance(answer, c.Answer):
                socket.send(p.reply_frame(command_id, answer.data))

        ref = self.links.request(lambda ref: _with_ref(command, ref), command.room_id, handle)
        self._world.sent(self.name, ref, command)

    def inside(self, room_id: UUID) -> list[ServerSocket]:
        entry = self.following.rooms.get(room_id)
        return [] if entry is None else [*entry.sockets, *entry.joiners]


def _with_ref(command: c.RoomCommand, ref: int) -> c.RoomCommand:
    made = msgspec.structs.replace(command)
    made.ref = ref  # type: ignore[union-attr]
    return made
