"""Two shards, two gateways and a store: whatever happens between them, each room has one order and loses nothing."""

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sim_world import MANY, PARTITIONS, World

clients = st.integers(0, 23)
shards = st.integers(0, 1)
client_msg_ids = st.sampled_from(["a", "b", "c"])


class Failover(RuleBasedStateMachine):
    """Clients and fate are rules; `proceed` lets any of the things happen that are under way."""

    @initialize(maps=st.booleans())
    def begin(self, maps: bool) -> None:
        self.world = World()
        for client in self.world.clients[:4] + self.world.clients[12:16]:
            self.world.join(client, fresh=False)
        if maps:
            self.world.quiesce()

    # -- clients ---------------------------------------------------------------------------------------------

    @rule(client=clients, times=st.integers(1, 3))
    def post(self, client: int, times: int) -> None:
        for _ in range(times):
            self.world.post(self.world.client(client), None)

    @rule(client=clients, client_msg_id=client_msg_ids)
    def post_with_id(self, client: int, client_msg_id: str) -> None:
        """The first time a message; again, a retry, by the same person from any of their sockets."""
        self.world.post(self.world.client(client), client_msg_id)

    @rule(client=clients, fresh=st.booleans())
    def join(self, client: int, fresh: bool) -> None:
        self.world.join(self.world.client(client), fresh=fresh)

    @rule(client=clients)
    def leave(self, client: int) -> None:
        self.world.leave(self.world.client(client))

    @rule(client=clients, join=st.booleans())
    def change_guest(self, client: int, join: bool) -> None:
        self.world.change_guest(self.world.client(client), join=join)

    @rule(client=clients)
    def rename(self, client: int) -> None:
        self.world.rename(self.world.client(client))

    @rule(client=clients)
    def mark_read(self, client: int) -> None:
        self.world.mark_read(self.world.client(client))

    @rule(client=clients, is_typing=st.booleans(), shard=shards)
    def typing(self, client: int, is_typing: bool, shard: int) -> None:
        self.world.typing(self.world.client(client), is_typing=is_typing)
        list(self.world.shards.values())[shard].tick()

    # -- fate ------------------------------------------------------------------------------------------------

    @rule(partitions=st.sets(st.sampled_from(PARTITIONS), min_size=1), to=shards, graceful=st.booleans())
    def move(self, partitions: set[int], to: int, graceful: bool) -> None:
        """Without grace, the old owner is taken for paused: it is told nothing and finds out by its next commit."""
        self.world.move(partitions, to, graceful=graceful)

    @rule()
    def publish(self) -> None:
        self.world.publish()

    @rule(shard=shards)
    def crash(self, shard: int) -> None:
        self.world.crash(shard)

    @rule(shard=shards)
    def lose_connection(self, shard: int) -> None:
        found = list(self.world.shards.values())[shard]
        if found.statement is not None:
            self.world.lose(found)

    @rule(shard=shards)
    def lose_patience(self, shard: int) -> None:
        """The store stays away while a commit is unsettled."""
        found = list(self.world.shards.values())[shard]
        if found.idle and found.unsettled is not None:
            found.recover(impatient=True)
            self.world.lose(found)

    @rule(shard=shards, gateway=st.integers(1, 2))
    def cut_back(self, shard: int, gateway: int) -> None:
        list(self.world.shards.values())[shard].cut_back(f"gateway{gateway}")

    @rule(shard=shards, gateway=st.integers(1, 2))
    def repeat(self, shard: int, gateway: int) -> None:
        found = list(self.world.shards.values())[shard]
        if found.outboxes.get(f"gateway{gateway}"):
            self.world.repeat(found, f"gateway{gateway}")

    # -- what is under way -----------------------------------------------------------------------------------

    def _proceed(self, data: st.DataObject, times: int, at_most: int) -> None:
        for _ in range(times):
            steps = self.world.enabled(at_most)
            if not steps:
                return
            what, step = steps[data.draw(st.integers(0, len(steps) - 1))]
            note(what)
            step()

    @rule(data=st.data(), times=st.integers(1, 4), at_most=st.sampled_from([1, 2, MANY]))
    def proceed(self, data: st.DataObject, times: int, at_most: int) -> None:
        self._proceed(data, times, at_most)

    @rule(data=st.data(), times=st.integers(1, 12))
    def proceed_far(self, data: st.DataObject, times: int) -> None:
        self._proceed(data, times, MANY)

    @rule()
    def settle(self) -> None:
        self.world.quiesce()
        self.world.check_settled()

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.quiesce()
        self.world.check_settled()


TestFailover = Failover.TestCase
# The rarest stories are the ones that matter.
TestFailover.settings = settings(max_examples=settings().max_examples * 4)
