"""Chunks: what is written is read again, whatever the cuts, sizes and interleaving; and what is refused."""

import contextlib
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtmp_peer import cut

from veza.realtime.rtmp import chunks
from veza.realtime.rtmp.chunks import MAX_CHUNK_STREAMS, ChunkReader, ChunkWriter
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.messages import Message, MessageType

# Around each change in how a timestamp or a chunk stream's id is written.
TIMES = [0, 1, 20, 0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
CSIDS = [2, 3, 63, 64, 319, 320, 65_599]
CHUNKS = [1, 2, 127, 128, 129, 4096, 0xFF_FFFF]
HEADER = 12

times = st.sampled_from(TIMES) | st.integers(0, 0xFFFF_FFFF)
payloads = st.binary(max_size=40) | st.sampled_from([0, 127, 128, 129, 256, 300]).map(bytes)
messages = st.builds(Message, st.sampled_from([8, 9, 18, 20, 99]), st.sampled_from([0, 1, 7]), times, payloads)
regular = st.builds(  # the same again and again, so that all formats are used
    lambda first, step, count, size: [
        Message(8, 1, (first + n * step) & 0xFFFF_FFFF, bytes(size)) for n in range(count)
    ],
    times,
    st.sampled_from([0, 20, 0xFF_FFFF, 0x100_0000]),
    st.integers(1, 4),
    st.sampled_from([0, 1, 130]),
)
sequences = st.lists(messages, max_size=3) | regular


def read(*pieces: bytes) -> list[Message]:
    reader = ChunkReader()
    return [message for piece in pieces for message in reader.feed(piece)]


def fails(data: bytes, reader: ChunkReader | None = None) -> None:
    with pytest.raises(RtmpError) as caught:
        list((reader or ChunkReader()).feed(data))
    assert caught.value.reason


def head(length: int, kind: int = 9, csid: int = 4) -> bytes:
    """A format 0 header."""
    return bytes((csid, 0, 0, 0)) + length.to_bytes(3, "big") + bytes((kind, 1, 0, 0, 0))


@given(
    st.dictionaries(st.sampled_from(CSIDS), sequences, max_size=4),
    st.lists(st.integers(0, 3000), max_size=12),
    st.data(),
)
def test_round_trip(queued: dict[int, list[Message]], cuts: list[int], draw: st.DataObject) -> None:
    """Messages of several chunk streams, with chunk sizes that change in between."""
    writer = ChunkWriter()
    queues = {csid: deque(sequence) for csid, sequence in queued.items()}
    underway = {}
    sent, expected = [], []
    while live := [csid for csid in queues if csid in underway or queues[csid]]:
        csid = draw.draw(st.sampled_from(live))
        if draw.draw(st.integers(0, 5)) == 0 and 2 not in underway:
            sent.append(writer.set_chunk_size(draw.draw(st.sampled_from(CHUNKS))))
        if csid not in underway:
            message = queues[csid].popleft()
            underway[csid] = [message, len(message.payload), writer.chunks(csid, message)]
        message, left, parts = underway[csid]
        sent.append(next(parts))
        underway[csid][1] = left = left - min(left, writer.chunk_size)
        if not left:
            assert next(parts, None) is None
            del underway[csid]
            expected.append(message)
    assert read(*cut(b"".join(sent), cuts)) == expected


@given(st.sampled_from(CSIDS), regular)
def test_one_byte_at_a_time(csid: int, sequence: list[Message]) -> None:
    writer = ChunkWriter()
    stream = b"".join(writer.write(csid, message) for message in sequence)
    assert read(*[stream[n : n + 1] for n in range(len(stream))]) == sequence


def test_audio_messages_of_the_specification() -> None:
    """5.3.2.1: four messages of 32 bytes, 20 ms apart."""
    writer = ChunkWriter()
    sent = [Message(8, 12345, at, bytes(32)) for at in (1000, 1020, 1040, 1060)]
    parts = [writer.write(3, message) for message in sent]
    assert [len(part) for part in parts] == [44, 36, 33, 33]
    assert parts[0][:12].hex() == "030003e80000200839300000"
    assert [part[0] >> 6 for part in parts] == [0, 2, 3, 3]
    assert parts[1][:4].hex() == "83000014"
    assert read(*parts) == sent


def test_video_message_of_the_specification() -> None:
    """5.3.2.2: 307 bytes in chunks of 128."""
    message = Message(9, 12346, 1000, bytes(range(256)) + bytes(51))
    parts = list(ChunkWriter().chunks(4, message))
    assert [len(part) for part in parts] == [140, 129, 52]
    assert parts[0][:12].hex() == "040003e8000133093a300000"
    assert [part[0] for part in parts[1:]] == [0xC4, 0xC4]
    assert read(*parts) == [message]


def test_format_3_after_format_0_takes_the_timestamp_for_its_delta() -> None:
    """5.3.1.2.4"""
    first = head(1)[:1] + (700).to_bytes(3, "big") + head(1)[4:] + b"x"
    assert [message.timestamp for message in read(first, b"\xc4y", b"\xc4z")] == [700, 1400, 2100]


def test_extended_timestamps_are_in_every_chunk() -> None:
    message = Message(9, 1, 0x0123_4567, bytes(200))
    parts = list(ChunkWriter().chunks(4, message))
    assert parts[0][1:4] == b"\xff\xff\xff"
    assert parts[0][12:16] == parts[1][1:5] == b"\x01\x23\x45\x67"
    assert read(*parts) == [message]


def test_an_extended_delta_is_applied_again() -> None:
    writer = ChunkWriter()
    sent = [Message(8, 1, at, b"x") for at in (5, 0x0100_0005, 0x0200_0005)]
    parts = [writer.write(4, message) for message in sent]
    assert parts[2] == b"\xc4\x01\x00\x00\x00x"
    assert read(*parts) == sent


@pytest.mark.parametrize(
    ("csid", "written"), [(2, "02"), (63, "3f"), (64, "0000"), (319, "00ff"), (320, "010001"), (65_599, "01ffff")]
)
def test_every_way_to_write_an_id(csid: int, written: str) -> None:
    part = ChunkWriter().write(csid, Message(9, 1, 0, b"x"))
    assert part.startswith(bytes.fromhex(written))
    assert len(part) == len(written) // 2 + 12


def test_librtmp_begins_with_format_1() -> None:
    assert read(b"\x42\x00\x00\x05\x00\x00\x01\x09x") == [Message(9, 0, 5, b"x")]


@pytest.mark.parametrize("form", [2, 3])
def test_a_header_that_never_came(form: int) -> None:
    fails(bytes((form << 6 | 4,)) + bytes(16))


def test_a_new_message_inside_another() -> None:
    fails(head(200) + bytes(128) + head(200))


def test_claims_are_refused_at_the_header() -> None:
    fails(head(0xFF_FFFF))
    fails(head(chunks.MAX_MESSAGE_BYTES + 1))
    fails(head(chunks.MAX_AMF_BYTES + 1, MessageType.COMMAND))
    fails(head(chunks.MAX_AMF_BYTES + 1, MessageType.DATA_AMF3))
    fails(head(65, MessageType.USER_CONTROL))
    fails(head(101), ChunkReader(max_message=100))
    assert read(head(chunks.MAX_MESSAGE_BYTES)) == []


@pytest.mark.parametrize("size", [0, 0x8000_0000, 0xFFFF_FFFF])
def test_wrong_chunk_sizes(size: int) -> None:
    fails(ChunkWriter().write(2, Message(1, 0, 0, size.to_bytes(4, "big"))))


def test_the_largest_chunk_size_is_capped() -> None:
    reader = ChunkReader()
    assert list(reader.feed(ChunkWriter().set_chunk_size(0x7FFF_FFFF))) == []
    assert reader.chunk_size == 0xFF_FFFF


@pytest.mark.parametrize("kind", [1, 2, 5])
@pytest.mark.parametrize("size", [0, 3, 5])
def test_control_messages_of_a_wrong_length(kind: int, size: int) -> None:
    fails(ChunkWriter().write(2, Message(kind, 0, 0, bytes(size))))


def test_an_aborted_message_is_forgotten() -> None:
    writer = ChunkWriter()
    first = next(writer.chunks(4, Message(9, 1, 0, bytes(300))))
    abort = writer.write(2, Message(MessageType.ABORT, 0, 0, (4).to_bytes(4, "big")))
    nothing = writer.write(2, Message(MessageType.ABORT, 0, 0, (9).to_bytes(4, "big")))
    whole = Message(9, 1, 0, bytes(300))
    reader = ChunkReader()
    assert list(reader.feed(first + abort + nothing)) == []
    assert reader.unfinished == 0
    assert list(reader.feed(writer.write(4, whole))) == [whole]


def test_unfinished_messages_are_bounded_together() -> None:
    reader = ChunkReader(max_unfinished=1000)
    for csid in range(2, 9):
        assert list(reader.feed(head(500, csid=csid) + bytes(128))) == []
    assert reader.unfinished == 7 * 128
    fails(head(500, csid=9) + bytes(128), reader)


def test_chunk_streams_are_bounded() -> None:
    writer, reader = ChunkWriter(), ChunkReader()
    for csid in range(2, 2 + MAX_CHUNK_STREAMS):
        assert len(list(reader.feed(writer.write(csid, Message(9, 1, 0, b"x"))))) == 1
    fails(writer.write(1000, Message(9, 1, 0, b"x")), reader)


def test_what_came_before_a_violation_is_yielded() -> None:
    found: list[Message] = []
    with pytest.raises(RtmpError):
        found.extend(ChunkReader().feed(head(1) + b"x" + b"\xc9"))
    assert found == [Message(9, 1, 0, b"x")]


def test_a_window_is_acknowledged() -> None:
    reader, writer = ChunkReader(), ChunkWriter()
    window = writer.write(2, Message(MessageType.WINDOW_SIZE, 0, 0, (100).to_bytes(4, "big")))
    assert list(reader.feed(window)) == []
    assert reader.acknowledgement() is None
    list(reader.feed(writer.write(4, Message(9, 1, 0, bytes(100)))))
    assert reader.acknowledgement() == 16 + 112
    assert reader.acknowledgement() is None
    reader.received += 1 << 32
    assert reader.acknowledgement() == 16 + 112
    none = writer.write(2, Message(MessageType.WINDOW_SIZE, 0, 0, bytes(4)))
    list(reader.feed(none))
    assert reader.window == 100


# Bytes that get past the first header: mostly few chunk streams, short lengths, and what follows from them.
headers = st.builds(
    lambda form, csid, time, length, kind: (
        bytes((form << 6 | csid,))
        + (time + length.to_bytes(3, "big") + bytes((kind, 1, 0, 0, 0)))[: (11, 7, 3, 0)[form]]
    ),
    st.integers(0, 3),
    st.integers(0, 5),
    st.sampled_from([b"\0\0\0", b"\0\0\x14", b"\xff\xff\xff"]),
    st.sampled_from([0, 1, 4, 130, 5000, 0xFF_FFFF]),
    st.sampled_from([1, 2, 5, 8, 9, 20]),
)
rubbish = st.lists(headers | st.binary(max_size=8) | st.sampled_from([bytes(128), b"\0\0\0\x01"]), max_size=30).map(
    b"".join
)


@given(st.binary(max_size=400) | rubbish, st.lists(st.integers(0, 1000), max_size=6))
def test_any_bytes_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    reader = ChunkReader(max_message=2000, max_unfinished=3000)
    found: list[Message] = []
    with contextlib.suppress(RtmpError):
        for piece in cut(data, cuts):
            found.extend(reader.feed(piece))
            kept = [stream.partial.getbuffer().nbytes for stream in reader._streams.values() if stream.partial]
            assert sum(kept) == reader.unfinished <= 3000
            assert len(reader._head) < 18
    assert sum(len(message.payload) for message in found) <= len(data)


def test_many_small_pieces_cost_no_more_than_they_are() -> None:
    """8 MiB in chunks of one byte would be millions of objects, were each kept."""
    reader = ChunkReader()
    list(reader.feed(ChunkWriter().set_chunk_size(1) + head(8 << 20) + b"x"))
    list(reader.feed(b"\xc4x" * 5000))
    assert reader.unfinished == 5001
    assert [stream.partial.getbuffer().nbytes for stream in reader._streams.values() if stream.partial] == [5001]


def test_chunks_that_carry_nothing_are_bounded() -> None:
    reader = ChunkReader()
    assert len(list(reader.feed(head(0) + b"\xc4" * 9000))) == 9001
    fails(b"\xc4" * 9000, reader)
    silence = head(3, 8) + b"\xaf\x01\x21" + b"\xc4\xaf\x01\x21" * 30_000
    assert len(read(silence)) == 30_001


def test_a_message_in_one_piece_is_copied_once() -> None:
    body = bytes(100)
    writer = ChunkWriter()
    part = writer.write(4, Message(9, 1, 0, body))
    reader = ChunkReader()
    list(reader.feed(part[:HEADER]))
    (found,) = reader.feed(body)
    assert found.payload is body


def test_order_is_that_of_the_ends() -> None:
    writer = ChunkWriter()
    long, short = Message(9, 1, 0, bytes(300)), Message(8, 1, 0, b"a")
    begun = writer.chunks(4, long)
    stream = [next(begun), writer.write(5, short), *begun]
    assert read(*stream) == [short, long]
