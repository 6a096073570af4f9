"""Bytes that no encoder sends: a session tells of a failure, keeps within its bounds, and raises nothing."""

from hypothesis import given
from hypothesis import strategies as st
from rtmp_peer import CONNECT, HANDSHAKE, RANDOM, Encoder, cut

from veza.realtime.rtmp import amf
from veza.realtime.rtmp.chunks import MAX_CHUNK_STREAMS, ChunkWriter
from veza.realtime.rtmp.events import Event, Failed
from veza.realtime.rtmp.messages import Message
from veza.realtime.rtmp.session import MAX_BYTES_BEFORE, MAX_TO_SEND, Session, State

TYPES = [1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 18, 19, 20, 22, 30]
NAMES = [
    "connect",
    "createStream",
    "publish",
    "play",
    "FCUnpublish",
    "deleteStream",
    "releaseStream",
    "what",
    "@setDataFrame",
    "onMetaData",
]

values = st.none() | st.floats() | st.sampled_from(NAMES) | st.just(dict(CONNECT)) | st.just({})
commands = st.builds(lambda name, rest: amf.encode(name, *rest), st.sampled_from(NAMES), st.lists(values, max_size=4))
well_formed = st.builds(
    Message,
    st.sampled_from(TYPES),
    st.integers(0, 2),
    st.integers(0, 0xFFFF_FFFF),
    commands | commands.map(lambda payload: b"\0" + payload) | st.binary(max_size=20),
)
placed = st.tuples(st.integers(2, 70), well_formed)


def keeps_its_bounds(session: Session, most: int) -> None:
    assert session._reader.unfinished <= most
    assert len(session._reader._streams) <= MAX_CHUNK_STREAMS
    assert len(session.take()) <= MAX_TO_SEND


def feed(session: Session, pieces: list[bytes], most: int) -> None:
    for piece in pieces:
        events: list[Event] = session.receive(piece)
        keeps_its_bounds(session, most)
        assert not any(isinstance(event, Failed) for event in events[:-1])
        if events and isinstance(events[-1], Failed):
            assert events[-1].reason
            return
        if session.state is State.ASKED:
            session.accept_publish()


@given(st.binary(max_size=200), st.booleans(), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes(data: bytes, shaken: bool, cuts: list[int]) -> None:
    session = Session(RANDOM)
    if shaken:
        session.receive(HANDSHAKE)
    feed(session, cut(data, cuts), MAX_BYTES_BEFORE)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_of_a_publisher(data: bytes, cuts: list[int]) -> None:
    encoder = Encoder()
    encoder.publish()
    feed(encoder.session, cut(data, cuts), 16 << 20)


@given(st.lists(placed, max_size=15), st.booleans())
def test_messages_in_any_order(sent: list[tuple[int, Message]], published: bool) -> None:
    encoder = Encoder()
    if published:
        encoder.publish()
    else:
        encoder.send(HANDSHAKE)
    feed(encoder.session, [encoder.writer.write(csid, message) for csid, message in sent], 16 << 20)


@given(st.data())
def test_a_conversation_with_wrong_bytes(draw: st.DataObject) -> None:
    writer = ChunkWriter()
    sent = [
        ("connect", 1, dict(CONNECT)),
        ("createStream", 2, None),
        ("publish", 3, None, "key", "live"),
        ("@setDataFrame", "onMetaData", amf.EcmaArray(width=5.0, nested=[{"a": "b"}, None])),
    ]
    stream = bytearray().join(
        writer.write(3, Message(18 if name == "@setDataFrame" else 20, 1, 0, amf.encode(name, *rest)))
        for name, *rest in sent
    )
    for place in draw.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=4)):
        stream[place] = draw.draw(st.integers(0, 255))
    session = Session(RANDOM)
    session.receive(HANDSHAKE)
    cuts = draw.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    feed(session, cut(bytes(stream), cuts), 16 << 20)
