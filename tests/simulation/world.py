"""All of it: store, shards, gateways, Supervisor, clients; a plan is performed in it and everything is checked."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from simulation.client import Client
from simulation.clock import Chance, Clock
from simulation.database import Database
from simulation.gateway import ServerSocket, SimGateway
from simulation.network import NOTICED_S, Network, Process
from simulation.plan import CLIENTS, GATEWAYS, ROOMS, SECONDS, SHARDS, Action, Plan
from simulation.promises import Broken
from simulation.shard import SimShard
from simulation.store import MessageRow, Store
from simulation.supervisor import START_S, Supervisor
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.partition import PARTITIONS
from veza.realtime.room import RoomRole, RoomType

PEOPLE = [Person(UUID(int=(n << 8) | (n % ROOMS)), name) for n, name in enumerate(("ada", "bob", "cem"), start=16)]
OWNER = PEOPLE[0]
ROOM_IDS = [UUID(int=(number << 8) | number) for number in range(ROOMS)]
ELSEWHERE = dict.fromkeys(range(ROOMS, PARTITIONS), (1, "another"))
# How long everything may take to be well again.
RECOVERY_S = 40.0
CHECK_S = 0.5


class World:
    """`perform` does one action and says whether there was something to do; `tell` gets the story, if one is wanted;
    `seen` counts what happened.
    """

    def __init__(
        self,
        plan: Plan,
        perform: Callable[["World", Action], bool],
        tell: Callable[[float, str], None] | None = None,
    ) -> None:
        self._perform = perform
        self.seen: Counter[str] = Counter()
        self.clock = Clock()
        self.chance = Chance(plan.seed)
        self.network = Network(self.clock, self.chance, calm=plan.calm)
        self.database = Database(self.clock, self.network)
        self.tell: Callable[[str], None] | None = None
        if tell is not None:
            self.tell = lambda text: tell(self.clock.now, text)
        self.trouble = False  # something happened that may cost an answer
        self.shards: dict[str, SimShard] = {}
        self.gateways: dict[str, SimGateway] = {}
        self._plan = plan
        self._dead: dict[str, Process] = {}
        self._refused: set[tuple[str, int]] = set()
        self._sent: dict[UUID, tuple[ServerSocket, int, str, int]] = {}  # command → socket, its number, gateway, ref
        self._count = 0
        self._decoded: dict[bytes, list[dict[str, Any]]] = {}
        self.store = Store(self.clock, {partition: f"shard{partition % SHARDS}" for partition in range(ROOMS)})
        for room_id in ROOM_IDS:
            kind = RoomType.PUBLIC if room_id == ROOM_IDS[-1] else RoomType.GROUP
            roles = {person.id: RoomRole.OWNER if person is OWNER else RoomRole.MEMBER for person in PEOPLE}
            self.store.create(room_id, kind, roles, ())
        self.supervisor = Supervisor(self)
        self._began: Counter[str] = Counter()
        for _ in range(SHARDS):
            self._start_shard()
        for _ in range(GATEWAYS):
            self._start_gateway()
        self.supervisor.reconcile()
        # One person has several sockets, on one gateway or on two.
        self.clients = [Client(self, f"{PEOPLE[n % 3].username}{n // 3 + 1}", PEOPLE[n % 3]) for n in range(CLIENTS)]

    # -- who there is ----------------------------------------------------------------------------------------

    def _start_shard(self) -> None:
        name = f"shard{self._began['shard']}"
        self._began["shard"] += 1
        shard = self.shards[name] = SimShard(self, name)
        self.supervisor.watch(shard)
        self.supervisor.reconcile()

    def _start_gateway(self) -> None:
        name = f"gateway{self._began['gateway']}"
        self._began["gateway"] += 1
        gateway = self.gateways[name] = SimGateway(self, name)
        gateway.router.reroute(ELSEWHERE)
        self.supervisor.watch(gateway)
        self.supervisor.reconcile()

    def shard(self, name: str) -> Process:
        return self.shards.get(name) or self._dead[name]

    def gateway(self, name: str) -> Any:
        return self.gateways.get(name) or self._dead[name]

    def kill(self, process: Process) -> None:
        if not process.alive:
            return
        if tell := self.tell:
            tell(f"{process.name} dies")
        self.trouble = True
        self.network.kill(process)
        self._dead[process.name] = process
        if isinstance(process, SimShard):
            del self.shards[process.name]
            self._refused |= process.refused
            self.clock.later(START_S, self._start_shard)
        elif isinstance(process, SimGateway):
            del self.gateways[process.name]
            for client in self.clients:
                delay = self.network.delay(process.name, client.name)
                self.clock.later(delay, lambda client=client: client.on(process) and client.cut_off(noticed=True))
            self.clock.later(START_S, self._start_gateway)
        self.clock.later(NOTICED_S, lambda: self.supervisor.do(lambda: self.supervisor.lost(process)))

    # -- what clients and actors ask -------------------------------------------------------------------------

    def new_id(self) -> UUID:
        self._count += 1
        return UUID(int=self._count << 64)

    def frames(self, data: bytes) -> list[dict[str, Any]]:
        found = self._decoded.get(data)
        if found is None:
            found = self._decoded[data] = list(_frames(data))
        return found

    def message(self, room_id: UUID, message_id: UUID) -> MessageRow:
        return self.store.rooms[room_id].messages[message_id]

    def sent(self, gateway: str, ref: int, command: c.RoomCommand, socket: ServerSocket) -> None:
        """A gateway takes a command of a socket; these calls are in the socket's order."""
        if isinstance(command, c.DurableCommand):
            self._sent[command.id] = (socket, len(self._sent), gateway, ref)

    @staticmethod
    def name(room_id: UUID) -> str:
        return f"room{room_id.int >> 8}"

    def describe(self, command: p.JoinRoom | p.LeaveRoom | c.RoomCommand) -> str:
        where = self.name(command.room_id)
        match command:
            case p.JoinRoom():
                return f"join_room {where} with last_seq {command.last_seq}"
            case c.Post():
                again = f" ({command.client_msg_id})" if command.client_msg_id else ""
                return f"{command.content!r}{again} to {where}"
        return f"{type(command).__name__} in {where}"

    # -- performing ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Perform the plan, mend everything, and let it come to rest. Raises Broken."""
        for client in self.clients:
            client.connect()
        for action in self._plan.actions:
            self.clock.at(action.at, lambda action=action: self._act(action))
        self.clock.run(SECONDS)
        self._mend()
        deadline = SECONDS + RECOVERY_S
        while self.clock.now < deadline and self._unsettled() is not None:
            self.clock.run(self.clock.now + CHECK_S)
        if what := self._unsettled():
            raise Broken("L", what)
        self._check_order()
        self._check_inside()
        self.seen["fenced"] += self.store.fenced
        self.seen["lost statement"] += self.database.unknown
        self.seen["lost reply"] += self.network.lost_replies

    def _act(self, action: Action) -> None:
        if self._perform(self, action):
            self.seen[action.what] += 1

    def _mend(self) -> None:
        if tell := self.tell:
            tell("from here on nothing fails any more")
        self.network.heal_all()
        self.database.come_back()
        for process in [*self.shards.values(), *self.gateways.values(), self.supervisor]:
            process.wake()
        self.supervisor.reconcile()

    # -- what must be true in the end ------------------------------------------------------------------------

    def _unsettled(self) -> str | None:
        for client in self.clients:
            if not client.connected:
                return f"{client.name} has no connection"
            for command_id, request in client.requests.items():
                return f"{command_id} ({self.describe(request.command)}) has no answer"
            for room_id, view in client.views.items():
                room = self.store.rooms[room_id]
                if not view.wanted:
                    continue
                if room.deleted or client.person.id not in room.members:
                    if room.first_seq > 1:
                        continue  # what would have told it may be gone by retention
                    return f"{client.name} is in {self.name(room_id)}, which it cannot be"
                if not view.live or view.last_seq != room.head:
                    return f"{client.name} has seq {view.last_seq} of {room.head} in {self.name(room_id)}"
        return None if self.supervisor.resting else "the partition map is not settled"

    def _check_order(self) -> None:
        """Commands of one socket to one room stand in its order; one whose refusal was lost was decided again."""
        refused = self._refused.union(*(shard.refused for shard in self.shards.values()))
        for room_id, room in self.store.rooms.items():
            last: dict[ServerSocket, int] = {}
            for event in room.log:
                if event.id not in self._sent:
                    continue
                socket, number, gateway, ref = self._sent[event.id]
                if (gateway, ref) in refused:
                    continue
                if number < last.get(socket, -1):
                    raise Broken(7, f"{self.name(room_id)}: {socket.client.name}'s commands were turned round")
                last[socket] = number

    def _check_inside(self) -> None:
        for gateway in self.gateways.values():
            for room_id, room in self.store.rooms.items():
                for socket in gateway.inside(room_id):
                    if room.deleted or socket.user_id not in room.members:
                        raise Broken(9, f"{socket.client.name} is still in {self.name(room_id)} at {gateway.name}")
                    view = socket.client.views[room_id]
                    if not (socket.client.holds(socket) and view.wanted) and not socket.closing:
                        continue
                    if socket.closing:
                        raise Broken("C", f"a closed socket is still in {self.name(room_id)} at {gateway.name}")
            if leftovers := gateway.following.rooms.keys() - {r for r in ROOM_IDS if gateway.inside(r)}:
                raise Broken("C", f"{gateway.name} follows {[self.name(r) for r in leftovers]} for nobody")


def _frames(data: bytes) -> Any:
    """The frames that were written together."""
    start, end = 0, len(data)
    while start < end:
        size, offset = data[start + 1], 2
        if size == 126:
            size, offset = int.from_bytes(data[start + 2 : start + 4], "big"), 4
        elif size == 127:
            size, offset = int.from_bytes(data[start + 2 : start + 10], "big"), 10
        yield msgspec.json.decode(data[start + offset : start + offset + size])
        start += offset + size
