"""WebSocket frames against RFC 6455, and against the `websockets` library as the other end."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.uri import parse_uri

from veza.realtime import frames
from veza.realtime.frames import MAX_MESSAGE_BYTES, CloseCode, FrameError, FrameReader, Opcode

# Around each change in how a length is written.
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536]
TOO_BIG = MAX_MESSAGE_BYTES + 1

Message = tuple[Opcode, bytes]
payloads = st.binary(max_size=200) | st.sampled_from(SIZES).map(bytes)
controls = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]), st.binary(max_size=125))
data = st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payloads)


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame, made by the library."""
    return Frame(PeerOpcode(opcode), payload, final).serialize(mask=True)


def read(*chunks: bytes) -> list[Message]:
    reader = FrameReader()
    return [message for chunk in chunks for message in reader.feed(chunk)]


def fails(given_bytes: bytes, code: CloseCode) -> None:
    with pytest.raises(FrameError) as caught:
        read(given_bytes)
    assert caught.value.code is code
    assert caught.value.reason


@given(st.lists(data | controls, max_size=6), st.data())
def test_any_split_gives_the_same_messages(messages: list[Message], draw: st.DataObject) -> None:
    stream = b"".join(masked(opcode, payload) for opcode, payload in messages)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert read(*[stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]) == messages


@given(st.lists(st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=130)), max_size=3))
def test_one_byte_at_a_time(messages: list[Message]) -> None:
    stream = b"".join(masked(opcode, payload) for opcode, payload in messages)
    assert read(*[bytes([byte]) for byte in stream]) == messages


@given(
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.lists(st.tuples(st.binary(max_size=50), st.lists(controls, max_size=2)), min_size=1, max_size=5),
    data,
)
def test_fragments_are_joined_and_control_frames_come_between(
    opcode: Opcode, fragments: list[tuple[bytes, list[Message]]], after: Message
) -> None:
    stream = b""
    between: list[Message] = []
    for index, (payload, inside) in enumerate(fragments):
        final = index == len(fragments) - 1
        stream += masked(opcode if index == 0 else Opcode.CONTINUATION, payload, final=final)
        if not final:
            stream += b"".join(masked(*control) for control in inside)
            between += inside
    whole = b"".join(payload for payload, _ in fragments)
    assert read(stream + masked(*after)) == [*between, (opcode, whole), after]


@pytest.mark.parametrize("size", [size for size in SIZES if size <= MAX_MESSAGE_BYTES])
def test_every_way_to_write_a_length(size: int) -> None:
    assert read(masked(Opcode.BINARY, bytes(size))) == [(Opcode.BINARY, bytes(size))]


@pytest.mark.parametrize("size", [126, 65_535, 65_536])
@pytest.mark.parametrize("cut", range(1, 15))
def test_a_header_in_two_pieces(size: int, cut: int) -> None:
    frame = masked(Opcode.BINARY, bytes(size))
    assert read(frame[:cut], frame[cut:]) == [(Opcode.BINARY, bytes(size))]


@pytest.mark.parametrize("bits", [0x10, 0x20, 0x40, 0x70])
def test_reserved_bits(bits: int) -> None:
    frame = bytearray(masked(Opcode.TEXT, b"x"))
    frame[0] |= bits
    fails(bytes(frame), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("opcode", sorted(set(range(16)) - set(Opcode)))
def test_reserved_opcodes(opcode: int) -> None:
    fails(bytes((0x80 | opcode, 0x80, 0, 0, 0, 0)), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.PING])
