"""The way to the store: statements take time, connections break, and what was sent may be done all the same."""

from collections.abc import Callable
from typing import Any

from simulation.clock import Clock
from simulation.network import Network, Process
from simulation.store import StoreAway

STATEMENT_S = 3.0
NAME = "PostgreSQL"

Answered = Callable[[Any, StoreAway | None], None]


class Statement:
    """`broken` when nobody waits for its result any more; `void` when it will not be carried out either."""

    __slots__ = ("answered", "broken", "process", "run", "void")

    def __init__(self, process: Process, run: Callable[[], Any], answered: Answered) -> None:
        self.process = process
        self.run = run
        self.answered = answered
        self.broken = False
        self.void = False


class Database:
    def __init__(self, clock: Clock, network: Network) -> None:
        self.away = False
        self.unknown = 0  # statements whose outcome their sender did not learn
        self._clock = clock
        self._network = network
        self._under_way: dict[Statement, None] = {}

    def run(self, process: Process, run: Callable[[], Any], answered: Answered) -> None:
        """One statement; `answered` gets its result, or StoreAway."""
        statement = Statement(process, run, answered)
        self._under_way[statement] = None
        if self.away:
            self._clock.later(0.01, lambda: self._break(statement))
            statement.void = True
            return
        self._network.send(process.name, NAME, lambda: self._perform(statement))
        self._clock.later(STATEMENT_S, lambda: self._break(statement))

    def _perform(self, statement: Statement) -> None:
        if statement.void:
            return
        if self.away:
            self._break(statement)
            return
        # Read and written at this moment, whatever becomes of the answer.
        result = statement.run()
        if not statement.broken:
            name = statement.process.name
            self._network.send(NAME, name, lambda: statement.process.do(lambda: self._answer(statement, result)))

    def _answer(self, statement: Statement, result: Any) -> None:
        if not statement.broken:
            statement.broken = True
            self._under_way.pop(statement, None)
            statement.answered(result, None)

    def _break(self, statement: Statement) -> None:
        if not statement.broken:
            statement.process.do(lambda: self._broken(statement))

    def _broken(self, statement: Statement) -> None:
        if not statement.broken:
            statement.broken = True
            self.unknown += 1
            self._under_way.pop(statement, None)
            statement.answered(None, StoreAway())

    # -- what happens ----------------------------------------------------------------------------------------

    def leave(self) -> None:
        """It stops: what it has not done by now it never will."""
        self.away = True
        for statement in list(self._under_way):
            statement.void = True
            self._break(statement)

    def come_back(self) -> None:
        self.away = False

    def lose_connections(self, process: Process) -> None:
        """Their statements may still be on the way, or done, or be done later."""
        for statement in [s for s in self._under_way if s.process is process]:
            self._break(statement)
