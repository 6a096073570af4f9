"""Timestamps that wrap, come out of order, or jump."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.rtmp.clock import MAX_BACK_MS, Clock

MASK = 0xFFFF_FFFF


@pytest.mark.parametrize("mask", [MASK, MASK >> 1])
@given(data=st.data(), steps=st.lists(st.integers(0, 0x3FFF_FFFF), max_size=20))
def test_whatever_goes_forward_is_unwrapped(mask: int, data: st.DataObject, steps: list[int]) -> None:
    true = list(itertools.accumulate(steps, initial=data.draw(st.integers(0, mask))))
    clock = Clock()
    assert [clock.unwrap("video", at & mask) for at in true] == true


@given(st.integers(0, MASK), st.lists(st.tuples(st.sampled_from(["audio", "video"]), st.integers(-9, 40)), max_size=40))
def test_each_kind_goes_forward(first: int, steps: list[tuple[str, int]]) -> None:
    clock, at = Clock(), first
    last = {"audio": 0, "video": 0}
    for kind, step in steps:
        at += step
        found = clock.unwrap(kind, at & MASK)
        assert found >= last[kind]
        last[kind] = found


def test_kinds_may_be_out_of_order_with_each_other() -> None:
    clock = Clock()
    assert clock.unwrap("video", 1000) == 1000
    assert clock.unwrap("audio", 980) == 980
    assert clock.unwrap("audio", 970) == 980
    assert clock.unwrap("video", 1040) == 1040


def test_a_little_before_zero() -> None:
    clock = Clock()
    assert clock.unwrap("video", 0) == 0
    assert clock.unwrap("audio", MASK - 20) == 0


def test_far_back_the_encoder_has_begun_anew() -> None:
    clock = Clock()
    clock.unwrap("video", 50_000)
    assert clock.unwrap("video", 50_000 - MAX_BACK_MS) == 50_000
    assert clock.unwrap("video", 50_000 - MAX_BACK_MS - 1) == 50_000
    assert clock.unwrap("audio", 50_000 - MAX_BACK_MS + 9) == 50_010


def test_a_first_message_at_zero_and_the_others_after_weeks() -> None:
    clock = Clock()
    assert clock.unwrap("video", 0) == 0
    assert clock.unwrap("video", 0x6000_0000) == 0
    assert clock.unwrap("audio", 0x6000_0000 - 5) == 0
    assert clock.unwrap("video", 0x6000_0000 + 40) == 40


def test_script_data_steers_nothing() -> None:
    clock = Clock()
    assert clock.unwrap("script", 4_000_000_000, steers=False) == 0
    assert clock.unwrap("video", 50_000) == 50_000
    assert clock.unwrap("script", 0, steers=False) == 50_000
    assert clock.unwrap("script", 50_020, steers=False) == 50_020
    assert clock.unwrap("video", 50_010) == 50_010
