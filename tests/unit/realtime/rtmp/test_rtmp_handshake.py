"""The simple handshake, in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtmp_peer import C1, HANDSHAKE, RANDOM, cut

from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.handshake import Handshake

S1 = bytes(8) + RANDOM


@given(st.lists(st.integers(0, len(HANDSHAKE) + 20), max_size=8))
def test_any_cut_gives_the_same_answer(cuts: list[int]) -> None:
    handshake = Handshake(RANDOM)
    sent, rest = b"", b""
    for piece in cut(HANDSHAKE + b"what comes after", cuts):
        if handshake.done:
            rest += piece
        else:
            reply, more = handshake.receive(piece)
            sent, rest = sent + reply, rest + more
    assert handshake.done
    assert sent == b"\x03" + S1 + C1
    assert rest == b"what comes after"


def test_the_answer_does_not_wait_for_c2() -> None:
    handshake = Handshake(RANDOM)
    assert handshake.receive(HANDSHAKE[:1536]) == (b"", b"")
    assert handshake.receive(HANDSHAKE[1536:1537]) == (b"\x03" + S1 + C1, b"")
    assert not handshake.done


@pytest.mark.parametrize("version", [0, 2, 4, 6, ord("G"), 0x16])
def test_other_versions_are_refused_at_the_first_byte(version: int) -> None:
    with pytest.raises(RtmpError):
        Handshake(RANDOM).receive(bytes((version,)))


def test_random_bytes_are_enough() -> None:
    with pytest.raises(ValueError, match="1528"):
        Handshake(b"few")
