"""A publisher's connection: what OBS and ffmpeg say and expect, what is refused, and any bytes."""

import pytest
from rtmp_peer import CONNECT, HANDSHAKE, RANDOM, Encoder

from veza.realtime.rtmp import amf
from veza.realtime.rtmp.chunks import ChunkWriter
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Failed, Media, MediaKind, Metadata, PublishAsked, Unpublished
from veza.realtime.rtmp.messages import Message, MessageType
from veza.realtime.rtmp.session import MAX_BYTES_BEFORE, Session, State

PING, PONG = b"\x00\x06", b"\x00\x07"
AUDIO, VIDEO, DATA, COMMAND = MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA, MessageType.COMMAND


def information(values: list[amf.Value]) -> dict[str, amf.Value]:
    found = values[-1]
    assert isinstance(found, dict)
    return found


def failure(events: list[object]) -> str:
    last = events[-1]
    assert isinstance(last, Failed)
    return last.reason


def connected() -> Encoder:
    encoder = Encoder()
    encoder.send(HANDSHAKE)
    encoder.command("connect", 1, dict(CONNECT))
    encoder.answers.clear()
    return encoder


def publishing() -> Encoder:
    encoder = Encoder()
    encoder.publish()
    return encoder


def test_the_conversation_of_an_encoder() -> None:
    """What OBS says, from its first byte to its last (RTMP 1.0, 7.3.1)."""
    encoder = Encoder()
    assert encoder.send(HANDSHAKE) == []

    assert encoder.command("connect", 1, dict(CONNECT)) == []
    before = [message.type for message in encoder.answers]
    assert before == [MessageType.PEER_BANDWIDTH, COMMAND]  # our window and chunk size are for the reader itself
    assert encoder._reader.window == 2_500_000
    assert encoder._reader.chunk_size == 4096
    (answer,) = encoder.said()
    assert answer[:2] == ["_result", 1.0]
    assert information(answer)["code"] == "NetConnection.Connect.Success"

    encoder.send(encoder.writer.set_chunk_size(4096))
    encoder.command("releaseStream", 2, None, "key")
    encoder.command("FCPublish", 3, None, "key")
    encoder.command("createStream", 4, None)
    assert encoder.said() == [["_result", 2.0, None, None], ["_result", 3.0, None, None], ["_result", 4.0, None, 1.0]]

    assert encoder.command("publish", 5, None, "key", "live", stream=1) == [PublishAsked("live", "key", 5.0)]
    assert encoder.said() == []
    encoder.session.accept_publish()
    encoder.read()
    assert encoder.answers[0].payload == b"\x00\x00\x00\x00\x00\x01"
    assert encoder.answers[1].stream_id == 1
    (answer,) = encoder.said()
    assert answer[:3] == ["onStatus", 0.0, None]
    assert information(answer)["code"] == "NetStream.Publish.Start"
    assert encoder.session.state is State.PUBLISHING

    described = amf.EcmaArray(width=1280.0, encoder="obs-output module")
    metadata = amf.encode("@setDataFrame", "onMetaData", described)
    assert encoder.message(4, DATA, metadata) == [Metadata(described)]
    assert encoder.message(4, VIDEO, b"config") == [Media(MediaKind.VIDEO, 0, b"config")]
    assert encoder.message(4, AUDIO, b"heard", at=23) == [Media(MediaKind.AUDIO, 23, b"heard")]
    assert encoder.message(4, VIDEO, bytes(20_000), at=33) == [Media(MediaKind.VIDEO, 33, bytes(20_000))]

    assert encoder.command("FCUnpublish", 6, None, "key", stream=1) == [Unpublished()]
    first, second = encoder.said()
    assert first == ["_result", 6.0, None, None]
    assert information(second)["code"] == "NetStream.Unpublish.Success"
    assert encoder.command("deleteStream", 7, None, 1) == []
    assert encoder.message(4, VIDEO, b"late", at=66) == []
    assert encoder.said() == []


def test_all_in_one_piece_or_byte_by_byte() -> None:
    writer = ChunkWriter()
    stream = HANDSHAKE + b"".join(
        writer.write(3, Message(COMMAND, 0, 0, amf.encode(*values)))
        for values in [
            ("connect", 1, dict(CONNECT)),
            ("createStream", 2, None),
            ("publish", 3, None, "key", "live"),
        ]
    )
    asked = [PublishAsked("live", "key", 3.0)]
    session = Session(RANDOM)
    assert session.receive(stream) == asked
    once = session.take()
    session = Session(RANDOM)
    slowly = [event for n in range(len(stream)) for event in session.receive(stream[n : n + 1])]
    assert slowly == asked
    assert session.take() == once
    assert session.take() == b""


