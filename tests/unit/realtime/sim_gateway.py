"""A gateway around the real Router and RoomFeed, as `veza.http.hub`, `links` and `joining` drive them.

Sends are batched in `outboxes`; reads of the log wait in `reads` until somebody performs and answers them.
"""

from collections.abc import Callable
from uuid import UUID

from sim_client import Client
from sim_store import Store

from veza.errors import Unavailable, VezaError
from veza.http.links import error_of
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.events import EventKind, RoomEvent, wire
from veza.realtime.feed import RoomFeed
from veza.realtime.partition import partition_of
from veza.realtime.routing import Answer, PartitionMap, Router, Sends

PAGE = 3
Handler = Callable[[Answer | VezaError], None]


class Entry:
    """A followed room: who is in it, who waits for a page, and joins that wait for the feed."""

    def __init__(self) -> None:
        self.feed = RoomFeed()
        self.inside: list[Client] = []
        self.joiners: dict[Client, list[bytes]] = {}
        self.waiting: list[Callable[[], None]] = []
        self.pending = 0
        self.catching_up = False

    @property
    def deserted(self) -> bool:
        return not (self.inside or self.joiners or self.waiting or self.pending)


class Read:
    """A read of the log: performed at one moment, its rows arrive at another."""

    def __init__(self, run: Callable[[], list[RoomEvent]], use: Callable[[list[RoomEvent]], None]) -> None:
        self._run = run
        self._use = use
        self.rows: list[RoomEvent] | None = None

    def perform(self) -> None:
        if self.rows is None:
            self.rows = self._run()

    def answer(self) -> None:
        self.perform()
        self._use(self.rows or [])


