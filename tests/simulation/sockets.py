"""The gateway's end of a connection: the real `veza.http.websocket` on a connection in virtual time.

What a client does not take waits in the gateway and is the socket's backlog. Promise 6 is watched here: how large a
backlog becomes, how long it stays, and that nobody is closed for less.
"""

from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simulation.clock import Call
from simulation.promises import Broken
from veza.http import websocket
from veza.http.websocket import WebSocket
from veza.realtime.frames import CloseCode

if TYPE_CHECKING:
    from simulation.client import Client
    from simulation.gateway import SimGateway
    from simulation.world import World

DRAIN_S = 0.05
SWEEP_S = 0.25


class Connection:
    """As much of `asyncio.Transport` as a WebSocket wants. A client takes everything at once, or so many bytes a second
    as its `speed` says; one that is not on it any more takes nothing.
    """

    def __init__(self, world: "World", gateway: "SimGateway", client: "Client", number: int) -> None:
        self.size = 0
        self.lost = False
        self.idle_since = 0.0  # when the client took something of the backlog last, or it began
        self.socket: ServerSocket
        self._world = world
        self._gateway = gateway
        self._client = client
        self._number = number
        self._waiting: deque[bytes] = deque()
        self._part = 0.0  # how much is taken of the first that waits
        self._high = 0
        self._paused = False
        self._draining = False

    # -- what a WebSocket does with it -----------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def get_write_buffer_size(self) -> int:
        return self.size

    def write(self, data: bytes) -> None:
        if self.lost:
            return
        if not self._waiting and self._speed is None:
            self._client.carry(self._number, data)
            return
        before = self.size
        self._waiting.append(data)
        self.size += len(data)
        # What comes while nothing waits is written, however large; and a close frame ends it.
        if before > self._high and self.size > websocket.BACKLOG_BYTES and not self.socket.closing:
            raise Broken(6, f"{self._client.name} has a backlog of {self.size} bytes at {self._gateway.name}")
        if self.size > self._high and not self._paused:
            self._paused, self.idle_since = True, self._world.clock.now
            self.socket.pause_writing()
        self._drain_soon()

    def write_eof(self) -> None:
        """The close frame before it says the same to a client that reads so far."""

    def abort(self) -> None:
        self._gateway.do(self._cut)

    # -- what the client takes -------------------------------------------------------------------------------

    @property
    def _speed(self) -> float | None:
        return self._client.speed if self._client.holds(self.socket) else 0.0

    def drain(self) -> None:
        """The client takes what it can; asked again when its speed changes."""
        self._draining = False
        if self.lost or not self._waiting:
            return
        speed = self._speed
        if speed != 0.0:
            self._take(self.size if speed is None else min(self.size, int(speed * DRAIN_S)))
            self._drain_soon()

    def _drain_soon(self) -> None:
        if self._waiting and not self._draining:
            self._draining = True
            self._world.clock.later(DRAIN_S, lambda: self._gateway.do(self.drain))

    def _take(self, count: int) -> None:
        self.size -= count
        self._part += count
        self.idle_since = self._world.clock.now
        while self._waiting and len(self._waiting[0]) <= self._part:
            data = self._waiting.popleft()
            self._part -= len(data)
            self._client.carry(self._number, data)
        if self._paused and self.size <= self._high // 4:
            self._paused = False
            self.socket.resume_writing()

    # -- its end ---------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """It is gone, whoever ended it."""
        if not self.lost:
            self.lost = True
            self._waiting.clear()
            self.size = 0
            self.socket.connection_lost(None)

    def _cut(self) -> None:
        if not self.lost:
            self.lose()
            delay = self._world.network.delay(self._gateway.name, self._client.name)
            self._world.clock.later(delay, self._notice)

    def _notice(self) -> None:
        if self._client.holds(self.socket):
            self._client.cut_off(noticed=True)


class ServerSocket(WebSocket):
    def __init__(self, world: "World", gateway: "SimGateway", client: "Client", number: int) -> None:
        self.connection = Connection(world, gateway, client, number)
        self.connection.socket = self
        super().__init__(self.connection, gateway)  # type: ignore[arg-type]
        self.gateway = gateway
        self.client = client
        self.user_id = client.person.id
        self.rooms: set[UUID] = set()
        # A message that waits for its user's allowance, and what came later: (command, its id).
        self.held: deque[tuple[Any, str]] | None = None
        self.held_since = 0.0
        self._world = world
        self._last = 0  # bytes of what was to be sent last
        self._when_caught_up: list[Call] = []

    def send(self, data: bytes) -> None:
        self._last = len(data)
        super().send(data)

    def close(self, code: CloseCode, reason: str = "") -> None:
        if not self.closing and code is CloseCode.SLOW_CONSUMER:
            self._world.seen["closed as too slow"] += 1
            if tell := self._world.tell:
                tell(f"{self.gateway.name} closes {self.client.name}, which is too slow")
            large = self.connection.size + self._last > websocket.BACKLOG_BYTES
            if not large and self._idle_s < websocket.BACKLOG_S:
                raise Broken(6, f"{self.client.name} is closed for a backlog of {self.connection.size} bytes")
        super().close(code, reason)

    @property
    def _idle_s(self) -> float:
        return self._world.clock.now - self.connection.idle_since

    def check_overdue(self) -> None:
        """After the sweep that closes who takes nothing: it notices at its next turn, and a pause is no turn."""
        since = max(self.connection.idle_since, self.gateway.woke_at)
        waited = self._world.clock.now - since
        if not self.closing and self.lagging_since is not None and waited > websocket.BACKLOG_S + 2.1 * SWEEP_S:
            raise Broken(6, f"{self.client.name} has taken nothing for {waited:.1f} s and is not closed")

    # -- who reads for it ------------------------------------------------------------------------------------

    def when_caught_up(self, call: Call) -> None:
        """What `caught_up` does: `call` when the client keeps up, or the socket is closing."""
        if self.lagging_since is None or self.closing:
            call()
        else:
            self._world.seen["read waits for the reader"] += 1
            self._when_caught_up.append(call)

    def _resume_waiting(self) -> None:
        super()._resume_waiting()
        waiting, self._when_caught_up = self._when_caught_up, []
        for call in waiting:
            self._world.clock.later(0.0, lambda call=call: self.gateway.do(call))
