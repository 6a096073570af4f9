"""A gateway's side of message allowances: the real `Borrower`, in a shell that does what `veza.http.limits` and
`veza.http.session` do about messages.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simulation.promises import Broken
from simulation.sockets import ServerSocket
from veza.errors import RateLimited, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.allowance import PATIENCE_S, Borrower

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.world import World

SWEEP_S = 0.25
# Nobody waits longer than this on a gateway that is awake: patience, a sweep, and the turn that takes.
LONGEST_S = PATIENCE_S + SWEEP_S + 0.01

Obey = Callable[[ServerSocket, Any, str], None]


class SimLimits:
    """Who may write now. `obey` does a command of a socket for which nothing is to be waited."""

    def __init__(self, world: "World", gateway: "SimGateway", obey: Obey) -> None:
        self.borrower: Borrower[ServerSocket] = Borrower(world.limits)
        self._world = world
        self._gateway = gateway
        self._obey = obey
        self._sweep_later()

    # -- sockets ---------------------------------------------------------------------------------------------

    def receive(self, socket: ServerSocket, command: Any, command_id: str) -> None:
        """A command of a socket: behind a message that waits, it waits as well."""
        if socket.held is None:
            self._obey(socket, command, command_id)
        else:
            socket.held.append((command, command_id))

    def may_write(self, socket: ServerSocket, command: Any, command_id: str) -> bool:
        """Spend of the user's allowance; False when the command has its answer, or must wait for it."""
        user_id, gateway = socket.user_id, self._gateway
        by_loan = bool(self.borrower.held(user_id, gateway.now)[0])
        wait = self.borrower.take(user_id, gateway.now)
        if wait is None:
            self._world.seen["message waits for its allowance"] += 1
            socket.held, socket.held_since = deque([(command, command_id)]), self._world.clock.now
            if self.borrower.wait(user_id, socket, gateway.now):
                self._ask(user_id)
            return False
        if wait:
            socket.send(p.error_frame(command_id, RateLimited("You are writing too fast.", wait)))
            return False
        self._world.meter.passed(user_id, gateway.name, by_loan=by_loan)
        return True

    def _go_on(self, socket: ServerSocket) -> None:
        waited = self._world.clock.now - max(socket.held_since, self._gateway.woke_at)
        if waited > LONGEST_S:
            raise Broken("R", f"{socket.client.name} waited {waited:.2f} s for an allowance")
        held, socket.held = socket.held or deque(), None
        while held:
            self._obey(socket, *held.popleft())
            if socket.held is not None:
                # The allowance was called away again.
                socket.held.extend(held)
                return

    def left(self, user_id: UUID) -> None:
        """A socket of this user closed."""
        if not self._here(user_id):
            self.borrower.left(user_id)

    def _here(self, user_id: UUID) -> bool:
        return user_id in self._gateway.attendance.users

    # -- owners ----------------------------------------------------------------------------------------------

    def held(self, user_id: UUID) -> tuple[int, float]:
        return self.borrower.held(user_id, self._gateway.now)

    def holders(self) -> Iterable[UUID]:
        return self.borrower.holders()

    def handle(self, shard: str, item: c.AllowanceLent | c.RecallAllowance) -> None:
        """What an owner says."""
        user_id, now = item.user_id, self._gateway.now
        if isinstance(item, c.RecallAllowance):
            self._give_back(user_id, item.grant, self.borrower.recalled(shard, item, now))
        elif self._gateway.router.owner(user_id) == shard:
            self._world.meter.lent(user_id, self._gateway.name)
            self._resume(self.borrower.lent(shard, item, now))
        elif self.borrower.strays(shard, item):
            self._world.seen["loan astray"] += 1
            self._give_back(user_id, item.grant, item.tokens)

    def _ask(self, user_id: UUID) -> None:
        def answered(answer: object) -> None:
            if isinstance(answer, VezaError):
                self.borrower.refused(user_id)
            elif self.borrower.answered(user_id):
                self._ask(user_id)

        self._gateway.links.request(lambda ref: c.TakeAllowance(ref, user_id), user_id, answered)

    def _give_back(self, user_id: UUID, grant: int, tokens: float | None) -> None:
        self._gateway.links.request(lambda ref: c.ReturnAllowance(ref, user_id, grant, tokens), user_id, lambda _: None)

    # -- time ------------------------------------------------------------------------------------------------

    def _sweep_later(self) -> None:
        self._world.clock.later(SWEEP_S, lambda: self._gateway.do(self._sweep))

    def _sweep(self) -> None:
        now = self._gateway.now
        for user_id, grant, tokens in self.borrower.spare(self._here, now):
            self._give_back(user_id, grant, tokens)
        waited, users = self.borrower.overdue(now)
        for user_id in users:
            self._ask(user_id)
        self._resume(waited)
        self._sweep_later()

    def _resume(self, waited: list[ServerSocket]) -> None:
        for socket in waited:
            self._go_on(socket)