class SimGateway:
    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.router = Router()
        self.rooms: dict[UUID, Entry] = {}
        self.outboxes: dict[str, list[c.ShardCommand]] = {}
        self.reads: list[Read] = []
        self.later: list[Callable[[], None]] = []  # what the real one does after a pause
        self.map_wanted = False
        self._store = store

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, command: c.ShardCommand, subject: UUID) -> None:
        self._post(self.router.submit(command, subject))

    def request(self, make: Callable[[int], c.ShardCommand], subject: UUID, handle: Handler) -> None:
        def resolve(answer: Answer | None) -> None:
            handle(Unavailable() if answer is None else error_of(answer) if isinstance(answer, c.Refusal) else answer)

        self._post(self.router.submit(make(self.router.next_ref()), subject, resolve))

    def _post(self, sends: Sends) -> None:
        for shard, command in sends:
            self.outboxes.setdefault(shard, []).append(command)
        if self.router.waiting and not self.router.complete:
            self.map_wanted = True

    def next_call(self, shard: str, at_most: int) -> bytes:
        waiting = self.outboxes[shard]
        call, self.outboxes[shard] = waiting[:at_most], waiting[at_most:]
        return c.encode(c.CommandBatch(self.name, call))

    # -- ownership -------------------------------------------------------------------------------------------

    def shard_lost(self, shard: str) -> None:
        self.outboxes.pop(shard, None)
        self.router.shard_lost(shard)
        self.map_wanted = True

    def set_map(self, partitions: PartitionMap) -> None:
        sends, moved = self.router.reroute(partitions)
        if not moved:
            return
        for shard in set(self.outboxes) - self.router.owners():
            del self.outboxes[shard]
        self._resubscribe([room for room in self.rooms if partition_of(room) in moved])
        self._post(sends)

    def _resubscribe(self, room_ids: list[UUID]) -> None:
        for room_id in room_ids:
            self._subscribe(room_id, self.rooms[room_id])

    def _subscribe(self, room_id: UUID, entry: Entry) -> None:
        def handle(answer: Answer | VezaError) -> None:
            if not isinstance(answer, VezaError) or self.rooms.get(room_id) is not entry:
                return
            if answer.code == "room_not_found":
                self._member_gone(room_id, None)
            else:
                self.later.append(again)

        def again() -> None:
            if self.rooms.get(room_id) is entry:
                self._subscribe(room_id, entry)

        if entry.feed.last_seq is not None:
            self.request(lambda ref: c.Subscribe(ref, room_id), room_id, handle)

    # -- from the shards -------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        batch = c.decode_deliveries(data)
        for item in batch.items:
            match item:
                case c.Events():
                    if entry := self.rooms.get(item.room_id):
                        self._pass_on(item.room_id, entry, list(entry.feed.accept(item.first_seq, item.frames)))
                case c.Answer() | c.Refusal():
                    self.router.answered(item)
                case c.Subscribed():
                    entry = self.rooms.get(item.room_id)
                    if entry is not None and entry.feed.subscribed(item.seq):
                        self._catch_up(item.room_id, entry)
                    self.router.answered(item)
                case c.NotOwner():
                    if self.router.not_owned(batch.shard, item.refs):
                        self.map_wanted = True
                case c.MemberGone():
                    entry = self.rooms.get(item.room_id)
                    if entry is not None and entry.feed.lacks(item.seq):
                        self._catch_up(item.room_id, entry)
                    else:
                        self._member_gone(item.room_id, item.user_id)
                case c.Lagged():
                    self._resubscribe([room for room in self.rooms if self.router.owner(room) == batch.shard])

    def _pass_on(self, room_id: UUID, entry: Entry, frames: list[bytes]) -> None:
        if not frames and entry.feed.wanted is not None:
            self._catch_up(room_id, entry)
        for buffered in entry.joiners.values():
            buffered.extend(frames)
        for client in entry.inside:
            client.show_frames(frames)

    def _member_gone(self, room_id: UUID, user_id: UUID | None) -> None:
        if entry := self.rooms.get(room_id):
            for client in [*entry.inside, *entry.joiners]:
                if user_id in (None, client.person.id):
                    self.leave(client)

    def _catch_up(self, room_id: UUID, entry: Entry) -> None:
        if entry.catching_up or entry.feed.wanted is None or self.rooms.get(room_id) is not entry:
            return
        entry.catching_up = True
        start = entry.feed.last_seq or 0

        def use(events: list[RoomEvent]) -> None:
            entry.catching_up = False
            if self.rooms.get(room_id) is not entry:
                return
            frames = list(entry.feed.caught_up(start + 1, [protocol.frame(wire(event)) for event in events]))
            passed = 0
            for count, event in enumerate(events, 1):
                if event.kind in (EventKind.MEMBER_LEFT, EventKind.ROOM_DELETED):
                    self._pass_on(room_id, entry, frames[passed:count])
                    passed = count
                    left = event.kind is EventKind.MEMBER_LEFT
                    self._member_gone(room_id, UUID(event.body["user_id"]) if left else None)
            self._pass_on(room_id, entry, frames[passed:])
            self._catch_up(room_id, entry)
            if entry.feed.wanted is None:
                waiting, entry.waiting = entry.waiting, []
                for resume in waiting:
                    resume()

        self.reads.append(Read(lambda: self._store.read_after(room_id, start, PAGE), use))

    # -- joining ---------------------------------------------------------------------------------------------

    def join(self, client: Client, last_seq: int | None) -> None:
        room_id = client.room_id
        entry = self.rooms.setdefault(room_id, Entry())
        entry.pending += 1
        client.joining = True

        def handle(answer: Answer | VezaError) -> None:
            entry.pending -= 1
            if isinstance(answer, c.Subscribed):
                self._admitted(client, entry, answer.seq, last_seq)
            elif isinstance(answer, VezaError):
                self._refused(client, answer)
            self._release(room_id, entry)

        self.request(lambda ref: c.Join(ref, room_id, client.person.id), room_id, handle)

    def _refused(self, client: Client, error: VezaError) -> None:
        client.joining = False
        client.refusals.append(error)

    def _admitted(self, client: Client, entry: Entry, seq: int, last_seq: int | None) -> None:
        if entry.feed.wanted is not None:
            entry.waiting.append(lambda: self._admitted(client, entry, seq, last_seq))
            return
        head = max(seq, entry.feed.last_seq or 0)
        if last_seq is None:
            client.base, client.seen = head, []
            last_seq = head
        assert last_seq <= head, f"{client.name} saw {last_seq} and is told that the room ends at {head}"
        if client in entry.inside:
            entry.inside.remove(client)
            client.inside = False
        client.rewind(last_seq)
        if last_seq == head:
            self._enter(client, entry)
            return
        joiner: list[bytes] = []
        limit = min(head - last_seq, PAGE)
        last = limit == head - last_seq
        if last:
            entry.joiners[client] = joiner

        def use(events: list[RoomEvent]) -> None:
            if last and entry.joiners.get(client) is not joiner:
                self._refused(client, Unavailable("The join was overtaken; ask again."))
                return
            for event in events:
                client.show_frames([protocol.frame(wire(event))])
            if last:
                del entry.joiners[client]
                self._enter(client, entry)
                client.show_frames(joiner)
            else:
                self.join(client, client.last_seq)
            self._release(client.room_id, entry)

        self.reads.append(Read(lambda: self._store.read_after(client.room_id, last_seq, limit), use))

    def _enter(self, client: Client, entry: Entry) -> None:
        client.joining, client.inside = False, True
        entry.inside.append(client)

    def leave(self, client: Client) -> None:
        client.inside = False
        if entry := self.rooms.get(client.room_id):
            if client in entry.inside:
                entry.inside.remove(client)
            entry.joiners.pop(client, None)
            self._release(client.room_id, entry)

    def _release(self, room_id: UUID, entry: Entry) -> None:
        if entry.deserted and self.rooms.get(room_id) is entry:
            del self.rooms[room_id]
            self.send(c.Unsubscribe(room_id), room_id)
