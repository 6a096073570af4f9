"""FLV files: what is written is read again however it is cut, and any other bytes are refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtmp_peer import cut

from veza.realtime.rtmp import flv
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Media, MediaKind

# An empty video tag of 0x01_00_00_02 ms and an audio tag, as Annex E draws them.
VIDEO = bytes.fromhex("09 000001 000002 01 000000 17 0000000c")
AUDIO = bytes.fromhex("08 000002 00002a 00 000000 af01 0000000d")

media = st.builds(Media, st.sampled_from(MediaKind), st.integers(0, 0xFFFF_FFFF), st.binary(max_size=300))


def read(pieces: list[bytes], reader: flv.Reader | None = None) -> list[Media]:
    reader = reader or flv.Reader()
    return [found for piece in pieces for found in reader.feed(piece)]


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(RtmpError) as caught:
        flv.Reader().feed(data)
    assert all(word in caught.value.reason for word in words)


def test_the_header() -> None:
    assert flv.header() == b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
    assert flv.header(audio=False) == b"FLV\x01\x01\0\0\0\x09\0\0\0\0"
    assert flv.header(video=False) == b"FLV\x01\x04\0\0\0\x09\0\0\0\0"


def test_tags() -> None:
    video = Media(MediaKind.VIDEO, 0x0100_0002, b"\x17")
    audio = Media(MediaKind.AUDIO, 42, b"\xaf\x01")
    assert (flv.tag(video), flv.tag(audio)) == (VIDEO, AUDIO)
    assert read([flv.header() + VIDEO + AUDIO]) == [video, audio]


@given(st.lists(media, max_size=10), st.lists(st.integers(0, 4000), max_size=12))
def test_what_is_written_is_read(sent: list[Media], cuts: list[int]) -> None:
    data = flv.header() + b"".join(map(flv.tag, sent))
    assert read(cut(data, cuts)) == sent
    assert read([data[at : at + 1] for at in range(len(data))]) == sent


def test_a_tag_comes_with_its_last_byte() -> None:
    reader = flv.Reader()
    assert reader.feed(flv.header() + VIDEO[:-1]) == []
    assert len(reader.feed(VIDEO[-1:] + AUDIO[:3])) == 1
    assert len(reader.feed(AUDIO[3:])) == 1


def test_timestamps_have_32_bits() -> None:
    sent = Media(MediaKind.VIDEO, (7 << 32) + 5, b"")
    assert read([flv.header() + flv.tag(sent)]) == [Media(MediaKind.VIDEO, 5, b"")]


def test_lengths_are_bounded() -> None:
    longest = Media(MediaKind.VIDEO, 0, bytes(100))
    data = flv.header() + flv.tag(longest)
    assert read([data], flv.Reader(100)) == [longest]
    with pytest.raises(RtmpError, match="too long"):
        # As soon as the length is told, and not when all of it has come.
        flv.Reader(99).feed(data[:24])
    with pytest.raises(RtmpError, match="too long"):
        flv.tag(Media(MediaKind.VIDEO, 0, bytes(flv.MAX_BODY_BYTES + 1)))


def test_other_bytes_are_refused() -> None:
    header = flv.header()
    refused(b"FLX", "no FLV")
    refused(b"FLV\x02", "no FLV")
    refused(header[:8] + b"\x0a" + header[9:], "header")
    refused(header[:12] + b"\x01", "header")
    refused(header + b"\x07" + bytes(10), "type 7")
    refused(header + b"\x29" + VIDEO[1:], "type 41")  # encrypted
    refused(header + VIDEO[:-1] + b"\x0d", "length")


def test_a_reader_that_failed_stays_so() -> None:
    reader = flv.Reader()
    with contextlib.suppress(RtmpError):
        reader.feed(b"no")
    with pytest.raises(RtmpError, match="no FLV"):
        reader.feed(flv.header())
    assert not reader._data


@given(st.binary(max_size=200), st.booleans(), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes(data: bytes, headed: bool, cuts: list[int]) -> None:
    reader = flv.Reader(64)
    with contextlib.suppress(RtmpError):
        for piece in cut(flv.header() * headed + data, cuts):
            reader.feed(piece)
            assert len(reader._data) < 64 + 11 + 4


@given(st.lists(media, min_size=1, max_size=5), st.data())
def test_tags_with_wrong_bytes(sent: list[Media], draw: st.DataObject) -> None:
    data = bytearray(flv.header() + b"".join(map(flv.tag, sent)))
    for place in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        data[place] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(RtmpError):
        read(cut(bytes(data), draw.draw(st.lists(st.integers(0, len(data)), max_size=6))))
