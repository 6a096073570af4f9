"""The shortest story in which the same promise is broken: actions are left out as long as it stays so."""

from collections.abc import Callable
from dataclasses import replace

from simulation.actions import Action, Plan
from simulation.promises import Broken

Simulate = Callable[[Plan], Broken | None]
# A story is short enough after so many attempts.
ATTEMPTS = 600


class Shrinker:
    def __init__(self, simulate: Simulate, promise: int | str) -> None:
        self._simulate = simulate
        self._promise = promise
        self.attempts = 0

    def breaks(self, plan: Plan) -> bool:
        self.attempts += 1
        broken = self._simulate(plan)
        return broken is not None and broken.promise == self._promise

    def shrink(self, plan: Plan) -> Plan:
        plan = self._without(plan)
        calm = replace(plan, calm=True)
        if self.breaks(calm):
            plan = calm
        for index in range(len(plan.actions)):
            if (simpler := self._simpler(plan, index)) is not None:
                plan = simpler
        return plan

    def _without(self, plan: Plan) -> Plan:
        """Delta debugging: leave out halves, then quarters, …, then single actions, until none can go."""
        actions, size = plan.actions, max(1, len(plan.actions) // 2)
        while self.attempts < ATTEMPTS:
            smaller = self._leave_out(plan, actions, size)
            if smaller is not None:
                actions = smaller
                size = min(size, max(1, len(actions) // 2))
            elif size == 1:
                break
            else:
                size //= 2
        return replace(plan, actions=actions)

    def _leave_out(self, plan: Plan, actions: tuple[Action, ...], size: int) -> tuple[Action, ...] | None:
        """One pass over all parts of this size; None when every one of them is needed."""
        left, start = actions, 0
        while start < len(left) and self.attempts < ATTEMPTS:
            fewer = left[:start] + left[start + size :]
            if self.breaks(replace(plan, actions=fewer)):
                left = fewer
            else:
                start += size
        return left if len(left) < len(actions) else None

    def _simpler(self, plan: Plan, index: int) -> Plan | None:
        """A burst of two, if that is enough."""
        action = plan.actions[index]
        if action.what != "burst" or action.how == (2,) or self.attempts >= ATTEMPTS:
            return None
        actions = (*plan.actions[:index], replace(action, how=(2,)), *plan.actions[index + 1 :])
        simpler = replace(plan, actions=actions)
        return simpler if self.breaks(simpler) else None


def story_of(plan: Plan, simulate: Callable[[Plan, Callable[[float, str], None]], Broken | None]) -> list[str]:
    """What happens in a plan, numbered, to its end."""
    lines: list[tuple[float, str]] = []
    broken = simulate(plan, lambda at, text: lines.append((at, text)))
    told = [f"{number:4}. {at:8.3f} s  {text}" for number, (at, text) in enumerate(_folded(lines), 1)]
    return [*told, f"      {broken}" if broken else "      nothing is broken"]


def _folded(lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """What is said again and again is said once, with how often."""
    found: list[tuple[float, str]] = []
    counts: dict[str, int] = {}
    for at, text in lines:
        counts[text] = counts.get(text, 0) + 1
        if counts[text] == 1:
            found.append((at, text))
    return [
        (at, text if counts[text] == 1 else f"{text} (and again, {counts[text]} times in all)") for at, text in found
    ]
