"""A gateway's routing: what waits is sent again, in order, to whoever owns it, and answered once."""

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.partition import PARTITIONS
from veza.realtime.routing import Answer, PartitionMap, Router, Sends

SENDER = Person(UUID(int=1), "someone")
ROOMS = [UUID(int=0), UUID(int=1)]
rooms = st.sampled_from(ROOMS)
shards = st.sampled_from(["shard1", "shard2"])


def whole(epoch: int, owner: str) -> PartitionMap:
    return dict.fromkeys(range(PARTITIONS), (epoch, owner))


def post(router: Router, room: UUID = ROOMS[0]) -> c.Post:
    ref = router.next_ref()
    return c.Post(ref, room, UUID(int=1000 + ref), SENDER, "hello")


class Routing(RuleBasedStateMachine):
    """Shards are two queues that answer or refuse; ownership moves at will."""

    @initialize()
    def begin(self) -> None:
        self.router = Router()
        self.epochs = dict.fromkeys((0, 1), 0)
        self.owners: dict[int, str] = {}
        self.queues: dict[str, list[c.ShardCommand]] = {"shard1": [], "shard2": []}
        self.answers: dict[int, int] = {}
        self.first_sent: dict[str, list[int]] = {}

    def _send(self, sends: Sends) -> None:
        for shard, command in sends:
            self.queues[shard].append(command)

    @rule(room=rooms, wants=st.booleans())
    def submit(self, room: UUID, wants: bool) -> None:
        if not wants:
            self._send(self.router.submit(c.Unsubscribe(room), room))
            return
        command = post(self.router, room)
        self.answers[command.ref] = 0

        def resolve(answer: Answer | None) -> None:
            assert answer is not None
            self.answers[answer.ref] += 1

        self._send(self.router.submit(command, room, resolve))

    @rule(partition=st.sampled_from([0, 1]), shard=shards)
    def move(self, partition: int, shard: str) -> None:
        self.epochs[partition] += 1
        self.owners[partition] = shard

    @rule()
    def hear(self) -> None:
        """The map arrives; an older one afterwards changes nothing."""
        sends, _ = self.router.reroute({p: (self.epochs[p], shard) for p, shard in self.owners.items()})
        self._send(sends)
        older: PartitionMap = {p: (self.epochs[p] - 1, "shard1") for p in self.owners}
        assert self.router.reroute(older) == ([], set())

    @rule(shard=shards)
    def work(self, shard: str) -> None:
        queue, self.queues[shard] = self.queues[shard], []
        for command in queue:
            if isinstance(command, c.Post):
                partition = command.room_id.int
                if self.owners.get(partition) == shard and command.epoch == self.epochs[partition]:
                    self.router.answered(c.Answer(command.ref, b"{}", command.epoch))
                else:
                    self.router.not_owned(shard, [(command.ref, command.epoch)])

    @rule(shard=shards)
    def die(self, shard: str) -> None:
        self.queues[shard].clear()
        self.router.shard_lost(shard)
        assert shard not in self.router.owners()

    @invariant()
    def each_is_answered_at_most_once(self) -> None:
        assert set(self.answers.values()) <= {0, 1}
        assert self.router.waiting == sum(not count for count in self.answers.values())

    @invariant()
    def order_is_kept_in_each_queue(self) -> None:
        """Of one room and epoch, what stands in a queue stands there in the order in which it was given."""
        for queue in self.queues.values():
            for room in ROOMS:
                for epoch in set(self.epochs.values()):
                    last = [k.ref for k in queue if isinstance(k, c.Post) and k.room_id == room and k.epoch == epoch]
                    assert sorted(set(last)) == list(dict.fromkeys(last))

    def teardown(self) -> None:
        if not hasattr(self, "router"):
            return
        for partition in (0, 1):
            self.owners.setdefault(partition, "shard1")
        for _ in range(4):
            self.hear()
            for shard in self.queues:
                self.work(shard)
        assert set(self.answers.values()) <= {1}


TestRouting = Routing.TestCase


def given_up(router: Router, command: c.Post) -> list[Answer | None]:
    heard: list[Answer | None] = []
    router.submit(command, command.room_id, heard.append, deadline=10.0)
    return heard