def test_unmasked(opcode: Opcode) -> None:
    fails(frames.encode(b"x", opcode), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
@pytest.mark.parametrize("head", [(0x80, 126), (0x80, 127), (0x00, 5)])
def test_long_or_fragmented_control(opcode: Opcode, head: tuple[int, int]) -> None:
    fails(bytes((head[0] | opcode, 0x80 | head[1])), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("final", [True, False])
def test_continuation_of_nothing(final: bool) -> None:
    fails(masked(Opcode.CONTINUATION, b"x", final=final), CloseCode.PROTOCOL_ERROR)
    whole = masked(Opcode.TEXT, b"a", final=False) + masked(Opcode.CONTINUATION, b"b")
    fails(whole + masked(Opcode.CONTINUATION, b"x", final=final), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("final", [True, False])
def test_message_inside_a_message(final: bool) -> None:
    begun = masked(Opcode.TEXT, b"a", final=False)
    fails(begun + masked(Opcode.BINARY, b"b", final=final), CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "head",
    [
        bytes((0x81, 0xFF)) + TOO_BIG.to_bytes(8, "big"),
        bytes((0x81, 0xFF)) + (1 << 63).to_bytes(8, "big"),
        bytes((0x01, 0xFF)) + b"\xff" * 8,
    ],
)
def test_too_big_is_known_from_the_length_alone(head: bytes) -> None:
    fails(head, CloseCode.TOO_BIG)


def test_fragments_that_are_too_big_together() -> None:
    largest = masked(Opcode.TEXT, bytes(MAX_MESSAGE_BYTES), final=False)
    ends = masked(Opcode.CONTINUATION, b"")
    assert read(largest + ends) == [(Opcode.TEXT, bytes(MAX_MESSAGE_BYTES))]
    fails(largest + masked(Opcode.CONTINUATION, b"x", final=False), CloseCode.TOO_BIG)


def test_what_came_before_a_violation_is_yielded() -> None:
    reader = FrameReader()
    found: list[Message] = []
    with pytest.raises(FrameError):
        found.extend(reader.feed(masked(Opcode.TEXT, b"good") + frames.encode(b"unmasked")))
    # `extend` keeps what it was given before the iterator failed.
    assert found == [(Opcode.TEXT, b"good")]


def test_a_consumer_may_stop_at_a_close() -> None:
    messages = FrameReader().feed(masked(Opcode.CLOSE, b"") + frames.encode(b"anything"))
    assert next(iter(messages)) == (Opcode.CLOSE, b"")


def reads_as_a_peer(stream: bytes) -> list[Frame]:
    """What the library's client makes of bytes from a server."""
    client = Protocol(Side.CLIENT, state=OPEN, max_size=None)
    client.receive_data(stream)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


@given(st.lists(data | st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)), max_size=5))
def test_a_client_reads_our_frames(messages: list[Message]) -> None:
    found = reads_as_a_peer(b"".join(frames.encode(payload, opcode) for opcode, payload in messages))
    assert [(int(frame.opcode), bytes(frame.data)) for frame in found] == messages
    assert all(frame.fin for frame in found)


@given(payloads)
def test_payload_of_undoes_encode(payload: bytes) -> None:
    assert frames.payload_of(frames.encode(payload)) == payload


@given(st.sampled_from(sorted(set(CloseCode) - {CloseCode.NO_STATUS})), st.text(max_size=150))
def test_a_client_understands_our_close(code: CloseCode, reason: str) -> None:
    client = Protocol(Side.CLIENT, state=OPEN)
    client.receive_data(frames.encode_close(code, reason))
    assert client.parser_exc is None or client.close_rcvd is not None
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == code
    assert reason.startswith(client.close_rcvd.reason)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=5))
def test_we_read_what_a_client_sends(messages: list[tuple[bool, bytes]]) -> None:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN)
    for is_text, payload in messages:
        if is_text:
            client.send_text(payload)
        else:
            client.send_binary(payload)
    client.send_ping(b"?")
    client.send_close(1000, "bye")
    expected = [(Opcode.TEXT if is_text else Opcode.BINARY, payload) for is_text, payload in messages]
    assert read(*client.data_to_send()) == [*expected, (Opcode.PING, b"?"), (Opcode.CLOSE, b"\x03\xe8bye")]


@given(st.binary(max_size=64))
@example(b"\x08\xff\x01")  # a control frame that is fragmented, too long and too big
def test_garbage_is_refused_as_the_library_refuses_it(garbage: bytes) -> None:
    """Whenever the library's server fails a connection at the frame level, so do we, and the other way round."""
    garbage += bytes(MAX_MESSAGE_BYTES + 14)  # the library waits for a whole frame before it judges
    peer = Protocol(Side.SERVER, state=OPEN, max_size=MAX_MESSAGE_BYTES)
    peer.receive_data(garbage)
    failure: FrameError | None = None
    try:
        for opcode, _ in FrameReader().feed(garbage):
            if opcode is Opcode.CLOSE:
                return  # neither of us reads any further
    except FrameError as error:
        failure = error
    assert (failure is None) == (peer.parser_exc is None)
    if failure is not None and peer.close_sent is not None and failure.code != peer.close_sent.code:
        # Two right answers, and only where a frame is both too big and wrong otherwise.
        assert {failure.code, peer.close_sent.code} == {CloseCode.TOO_BIG, CloseCode.PROTOCOL_ERROR}


def test_accept_key_is_the_one_of_the_rfc() -> None:
    assert frames.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_message_has_a_limited_number_of_fragments() -> None:
    middle = masked(Opcode.CONTINUATION, b"", final=False)
    start, end = masked(Opcode.TEXT, b"x", final=False), masked(Opcode.CONTINUATION, b"")
    most = start + middle * (frames.MAX_FRAGMENTS - 2) + end
    assert read(most, most) == [(Opcode.TEXT, b"x")] * 2
    fails(start + middle * frames.MAX_FRAGMENTS, CloseCode.TOO_BIG)
