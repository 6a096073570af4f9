"""Nobody waits for somebody else's flood."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.fairness import take_fairly

waiting = st.lists(st.tuples(st.sampled_from("abcde"), st.integers()), max_size=60)


def key(item: tuple[str, int]) -> str:
    return item[0]


@given(waiting, st.integers(1, 40))
def test_what_is_taken_is_a_fair_share_in_order(items: list[tuple[str, int]], at_most: int) -> None:
    taken, rest = take_fairly(items, key, at_most)
    assert len(taken) == min(at_most, len(items))
    assert Counter(taken) + Counter(rest) == Counter(items)
    given_counts, all_counts = Counter(map(key, taken)), Counter(map(key, items))
    for owner in all_counts:
        own = [item for item in items if item[0] == owner]
        # Its first ones, in order.
        assert [item for item in taken if item[0] == owner] == own[: given_counts[owner]]
        assert [item for item in rest if item[0] == owner] == own[given_counts[owner] :]
        # Whoever does not get all has no less than anybody else, but for one.
        if given_counts[owner] < all_counts[owner]:
            assert given_counts[owner] >= max(given_counts.values()) - 1


def test_one_message_does_not_wait_for_a_flood() -> None:
    flood = [("a", n) for n in range(5000)]
    taken, rest = take_fairly([*flood, ("b", 1)], key, 1000)
    assert ("b", 1) in taken
    assert rest == flood[999:]
