"""What waits for a shard's writer: the real `FairMailbox`, driven without a loop, and promise F, that no room or user
makes the others wait.
"""

from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

from simulation.clock import Call
from simulation.loop import at_once
from simulation.promises import Broken
from veza.actors.mailbox import FairMailbox
from veza.realtime.batch import Sourced
from veza.realtime.load import subject_of

if TYPE_CHECKING:
    from simulation.world import World

# So small that a few clients fill them.
BATCH_COMMANDS = 10
SUBJECT_COMMANDS = 20
MAILBOX_COMMANDS = 60


def _key(sourced: Sourced) -> UUID | None:
    return subject_of(sourced[1])


class SimMailbox:
    """`put` says what is refused, or None when the call must wait: then `later` is called when there is room."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._fair: FairMailbox[Sourced] = FairMailbox(MAILBOX_COMMANDS, key=_key, key_limit=SUBJECT_COMMANDS)
        self._waiting: list[Sourced] = []
        self._later: list[Call] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, items: list[Sourced], later: Call) -> list[Sourced] | None:
        if items and len(self._fair) >= MAILBOX_COMMANDS:
            self._world.seen["mailbox full"] += 1
            self._later.append(later)
            return None
        refused = at_once(self._fair.put(items))
        self._waiting += items
        if refused:
            self._remove(refused)
            self._check_refused(refused)
        return refused

    def put_back(self, items: list[Sourced]) -> None:
        self._fair.put_back(items)
        self._waiting[:0] = items

    def take(self, at_most: int) -> list[Sourced]:
        taken = at_once(self._fair.take(at_most))
        if len(taken) == len(self._waiting):
            self._waiting.clear()
        else:
            before = Counter(map(_key, self._waiting))
            self._remove(taken)
            self._check_shares(before, Counter(map(_key, taken)), at_most)
        later, self._later = self._later, []
        for call in later:
            call()
        return taken

    def _remove(self, items: list[Sourced]) -> None:
        gone = set(map(id, items))
        self._waiting = [item for item in self._waiting if id(item) not in gone]

    # -- the promise -----------------------------------------------------------------------------------------

    def _check_refused(self, refused: list[Sourced]) -> None:
        counts = Counter(map(_key, self._waiting))
        for key in dict.fromkeys(map(_key, refused)):
            if counts[key] < SUBJECT_COMMANDS:
                raise Broken("F", f"a command is refused, though only {counts[key]} of its room wait")
            if key is not None:
                self._world.flooded(key)

    def _check_shares(self, before: Counter[UUID | None], got: Counter[UUID | None], at_most: int) -> None:
        share = at_most // len(before)
        for key, count in before.items():
            if got[key] < min(count, share):
                raise Broken("F", f"{count} commands of one room wait, and {got[key]} of {at_most} are taken")