def test_enhanced_rtmp_is_answered_only_to_who_speaks_it() -> None:
    encoder = Encoder()
    encoder.send(HANDSHAKE)
    encoder.command("connect", 1, {**CONNECT, "fourCcList": ["hvc1"]})
    server = encoder.said()[0][2]
    assert isinstance(server, dict)
    assert server["capsEx"] == 12.0
    assert server["fourCcList"] == ["av01", "avc1", "hvc1", "vp09", "Opus", "mp4a"]
    assert server["audioFourCcInfoMap"] == {"Opus": 4.0, "mp4a": 4.0}
    encoder = Encoder()
    encoder.send(HANDSHAKE)
    encoder.command("connect", 1, dict(CONNECT))
    plain = encoder.said()[0][2]
    assert isinstance(plain, dict)
    assert set(plain) == {"fmsVer", "capabilities"}


@pytest.mark.parametrize("code", ["NetStream.Publish.BadName", "NetStream.Publish.Denied"])
def test_publishing_is_refused(code: str) -> None:
    encoder = Encoder()
    encoder.ask_to_publish()
    encoder.said()
    encoder.session.refuse_publish(code, "No.")
    encoder.read()
    assert [information(answer) for answer in encoder.said()] == [
        {"level": "error", "code": code, "description": "No."}
    ]
    assert encoder.command("deleteStream", 7, None, 1) == []
    assert failure(encoder.command("publish", 8, None, "another", "live", stream=1)) == "one stream a connection"


def test_a_publisher_that_left_while_it_was_decided() -> None:
    encoder = Encoder()
    encoder.ask_to_publish()
    assert encoder.command("deleteStream", 7, None, 1) == [Unpublished()]
    with pytest.raises(RtmpError):
        encoder.session.accept_publish()
    with pytest.raises(RtmpError):
        encoder.session.refuse_publish("NetStream.Publish.Denied", "No.")


@pytest.mark.parametrize("kind", [AUDIO, VIDEO, DATA])
def test_media_before_publishing(kind: int) -> None:
    assert failure(connected().message(4, kind, b"x")) == "media before publishing"
    encoder = Encoder()
    encoder.ask_to_publish()
    assert failure(encoder.message(4, kind, b"x")) == "media before publishing"


def test_little_is_kept_before_publishing() -> None:
    encoder = connected()
    reader = encoder.session._reader
    header = bytes((4, 0, 0, 0)) + MAX_BYTES_BEFORE.to_bytes(3, "big") + b"\x09\x01\x00\x00\x00"
    encoder.send(encoder.writer.set_chunk_size(40_000))
    assert encoder.send(header + bytes(40_000)) == []
    assert reader.unfinished == 40_000
    assert failure(encoder.send(b"\x05" + header[1:] + bytes(40_000)))
    longer = bytes((4, 0, 0, 0)) + (MAX_BYTES_BEFORE + 1).to_bytes(3, "big") + b"\x09\x01\x00\x00\x00"
    assert failure(connected().send(longer))


def test_messages_have_the_length_that_was_asked_for() -> None:
    encoder = Encoder(Session(RANDOM, max_message=100_000))
    encoder.publish()
    assert len(encoder.message(4, VIDEO, bytes(100_000))) == 1
    assert failure(encoder.message(4, VIDEO, bytes(100_001)))


def test_playing_is_refused() -> None:
    encoder = connected()
    assert failure(encoder.command("play", 5, None, "key", stream=1)) == "playing is not offered"
    assert information(encoder.said()[0])["code"] == "NetStream.Play.Failed"


def test_after_a_failure_nothing_is_read() -> None:
    encoder = connected()
    encoder.command("play", 5, None, "key", stream=1)
    with pytest.raises(RtmpError):
        encoder.send(b"")
    with pytest.raises(RtmpError):
        encoder.session.accept_publish()


def test_events_before_a_failure_are_told() -> None:
    encoder = publishing()
    writer = encoder.writer
    data = writer.write(4, Message(VIDEO, 1, 5, b"good")) + writer.write(4, Message(MessageType.AGGREGATE, 1, 5, b"x"))
    good, failed = encoder.send(data)
    assert good == Media(MediaKind.VIDEO, 5, b"good")
    assert isinstance(failed, Failed)


@pytest.mark.parametrize("name", ["getStreamLength", "FCSubscribe", "x" * 500])
def test_unknown_commands_are_answered_if_they_want_it(name: str) -> None:
    encoder = connected()
    assert encoder.command(name, 9, None, "key") == []
    (answer,) = encoder.said()
    assert answer[:3] == ["_error", 9.0, None]
    assert information(answer)["code"] == "NetConnection.Call.Failed"
    assert encoder.command(name, 0, None, "key") == []
    assert encoder.said() == []


@pytest.mark.parametrize("name", ["_result", "_error", "onStatus"])
def test_answers_are_not_answered(name: str) -> None:
    encoder = connected()
    assert encoder.command(name, 9, None, {}) == []
    assert encoder.said() == []


