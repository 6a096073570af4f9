"""Processes, and the calls between them: late, out of order, cut off, lost, or carried out though they failed."""

from collections.abc import Callable
from enum import Enum

from simulation.clock import Call, Chance, Clock

# After the death of an actor its callers know in some milliseconds.
NOTICED_S = 0.015


class Failure(Enum):
    GONE = "is dead"
    UNREACHABLE = "cannot be reached"


class Process:
    """Something that runs. Paused, everything that reaches it waits; dead, nothing does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self._waiting: list[Call] = []

    def do(self, call: Call) -> None:
        if not self.alive:
            return
        if self.paused:
            self._waiting.append(call)
        else:
            call()

    def wake(self) -> None:
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for index, call in enumerate(waiting):
            if self.paused:
                self._waiting[:0] = waiting[index:]
                return
            self.do(call)


class Held:
    """A call that was made and waits inside its target: `release` lets it return."""

    def __init__(self) -> None:
        self.over = False
        self.then: Call | None = None

    def release(self) -> None:
        if not self.over:
            self.over = True
            if self.then is not None:
                self.then()


class ActorCall:
    """One call. Exactly one of `done` and `failed` is called, at the caller."""

    __slots__ = ("done", "dropped", "failed", "over", "source", "target")

    def __init__(self, source: Process, target: Process, done: Call, failed: Callable[[Failure], None]) -> None:
        self.source = source
        self.target = target
        self.done = done
        self.failed = failed
        self.over = False
        self.dropped = False  # it will not be carried out, if it has not been

    def succeed(self) -> None:
        if not self.over:
            self.over = True
            self.source.do(self.done)

    def fail(self, failure: Failure) -> None:
        if not self.over:
            self.over = True
            self.source.do(lambda: self.failed(failure))


Performed = Callable[[], Held | None]


class Network:
    """Every message takes its own time, so that two overtake each other. `calm` makes it even."""

    def __init__(self, clock: Clock, chance: Chance, *, calm: bool = False) -> None:
        self.lost_replies = 0
        self._clock = clock
        self._chance = chance
        self._calm = calm
        self._draws: dict[tuple[str, str], Callable[[], float]] = {}
        self._cuts: dict[frozenset[str], list[Call]] = {}
        self._calls: dict[ActorCall, None] = {}

    def delay(self, source: str, target: str) -> float:
        """Mostly a millisecond; now and then much longer."""
        if self._calm:
            return 0.001
        way = (source, target)
        draw = self._draws.get(way)
        if draw is None:
            draw = self._draws[way] = self._chance.of(f"{source}>{target}").random
        kind = draw()
        if kind < 0.8:
            return 0.0002 + 0.0025 * kind
        return draw() * (0.03 if kind < 0.97 else 0.4)

    def send(self, source: str, target: str, arrive: Call) -> None:
        """A message that is not lost, but waits while the two are cut off from each other."""
        self._clock.later(self.delay(source, target), lambda: self._arrive(source, target, arrive))

    def _arrive(self, source: str, target: str, arrive: Call) -> None:
        held = self._cuts.get(frozenset((source, target))) if self._cuts else None
        if held is None:
            arrive()
        else:
            held.append(arrive)

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cuts

    # -- actor calls -----------------------------------------------------------------------------------------

    def call(
        self, source: Process, target: Process, perform: Performed, done: Call, failed: Callable[[Failure], None]
    ) -> None:
        """`perform` happens at the target; a call that is held returns later."""
        call = ActorCall(source, target, done, failed)
        if not target.alive:
            self._clock.later(NOTICED_S, lambda: call.fail(Failure.GONE))
            return
        self._calls[call] = None
        self.send(source.name, target.name, lambda: target.do(lambda: self._perform(call, perform)))
        if self._cuts and self.is_cut(source.name, target.name):
            self._lose_touch(call)

    def _perform(self, call: ActorCall, perform: Performed) -> None:
        if call.dropped:
            return
        answer = lambda: self.send(call.target.name, call.source.name, lambda: self._succeed(call))  # noqa: E731
        held = perform()
        if held is None:
            answer()
        else:
            held.then = answer

    def _succeed(self, call: ActorCall) -> None:
        self._calls.pop(call, None)
        call.succeed()

    def _lose_touch(self, call: ActorCall) -> None:
        """The two are cut off: the caller may give up, and the call may be carried out all the same, even later."""
        chance = self._chance.of(f"cut {call.source.name} {call.target.name}")
        patience, gives_up, drops = chance.uniform(0.2, 2.0), chance.random() < 0.8, chance.random() < 0.5
        if gives_up:
            self._clock.later(patience, lambda: self._give_up(call, drops=drops))

    def _give_up(self, call: ActorCall, *, drops: bool) -> None:
        if call in self._calls and self.is_cut(call.source.name, call.target.name):
            self._calls.pop(call, None)
            call.dropped = drops
            self.lost_replies += 1
            call.fail(Failure.UNREACHABLE)

    # -- what happens ----------------------------------------------------------------------------------------

    def cut(self, one: str, other: str) -> None:
        key = frozenset((one, other))
        self._cuts.setdefault(key, [])
        for call in list(self._calls):
            if frozenset((call.source.name, call.target.name)) == key:
                self._lose_touch(call)

    def heal(self, one: str, other: str) -> None:
        for arrive in self._cuts.pop(frozenset((one, other)), ()):
            arrive()

    def heal_all(self) -> None:
        for key in sorted(self._cuts, key=sorted):
            one, other = sorted(key)
            self.heal(one, other)

    def kill(self, process: Process) -> None:
        process.alive = False
        for call in [call for call in self._calls if call.target is process]:
            self._calls.pop(call, None)
            self._clock.later(NOTICED_S, lambda call=call: call.fail(Failure.GONE))
