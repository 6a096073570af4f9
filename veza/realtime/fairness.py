"""Which of the waiting things come next, so that none who has many makes others wait."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def take_fairly(waiting: Sequence[T], key: Callable[[T], Hashable], at_most: int) -> tuple[list[T], list[T]]:
    """Split `waiting` into what comes next, at most `at_most`, and the rest; both keep their order.

    Who has few gets all of it; the others get the same number each (max-min fairness), but for what is left over when
    that does not come out even. The first of a key always go before its later ones.
    """
    if len(waiting) <= at_most:
        return list(waiting), []
    keys = [key(item) for item in waiting]
    share, spare = _share(Counter(keys), at_most)
    given: Counter[Hashable] = Counter()
    taken: list[T] = []
    rest: list[T] = []
    for item, owner in zip(waiting, keys, strict=True):
        count = given[owner]
        if count < share:
            given[owner] = count + 1
            taken.append(item)
        elif count == share and spare:
            spare -= 1
            given[owner] = count + 1
            taken.append(item)
        else:
            # One that was passed over keeps those behind it back, too.
            given[owner] = share + 1
            rest.append(item)
    return taken, rest


def _share(counts: Counter[Hashable], at_most: int) -> tuple[int, int]:
    """How many each gets, and how many get one more."""
    left, share = at_most, 0
    sizes = sorted(counts.values())
    for index, size in enumerate(sizes):
        claimants = len(sizes) - index
        if (size - share) * claimants > left:
            return share + left // claimants, left % claimants
        left -= (size - share) * claimants
        share = size
    return share, left