def test_checkbw_is_answered() -> None:
    encoder = connected()
    encoder.command("_checkbw", 9, None)
    assert encoder.said() == [["_result", 9.0, None, None]]


@pytest.mark.parametrize(
    "values",
    [
        ("createStream", 1, None),
        ("publish", 1, None, "key"),
        ("connect", 1, None),
        ("connect", 1, {"app": 5}),
        ("connect", 1, {"app": "x" * 1025}),
        ("connect", "1", dict(CONNECT)),
        (5, 1, None),
        (),
    ],
)
def test_what_may_not_come_first(values: tuple[amf.Value, ...]) -> None:
    encoder = Encoder()
    encoder.send(HANDSHAKE)
    assert failure(encoder.command(*values))


@pytest.mark.parametrize("name", [None, 5, "x" * 1025])
def test_publish_needs_a_name(name: amf.Value) -> None:
    assert failure(connected().command("publish", 5, None, name, "live", stream=1))


def test_connect_and_publish_come_once() -> None:
    assert failure(connected().command("connect", 2, dict(CONNECT)))
    assert failure(publishing().command("publish", 9, None, "key", "live", stream=1))


def test_amf3_commands_have_a_byte_more() -> None:
    encoder = Encoder()
    encoder.send(HANDSHAKE)
    encoder.message(3, MessageType.COMMAND_AMF3, b"\0" + amf.encode("connect", 1, dict(CONNECT)), stream=0)
    assert encoder.session.state is State.CONNECTED
    assert failure(encoder.message(3, MessageType.COMMAND_AMF3, amf.encode("createStream", 2, None), stream=0))
    encoder = publishing()
    payload = b"\0" + amf.encode("onMetaData", {"width": 5.0})
    assert encoder.message(4, MessageType.DATA_AMF3, payload) == [Metadata({"width": 5.0})]


def test_script_data() -> None:
    encoder = publishing()
    cue = amf.encode("onCuePoint", {"name": "drop"})
    assert encoder.message(4, DATA, cue, at=40) == [Media(MediaKind.SCRIPT, 40, cue)]
    assert encoder.message(4, DATA, amf.encode("onMetaData", "nothing")) == []
    assert encoder.message(4, DATA, amf.encode("onMetaData")) == []
    assert encoder.message(4, DATA, b"") == [Media(MediaKind.SCRIPT, 40, b"")]


def test_pings_are_answered_and_sent() -> None:
    encoder = connected()
    encoder.message(2, MessageType.USER_CONTROL, PING + b"time", stream=0)
    encoder.message(2, MessageType.USER_CONTROL, PONG + b"time", stream=0)
    encoder.message(2, MessageType.USER_CONTROL, b"\x00\x03" + bytes(8), stream=0)
    assert [message.payload for message in encoder.answers] == [PONG + b"time"]
    encoder.answers.clear()
    encoder.session.ping(1 << 32 | 5)
    encoder.read()
    assert [message.payload for message in encoder.answers] == [PING + bytes((0, 0, 0, 5))]
    assert failure(encoder.message(2, MessageType.USER_CONTROL, b"\x00", stream=0))


def test_a_window_is_acknowledged() -> None:
    encoder = publishing()
    encoder.message(2, MessageType.WINDOW_SIZE, (5000).to_bytes(4, "big"), stream=0)
    encoder.message(4, VIDEO, bytes(5000))
    (answer,) = encoder.answers
    assert answer.type == MessageType.ACKNOWLEDGEMENT
    assert int.from_bytes(answer.payload, "big") == encoder.session._reader.received


def test_answers_that_are_asked_for_all_at_once() -> None:
    encoder = connected()
    ping = Message(MessageType.USER_CONTROL, 0, 0, PING + b"time")
    events = encoder.session.receive(b"".join(encoder.writer.write(2, ping) for _ in range(20_000)))
    assert failure(events) == "too much is asked at once"
    assert len(encoder.session.take()) <= 65_536


def test_timestamps_have_64_bits() -> None:
    encoder = publishing()
    start = 0xFFFF_FFF0
    found = [encoder.message(4, VIDEO, b"x", at=start + n * 33 & 0xFFFF_FFFF)[0] for n in range(3)]
    assert found == [Media(MediaKind.VIDEO, start + n * 33, b"x") for n in range(3)]


def test_other_versions_of_the_handshake() -> None:
    assert failure(Session(RANDOM).receive(b"GET / HTTP/1.1\r\n\r\n"))


def test_other_messages_are_passed_over() -> None:
    encoder = connected()
    for kind in (MessageType.ACKNOWLEDGEMENT, MessageType.PEER_BANDWIDTH, 16, 19, 99):
        assert encoder.message(6, kind, bytes(5)) == []
    assert encoder.answers == []
