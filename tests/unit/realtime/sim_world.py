"""The whole of it: a store, shards, gateways, clients and what a Supervisor does, with every step chosen outside.

`enabled` lists what could happen next; `quiesce` lets everything happen until nothing is left; `check` states what
must be true at every moment, `check_settled` what must be true in the end.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sim_client import Client, Request
from sim_gateway import SimGateway
from sim_shard import SimShard, Statement
from sim_store import Store, StoredRoom

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime.events import EventKind, Person
from veza.realtime.room import RoomRole, RoomType
from veza.realtime.routing import Answer, PartitionMap

Step = tuple[str, Callable[[], None]]
PARTITIONS = (0, 1, 2)
ROOMS = [UUID(int=(number << 8) | partition) for number, partition in ((1, 0), (2, 0), (3, 1), (4, 2))]
PEOPLE = [Person(UUID(int=(number << 8) | 200), f"person{number}") for number in range(1, 4)]
OWNER, MEMBER, GUEST = PEOPLE
ELSEWHERE = dict.fromkeys(range(3, 256), (1, "another"))
MANY = 1000


class World:
    """Two shards, two gateways, four rooms in three partitions; six sockets, some of one person.

    `losses` counts what may cost a client its answer: lost connections to the store.
    """

    def __init__(self) -> None:
        owners = {0: "shard1", 1: "shard1", 2: "shard2"}
        self.store = Store(owners)
        for room_id in ROOMS:
            members = {OWNER.id: RoomRole.OWNER, MEMBER.id: RoomRole.MEMBER, GUEST.id: RoomRole.MEMBER}
            self.store.rooms[room_id] = StoredRoom(RoomType.GROUP, "room", members)
        self.shards = {name: SimShard(name, self.store) for name in ("shard1", "shard2")}
        self.gateways = {name: SimGateway(name, self.store) for name in ("gateway1", "gateway2")}
        self.clients: list[Client] = []
        self.requests: list[Request] = []
        self.losses = 0
        self.asked = 0  # commands that store no event, still without an answer
        self._refused: set[tuple[str, int]] = set()  # by shards that are dead
        self._zombies: list[Statement] = []  # statements of dead shards
        self._orders: dict[str, list[dict[int, int]]] = {name: [] for name in self.shards}
        self._maps: dict[str, list[PartitionMap]] = {name: [] for name in self.gateways}
        self._map: PartitionMap = {}
        self._next_map: PartitionMap | None = None  # until the shards have been told
        self._count = 0
        for index, person in enumerate(PEOPLE * 2):
            for room_id in ROOMS:
                gateway = f"gateway{index % 2 + 1}"
                self.clients.append(Client(f"socket{index + 1}", person, room_id, gateway))
        self._publish(set(self.shards))
        self._settle_map()
        for name in self.gateways:
            self.tell_gateway(name, 0)

    # -- clients ---------------------------------------------------------------------------------------------

    def client(self, index: int) -> Client:
        return self.clients[index % len(self.clients)]

    def post(self, client: Client, client_msg_id: str | None) -> None:
        def make(ref: int, command_id: UUID) -> c.DurableCommand:
            content = f"{client.name} {command_id.int}"
            return c.Post(ref, client.room_id, command_id, client.person, content, client_msg_id)

        self._request(client, make)

    def change_guest(self, client: Client, *, join: bool) -> None:
        """The room's owner takes the guest in, or out."""

        def make(ref: int, command_id: UUID) -> c.DurableCommand:
            kind = c.AddMember if join else c.RemoveMember
            return kind(ref, client.room_id, command_id, OWNER, GUEST)

        self._request(client, make)

    def rename(self, client: Client) -> None:
        self._request(client, lambda ref, i: c.UpdateRoom(ref, client.room_id, i, OWNER, f"name {i.int}"))

    def mark_read(self, client: Client) -> None:
        seq = client.last_seq or 0
        self._ask(client, lambda ref: c.MarkRead(ref, client.room_id, client.person.id, seq))

    def typing(self, client: Client, *, is_typing: bool) -> None:
        self._ask(client, lambda ref: c.Typing(ref, client.room_id, client.person.id, is_typing))

    def _ask(self, client: Client, make: Callable[[int], c.ShardCommand]) -> None:
        """What stores no event: it wants one answer, whatever that is."""
        self.asked += 1

        def answered(_: Answer | VezaError) -> None:
            self.asked -= 1
            assert self.asked >= 0, "answered twice"

        self.gateways[client.gateway].request(make, client.room_id, answered)

    def _request(self, client: Client, make: Callable[[int, UUID], c.DurableCommand]) -> None:
        self._count += 1
        command_id = UUID(int=self._count << 64)
        gateway = self.gateways[client.gateway]

        def made(ref: int) -> c.DurableCommand:
            command = make(ref, command_id)
            request.command = command
            return command

        request = Request(command_id, self._count, client, make(0, command_id))
        self.requests.append(request)
        gateway.request(made, client.room_id, lambda answer: self._answered(request, answer))

    def _answered(self, request: Request, answer: Answer | VezaError) -> None:
        request.answers.append(answer)
        assert len(request.answers) == 1, "answered twice"
        if isinstance(answer, VezaError):
            assert answer.code != "unavailable" or self.losses, "an error without a cause"
            assert answer.code in ("unavailable", "conflict", "not_a_member", "room_not_found"), answer.code
            if request.command.room_id and isinstance(request.command, c.Post):
                assert answer.code != "room_not_found" or request.command.sender == GUEST
            return
        said = request.acknowledged
        assert said is not None
        log = self.store.rooms[request.command.room_id].events
        assert said["seq"] <= len(log), "acknowledged before it was stored"
        event = log[said["seq"] - 1]
        assert event.id == UUID(said["message_id"])
        assert said["duplicate"] == (event.id != request.id)
        if said["duplicate"]:
            assert isinstance(request.command, c.Post)
            assert event.client_msg_id == request.command.client_msg_id is not None
            assert event.sender == request.command.sender

    def join(self, client: Client, *, fresh: bool) -> None:
        if not client.joining:
            if not fresh and client.base is None:
                client.base = 0
            self.gateways[client.gateway].join(client, None if fresh else client.last_seq)

    def leave(self, client: Client) -> None:
        if client.inside and not client.joining:
            self.gateways[client.gateway].leave(client)

    # -- the Supervisor --------------------------------------------------------------------------------------

    # Shards are told before gateways, and one map is settled before the next is made.

    def move(self, partitions: set[int], to: int, *, graceful: bool) -> None:
        """Give partitions to another shard. Gracefully, the old owner is told first, and else not at all."""
        self._settle_map()
        names = sorted(self.shards)
        name = names[to % len(names)]
        moves = {p: name for p in partitions if self.store.owners[p] != name}
        if not moves:
            return
        givers = {self.store.owners[p] for p in moves}
        read = dict(self.store.epochs)
        if graceful:
            for giver in givers & set(self.shards):
                kept = {p: read[p] for p, owner in self.store.owners.items() if owner == giver and p not in moves}
                self.shards[giver].own(kept)
        self._publish(set(self.shards) - (set() if graceful else givers), read | self.store.take(moves))

    def _publish(self, told: set[str], epochs: dict[int, int] | None = None) -> None:
        epochs = epochs or dict(self.store.epochs)
        owners = dict(self.store.owners)
        for name in told:
            self._orders[name].append({p: epochs[p] for p, owner in owners.items() if owner == name})
        self._next_map = {**ELSEWHERE, **{p: (epochs[p], owner) for p, owner in owners.items()}}

    def publish(self) -> None:
        """The map once more, as after an actor was silent for a while."""
        self._settle_map()
        self._publish(set(self.shards))

    def tell_gateways(self) -> None:
        if self._next_map is not None:
            self._map, self._next_map = self._next_map, None
            for maps in self._maps.values():
                maps.append(self._map)

    def _settle_map(self) -> None:
        for name, orders in self._orders.items():
            while orders:
                self.tell_shard(name)
        self.tell_gateways()

    def crash(self, index: int) -> None:
        """A shard dies with all it has not delivered; the others take over, and a new one takes its place."""
        self._settle_map()
        name = sorted(self.shards)[index % len(self.shards)]
        dead = self.shards.pop(name)
        del self._orders[name]
        self._refused |= dead.refused
        if dead.statement is not None and not dead.statement.performed:
            self._zombies.append(dead.statement)
        self._zombies.extend(dead.abandoned)
        for gateway in self.gateways.values():
            if name in gateway.outboxes:
                gateway.shard_lost(name)
        self._count += 1
        fresh = f"shard{self._count + 2}"
        self.shards[fresh] = SimShard(fresh, self.store)
        self._orders[fresh] = []
        heir = next(other for other in sorted(self.shards) if other != fresh)
        moves = {p: heir for p, owner in self.store.owners.items() if owner == name}
        self.store.take(moves)
        self._publish(set(self.shards))

    def tell_shard(self, name: str) -> None:
        self.shards[name].own(self._orders[name].pop(0))

    def tell_gateway(self, name: str, index: int) -> None:
        self.gateways[name].set_map(self._maps[name].pop(index))

    def fetch_map(self, gateway: SimGateway) -> None:
        gateway.map_wanted = False
        gateway.set_map(self._map)

    # -- the network and the store ---------------------------------------------------------------------------

    def send(self, gateway: SimGateway, name: str, at_most: int) -> None:
        if name in self.shards:
            self.shards[name].submit(gateway.next_call(name, at_most))
        else:
            gateway.shard_lost(name)

    def deliver(self, shard: SimShard, name: str, at_most: int) -> None:
        waiting = shard.outboxes[name]
        call, shard.outboxes[name] = waiting[:at_most], waiting[at_most:]
        self.gateways[name].deliver(c.encode(c.DeliveryBatch(shard.name, call)))

    def repeat(self, shard: SimShard, name: str) -> None:
        """Deliver a copy of what is on its way; nothing that ends a membership, for that has a meaning in time."""
        kinds = c.Events | c.Answer | c.Refusal | c.Subscribed | c.NotOwner
        call: list[c.Delivery] = [item for item in shard.outboxes[name][:1] if isinstance(item, kinds)]
        self.gateways[name].deliver(c.encode(c.DeliveryBatch(shard.name, call)))

    def lose(self, shard: SimShard) -> None:
        self.losses += 1
        shard.lose()

    def enabled(self, at_most: int = MANY) -> list[Step]:
        """Everything that may happen next, but for what clients and fate do."""
        steps: list[Step] = []

        def may(what: str, step: Callable[..., Any], *arguments: Any) -> None:
            steps.append((what, lambda: step(*arguments)))

        if self._next_map is not None and not any(self._orders.values()):
            may("the Supervisor tells the gateways", self.tell_gateways)
        for gateway in self.gateways.values():
            for name in [name for name, waiting in gateway.outboxes.items() if waiting]:
                may(f"{gateway.name} sends to {name}", self.send, gateway, name, at_most)
            for index in range(len(self._maps[gateway.name])):
                may(f"{gateway.name} is told map {index}", self.tell_gateway, gateway.name, index)
            if gateway.map_wanted and not gateway.router.complete:
                may(f"{gateway.name} asks for the map", self.fetch_map, gateway)
            for read in gateway.reads:
                if read.rows is None:
                    may(f"{gateway.name} reads", read.perform)
                may(f"{gateway.name} has read", self._answer_read, gateway, read)
            if gateway.later:
                may(f"{gateway.name} tries again", lambda g: g.later.pop(0)(), gateway)
        for shard in self.shards.values():
            self._enable_shard(shard, may, at_most)
        for statement in self._zombies:
            may("a late statement runs", self._run_zombie, self._zombies, statement)
        return steps

    def _enable_shard(self, shard: SimShard, may: Callable[..., None], at_most: int) -> None:
        for name in [name for name, items in shard.outboxes.items() if items]:
            may(f"{shard.name} delivers to {name}", self.deliver, shard, name, at_most)
        if shard.idle and shard.mailbox:
            may(f"{shard.name} begins", shard.begin, at_most)
        if shard.idle and shard.unsettled is not None:
            may(f"{shard.name} settles", lambda: shard.recover(impatient=False))
        if shard.statement is not None:
            if not shard.statement.performed:
                may(f"{shard.name}'s statement runs", shard.statement.perform)
            may(f"{shard.name} hears of its statement", shard.answer)
        if self._orders[shard.name]:
            may(f"{shard.name} is told what it owns", self.tell_shard, shard.name)
        elif self._next_map is None and len(shard.core.epochs) != sum(
            owner == shard.name for _, owner in self._map.values()
        ):
            may(f"the Supervisor sees what {shard.name} owns", self.publish)
        for statement in shard.abandoned:
            may(f"a lost statement of {shard.name} runs", self._run_zombie, shard.abandoned, statement)

    @staticmethod
    def _answer_read(gateway: SimGateway, read: Any) -> None:
        gateway.reads.remove(read)
        read.answer()

    @staticmethod
    def _run_zombie(statements: list[Statement], statement: Statement) -> None:
        statements.remove(statement)
        statement.perform()

    def quiesce(self) -> None:
        """Let everything happen that can. It must come to an end."""
        for turn in range(3000):
            steps = self.enabled()
            if not steps:
                return
            steps[turn % len(steps)][1]()  # everyone's turn comes
        raise AssertionError(f"no end: {[what for what, _ in steps]}")

    # -- what must hold --------------------------------------------------------------------------------------

    def check(self) -> None:
        assert self.store.conflicts == 0, "a unique index had to stop the core"
        for (room_id, _), seq in self.store.reads.items():
            assert seq <= len(self.store.rooms[room_id].events)
        for client in self.clients:
            if client.base is not None:
                log = self.store.rooms[client.room_id].events[client.base : client.last_seq]
                assert [str(event.id) for event in log] == [event["id"] for event in client.seen]

    def check_settled(self) -> None:
        self.check()
        assert all(len(request.answers) == 1 for request in self.requests), "a command without an answer"
        assert not self.asked, "a question without an answer"
        for client in self.clients:
            assert not client.joining, "a join without an answer"
            if client.inside:
                assert client.last_seq == len(self.store.rooms[client.room_id].events), "a reader was left behind"
        self._check_once()
        refused = self._refused.union(*(shard.refused for shard in self.shards.values()))
        for room_id in self.store.rooms:
            self._check_log(room_id, refused)

    def _check_once(self) -> None:
        """What was acknowledged is stored once; the same client_msg_id names one message."""
        named: dict[tuple[UUID, UUID, str], set[str]] = {}
        for request in self.requests:
            said, command = request.acknowledged, request.command
            if said is not None and isinstance(command, c.Post) and command.client_msg_id is not None:
                key = (command.room_id, command.sender.id, command.client_msg_id)
                named.setdefault(key, set()).add(said["message_id"])
        assert all(len(ids) == 1 for ids in named.values())

    def _check_log(self, room_id: UUID, refused: set[tuple[str, int]]) -> None:
        """One order, each socket's own order in it, and nothing by who was no member at that moment.

        A command whose refusal was lost is decided again, later: it has no place in its socket's order.
        """
        events = self.store.rooms[room_id].events
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        requests = {request.id: request for request in self.requests}
        last: dict[str, int] = {}
        members = {person.id for person in PEOPLE}
        for event in events:
            request = requests[event.id]
            client = request.client
            if (client.gateway, request.command.ref) not in refused:
                assert request.number > last.get(client.name, 0), f"{client.name}'s order was turned round"
                last[client.name] = request.number
            assert event.sender.id in members
            if event.kind is EventKind.MEMBER_JOINED:
                members.add(UUID(event.body["user_id"]))
            elif event.kind is EventKind.MEMBER_LEFT:
                members.remove(UUID(event.body["user_id"]))
