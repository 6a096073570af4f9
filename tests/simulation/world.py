"""All of it: store, shards, gateways, Supervisor, clients; a plan is performed in it and everything is checked."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from simulation import presence
from simulation.actions import CLIENTS, DIRECT, GATEWAYS, ROOMS, SECONDS, SHARDS, Action, Plan
from simulation.blocks import Blocks
from simulation.client import Client
from simulation.clock import Chance, Clock
from simulation.database import Database
from simulation.frames import read_frames
from simulation.gateway import Command, SimGateway
from simulation.links import ELSEWHERE
from simulation.meter import Meter
from simulation.network import NOTICED_S, Network, Process
from simulation.promises import Broken
from simulation.references import check_references
from simulation.shard import SimShard
from simulation.sockets import ServerSocket
from simulation.store import Store
from simulation.supervisor import START_S, Supervisor
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.allowance import Limits
from veza.realtime.events import Person, RoomEvent
from veza.realtime.messages import Attachment
from veza.realtime.partition import PARTITIONS, partition_of
from veza.realtime.room import RoomRole, RoomType

PEOPLE = [Person(UUID(int=(n << 8) | (n % ROOMS)), name) for n, name in enumerate(("ada", "bob", "cem"), start=16)]
OWNER = PEOPLE[0]
ROOM_IDS = [UUID(int=(number << 8) | number) for number in range(ROOMS)]
EMPTY = dict.fromkeys(range(ROOMS, PARTITIONS), (1, ELSEWHERE))
# How long everything may take to be well again.
RECOVERY_S = 40.0
CHECK_S = 0.5
# What a shard tells may be on its way so long.
UNDELIVERED_S = 4.0


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
        self.calm = plan.calm
        self.limits = Limits(*plan.limits)
        self.meter = Meter(self, *plan.limits)
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
        self._died_at: dict[SimShard, float] = {}
        self._refused: set[tuple[str, int]] = set()
        self._arrived: dict[UUID, tuple[ServerSocket, int, float]] = {}  # command → socket, its number, when
        self._refs: dict[UUID, tuple[str, int]] = {}  # command → gateway, ref
        self._flooded: set[UUID] = set()
        self.unsure: set[UUID] = set()  # users of whom something may be noted later than it was meant to be
        self._count = 0
        self._decoded: dict[bytes, list[dict[str, Any]]] = {}
        self.people = PEOPLE
        self.room_ids = {str(room_id): room_id for room_id in ROOM_IDS}
        self.attached: Counter[UUID] = Counter()  # attachment → messages that were to carry it
        self.blocks = Blocks(self, ROOM_IDS[DIRECT], (PEOPLE[0], PEOPLE[1]))
        owners = {partition: f"shard{partition % SHARDS}" for partition in range(ROOMS)}
        self.store = Store(self.clock, owners, self._before_it_is_stored)
        self._furnish()
        self.supervisor = Supervisor(self)
        self._began: Counter[str] = Counter()
        for _ in range(SHARDS):
            self._start_shard()
        for _ in range(GATEWAYS):
            self._start_gateway()
        self.supervisor.reconcile()
        # One person has several sockets, on one gateway or on two.
        self.clients = [Client(self, f"{PEOPLE[n % 3].username}{n // 3 + 1}", PEOPLE[n % 3]) for n in range(CLIENTS)]

    def _furnish(self) -> None:
        self.store.names = {person.username: person.id for person in PEOPLE}
        everybody = {person.id: RoomRole.OWNER if person is OWNER else RoomRole.MEMBER for person in PEOPLE}
        for room_id in ROOM_IDS[:DIRECT]:
            kind = RoomType.PUBLIC if room_id == ROOM_IDS[DIRECT - 1] else RoomType.GROUP
            self.store.create(room_id, kind, everybody, ())
        two = {person.id: RoomRole.MEMBER for person in PEOPLE[:2]}
        self.store.create(ROOM_IDS[DIRECT], RoomType.DIRECT, two, [person.id for person in PEOPLE[2:]])

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
        gateway.router.reroute(EMPTY)
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
        self.meter.died()
        self.network.kill(process)
        self._dead[process.name] = process
        if isinstance(process, SimShard):
            del self.shards[process.name]
            self._refused |= process.refused
            self._died_at[process] = self.clock.now
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
            found = self._decoded[data] = list(read_frames(data))
        return found

    def arrived(self, command: Command, socket: ServerSocket) -> None:
        """A gateway reads a command of a socket; these calls are in the socket's order."""
        if isinstance(command, c.DurableCommand):
            self._arrived[command.id] = socket, len(self._arrived), self.clock.now

    def sent(self, gateway: str, ref: int, command: c.RoomCommand) -> None:
        """A gateway hands a command of a socket to a shard."""
        if isinstance(command, c.DurableCommand):
            self._refs[command.id] = gateway, ref

    def _before_it_is_stored(self, event: RoomEvent) -> None:
        self.blocks.stored(event, self._arrived[event.id][2])
        check_references(self.store, event)

    def upload(self, room_id: UUID, person: Person, *, again: bool) -> UUID:
        """An attachment of this person, which another message may have `again`."""
        mine = [a.id for a in self.store.attachments.values() if a.user_id == person.id]
        attachment_id = mine[-1] if again and mine else self.new_id()
        if attachment_id not in self.store.attachments:
            row = Attachment(attachment_id, room_id, person.id, None, "a.png", "image/png", 1)
            self.store.attachments[attachment_id] = row
        self.attached[attachment_id] += 1
        return attachment_id

    def flooded(self, subject: UUID) -> None:
        """So much of it waits that no more is taken."""
        self.seen["flooded"] += 1
        self._flooded.add(subject)

    def disturbed(self, room_id: UUID) -> bool:
        """Whether something has happened that may cost an answer about this room."""
        return self.trouble or room_id in self._flooded

    def owner_of(self, user_id: UUID) -> SimShard | None:
        """The shard that owns what there is of a user."""
        _, owner = self.supervisor.map.get(partition_of(user_id), (0, ""))
        return self.shards.get(owner)

    def unheard(self, user_id: UUID) -> bool:
        """Whether a shard has died with what it was about to tell of a user."""
        return any(
            shard.news.noted.get(user_id, -UNDELIVERED_S) > died_at - UNDELIVERED_S
            for shard, died_at in self._died_at.items()
        )

    def person(self, user_id: UUID) -> str:
        return next(person.username for person in PEOPLE if person.id == user_id)

    @staticmethod
    def name(room_id: UUID) -> str:
        return f"room{room_id.int >> 8}"

    def describe(self, command: Command) -> str:
        if isinstance(command, p.SetPresence):
            return f"set_presence {command.status}"
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
        self._come_to_rest()
        self._check_order()
        self._check_inside()
        self.meter.check()
        self.seen["fenced"] += self.store.fenced
        self.seen["lost statement"] += self.database.unknown
        self.seen["lost reply"] += self.network.lost_replies

    def _come_to_rest(self) -> None:
        shown_by = SECONDS + presence.longest_s()
        while True:
            what, wrong = self._unsettled(), presence.wrong(self)
            if what is None and wrong is None:
                return
            if wrong is not None and self.clock.now >= shown_by:
                raise Broken("P", wrong)
            if what is not None and self.clock.now >= SECONDS + RECOVERY_S:
                raise Broken("L", what)
            self.clock.run(self.clock.now + CHECK_S)

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
        for client in self.clients:
            client.take(None)
        self.supervisor.reconcile()

    # -- what must be true in the end ------------------------------------------------------------------------

    def _unsettled(self) -> str | None:
        for client in self.clients:
            if client.away:
                continue
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
        for gateway in self.gateways.values():
            for socket in gateway.sockets:
                if socket.closing:
                    return f"{socket.client.name} is being closed"
        return None if self.supervisor.resting else "the partition map is not settled"

    def _check_order(self) -> None:
        """Commands of one socket to one room stand in its order; one whose refusal was lost was decided again."""
        refused = self._refused.union(*(shard.refused for shard in self.shards.values()))
        for room_id, room in self.store.rooms.items():
            last: dict[ServerSocket, int] = {}
            for event in room.log:
                socket, number, _ = self._arrived[event.id]
                if self._refs[event.id] in refused:
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
