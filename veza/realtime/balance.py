"""Which partitions should change places so that no shard works much more than the others.

Busy partitions are exchanged for quiet ones: how many a shard owns stays as `plan` made it, so that neither undoes
the other, and nobody has to remember what was moved. Each exchange makes the sum of the squared loads smaller, so the
same rates never lead back to where they began.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping

from veza.realtime.partition import PARTITIONS

# Commands a second. Below it a shard is far from its limit, and moving rooms would cost more than it brings.
BUSY = 100.0
# Times the mean load: beyond the first a shard gives, until it is down to the second. The distance between them is what
# keeps ordinary ups and downs from moving anything.
TOO_MUCH = 1.25
ENOUGH = 1.10
# Parts of the mean load: an exchange that brings less is not made.
WORTHWHILE = 0.01
# A few at a time: rooms that move are read again, and the rates show soon whether it was right.
EXCHANGES = 8


def exchanges(
    owners: Mapping[int, str], rates: Mapping[int, float], resting: Collection[int] = frozenset()
) -> dict[int, str]:
    """New owners for some partitions, two for each exchange; empty when all is well.

    `rates` are commands a second; `resting` partitions moved a short while ago and stay.
    """
    load: dict[str, float] = dict.fromkeys(sorted(set(owners.values())), 0.0)
    for partition, owner in owners.items():
        load[owner] += rates.get(partition, 0.0)
    mean = sum(load.values()) / len(load) if load else 0.0
    if not load or max(load.values()) < max(BUSY, TOO_MUCH * mean):
        return {}
    held: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for partition, owner in sorted(owners.items()):
        if partition not in resting:
            held[owner].append((rates.get(partition, 0.0), partition))
    moved: dict[int, str] = {}
    for _ in range(EXCHANGES):
        hottest = max(load, key=lambda name: load[name])
        if load[hottest] <= ENOUGH * mean:
            break
        found = _best_exchange(hottest, load, held, WORTHWHILE * mean)
        if found is None:
            break
        coolest, (busy, hot), (quiet, cold) = found
        moved[hot], moved[cold] = coolest, hottest
        # Once is enough: neither is looked at again in this plan.
        held[hottest].remove((busy, hot))
        held[coolest].remove((quiet, cold))
        load[hottest] -= busy - quiet
        load[coolest] += busy - quiet
    return moved


_Partition = tuple[float, int]  # rate and number


def _best_exchange(
    hottest: str, load: Mapping[str, float], held: Mapping[str, list[_Partition]], least: float
) -> tuple[str, _Partition, _Partition] | None:
    """The exchange that takes most from the hottest without making the other one the hotter of the two; with the
    coolest that has one.
    """
    busy = sorted(held[hottest])
    for coolest in sorted(load, key=lambda name: load[name]):
        half = (load[hottest] - load[coolest]) / 2
        best: tuple[float, _Partition, _Partition] | None = None
        for quiet in held[coolest]:
            index = bisect_right(busy, (quiet[0] + half, PARTITIONS))
            if index and (best is None or busy[index - 1][0] - quiet[0] > best[0]):
                best = busy[index - 1][0] - quiet[0], busy[index - 1], quiet
        if best is not None and best[0] >= least and best[0] > 0:
            return coolest, best[1], best[2]
    return None