def test_without_a_map_everything_waits() -> None:
    router = Router()
    command = post(router)
    heard = given_up(router, command)
    assert router.owner(ROOMS[0]) is None
    assert not router.complete
    sends, moved = router.reroute(whole(1, "shard1"))
    assert [(shard, sent) for shard, sent in sends] == [
        ("shard1", c.Post(1, ROOMS[0], command.id, SENDER, "hello", again=True, epoch=1))
    ]
    assert moved == set(range(PARTITIONS))
    assert router.complete
    assert router.owners() == {"shard1"}
    assert router.one_of_each_owner() == [UUID(int=255)]
    assert heard == []


def test_what_cannot_be_sent_is_given_up() -> None:
    router = Router()
    router.reroute(whole(1, "shard1"))
    command = post(router)
    heard = given_up(router, command)
    router.give_up(c.Unsubscribe(ROOMS[0]))
    assert heard == []
    router.give_up(command)
    router.give_up(command)
    assert heard == [None]


def test_deadlines() -> None:
    router = Router()
    heard = given_up(router, post(router))
    router.expire(9.9)
    assert heard == []
    router.expire(10.0)
    router.expire(11.0)
    assert heard == [None]
    assert router.waiting == 0


def test_the_same_owner_under_a_newer_epoch_is_sent_everything_again() -> None:
    """It lost the partition and got it back: what it was sent before, it refuses."""
    router = Router()
    router.reroute(whole(1, "shard1"))
    command = post(router)
    given_up(router, command)
    sends, moved = router.reroute({0: (3, "shard1")})
    assert moved == {0}
    assert [(shard, sent.epoch) for shard, sent in sends] == [("shard1", 3)]
    assert command.epoch == 1  # the copy in the outbox says what it said
    assert router.reroute({0: (3, "shard1")}) == ([], set())


def test_a_refusal_of_the_first_copy_says_nothing_of_the_second() -> None:
    router = Router()
    router.reroute(whole(1, "shard1"))
    command = post(router)
    heard = given_up(router, command)
    router.reroute({0: (2, "shard2")})
    router.reroute({0: (3, "shard1")})
    assert not router.not_owned("shard1", [(command.ref, 1)])
    assert router.owner(ROOMS[0]) == "shard1"
    router.answered(c.Refusal(command.ref, "RoomNotFound", [], 1))
    router.answered(c.Subscribed(command.ref, ROOMS[0], 1, 1))
    assert heard == []
    stored = c.Answer(command.ref, b"{}", 1)  # stored is stored, whoever says it
    router.answered(stored)
    router.answered(c.Refusal(command.ref, "RoomNotFound", [], 3))
    assert heard == [stored]


def test_a_refusal_takes_the_owner_away_until_a_map_gives_it_back() -> None:
    router = Router()
    router.reroute(whole(1, "shard1"))
    first, second = post(router), post(router)
    given_up(router, first)
    assert router.not_owned("shard1", [(first.ref, 1), (77, 1)])
    assert not router.not_owned("shard1", [(first.ref, 1)])
    assert router.submit(second, second.room_id, lambda _: None) == []
    sends, moved = router.reroute(whole(1, "shard1"))
    assert moved == {0}
    assert [sent.ref for _, sent in sends if isinstance(sent, c.Post)] == [first.ref, second.ref]


def test_what_is_not_durable_is_sent_again_as_it_is() -> None:
    router = Router()
    join = c.Join(router.next_ref(), ROOMS[0], SENDER.id)
    router.submit(join, ROOMS[0], lambda _: None)
    sends, _ = router.reroute(whole(4, "shard1"))
    assert sends == [("shard1", c.Join(1, ROOMS[0], SENDER.id, epoch=4))]


def test_only_what_moved_is_sent_again() -> None:
    router = Router()
    router.reroute(whole(1, "shard1"))
    for room in ROOMS:
        given_up(router, post(router, room))
    sends, moved = router.reroute({**whole(1, "shard1"), 1: (2, "shard2")})
    assert moved == {1}
    assert [(shard, sent.epoch) for shard, sent in sends] == [("shard2", 2)]


def test_the_owner_of_what_waits_may_be_given_back() -> None:
    """One command is refused, another is not answered yet: the second is on its way and goes no second time."""
    router = Router()
    router.reroute(whole(1, "shard1"))
    first, second = post(router), post(router)
    given_up(router, first)
    given_up(router, second)
    router.not_owned("shard1", [(first.ref, 1)])
    sends, _ = router.reroute(whole(1, "shard1"))
    assert [sent.ref for _, sent in sends if isinstance(sent, c.Post)] == [first.ref]
