"""A publisher's connection, from the handshake to the end of its stream (RTMP 1.0, sections 5 to 7).

```
session = Session(os.urandom(RANDOM_BYTES))
for each piece of data:   events = session.receive(data);   send session.take()
```
"""

import enum
from collections.abc import Callable
from typing import Final

import msgspec

from veza.realtime.rtmp import amf, replies
from veza.realtime.rtmp.amf import Value
from veza.realtime.rtmp.chunks import (
    DEFAULT_WINDOW_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_UNFINISHED_BYTES,
    ChunkReader,
    ChunkWriter,
)
from veza.realtime.rtmp.clock import Clock
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Event, Failed, Media, MediaKind, Metadata, PublishAsked, Unpublished
from veza.realtime.rtmp.handshake import Handshake
from veza.realtime.rtmp.messages import Message, MessageType
from veza.realtime.rtmp.tags import ALL_CODECS, Codecs

# Until somebody may publish, a connection costs no more than this.
MAX_BYTES_BEFORE = 65_536
# Answers that nobody reads: who asks so much at once is no encoder.
MAX_TO_SEND = 65_536
MAX_NAME = 1024
CHUNK_BYTES = 4096

_CONTROL, _CALLS, _STREAM = 2, 3, 5  # chunk streams for what we send
_STREAM_ID = 1  # there is one stream, whoever asks how often
_ENHANCED = ("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx")
_MEDIA: Final[dict[int, MediaKind]] = {MessageType.AUDIO: MediaKind.AUDIO, MessageType.VIDEO: MediaKind.VIDEO}


class State(enum.Enum):
    NEW = "before connect"
    CONNECTED = "connected"
    ASKED = "publishing was asked for"
    PUBLISHING = "publishing"
    ENDED = "the stream has ended"
    REFUSED = "publishing was refused"


class _Call(msgspec.Struct):
    name: str
    transaction: float
    arguments: list[Value]  # from the command object on
    stream_id: int

    def argument(self, position: int) -> Value:
        return self.arguments[position] if position < len(self.arguments) else None

    def text(self, position: int) -> str:
        found = self.argument(position)
        if not isinstance(found, str) or len(found) > MAX_NAME:
            raise RtmpError(f"{self.name} without a name, or with a very long one")
        return found


class Session:
    """`receive` tells what happened, `take` what is to be sent, after each call of anything here.

    Whatever a peer sends, `receive` returns: a violation is the event Failed, after those before it. It raises
    RtmpError only when called again after that. A connection carries one stream, once.
    """

    def __init__(self, random: bytes, *, max_message: int = MAX_MESSAGE_BYTES, codecs: Codecs = ALL_CODECS) -> None:
        self.state = State.NEW
        self._codecs = codecs
        self._max_message = max_message
        self._handshake = Handshake(random)
        self._reader = ChunkReader(min(max_message, MAX_BYTES_BEFORE), MAX_BYTES_BEFORE)
        self._writer = ChunkWriter()
        self._clock = Clock()
        self._to_send: list[bytes] = []
        self._size_to_send = 0
        self._app = ""
        self._stream_id = _STREAM_ID
        self._failed: str | None = None

    def receive(self, data: bytes) -> list[Event]:
        if self._failed is not None:
            raise RtmpError(self._failed)
        events: list[Event] = []
        try:
            if not self._handshake.done:
                reply, data = self._handshake.receive(data)
                self._queue(reply)
            if data:
                for message in self._reader.feed(data):
                    self._handle(message, events)
                received = self._reader.acknowledgement()
                if received is not None:
                    self._send(_CONTROL, replies.acknowledgement(received))
        except RtmpError as error:
            self._failed = error.reason
            events.append(Failed(error.reason))
        return events

    def take(self) -> bytes:
        """What is to be sent, once."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        self._size_to_send = 0
        return data

    def accept_publish(self) -> None:
        """RtmpError if nobody asks any more: the publisher may have gone while it was decided."""
        self._answer(State.PUBLISHING)
        self._reader.max_message = self._max_message
        self._reader.max_unfinished = max(self._max_message, MAX_UNFINISHED_BYTES)
        self._send(_CONTROL, replies.stream_begin(self._stream_id))
        self._status("status", "NetStream.Publish.Start", "The stream is being published.")

    def refuse_publish(self, code: str, description: str) -> None:
        """`code` is `NetStream.Publish.BadName` or `NetStream.Publish.Denied`. RtmpError as above."""
        self._answer(State.REFUSED)
        self._status("error", code, description)

    def ping(self, timestamp: int) -> None:
        """Asks for an answer (7.1.7), which is then only some received bytes."""
        self._send(_CONTROL, replies.user_control(replies.PING_REQUEST, (timestamp & 0xFFFF_FFFF).to_bytes(4, "big")))

    def _answer(self, state: State) -> None:
        if self.state is not State.ASKED or self._failed is not None:
            raise RtmpError("nobody asks to publish")
        self.state = state

    def _handle(self, message: Message, events: list[Event]) -> None:
        kind = _MEDIA.get(message.type)
        if kind is not None:
            if self._takes_media():
                events.append(Media(kind, self._clock.unwrap(kind, message.timestamp), message.payload))
            return
        match message.type:
            case MessageType.COMMAND:
                self._command(message, message.payload, events)
            case MessageType.COMMAND_AMF3:
                self._command(message, _without_format(message.payload), events)
            case MessageType.DATA:
                self._data(message, message.payload, events)
            case MessageType.DATA_AMF3:
                self._data(message, _without_format(message.payload), events)
            case MessageType.USER_CONTROL:
                self._user_control(message.payload)
            case MessageType.AGGREGATE:
                raise RtmpError("aggregate messages are not taken")
            case _:
                pass  # acknowledgements, our bandwidth, shared objects, what is not known

    def _takes_media(self) -> bool:
        """False if it is to be passed over: more may be on the way when a stream ends."""
        if self.state is State.PUBLISHING:
            return True
        if self.state is State.ENDED:
            return False
        raise RtmpError("media before publishing")

    def _data(self, message: Message, payload: bytes, events: list[Event]) -> None:
        """Metadata, or other script data (7.1.2)."""
        if not self._takes_media():
            return
        decoder = amf.Decoder(payload)
        name = decoder.value() if decoder.more else None
        if name == "@setDataFrame" and decoder.more:
            name = decoder.value()
        if name != "onMetaData":
            at = self._clock.unwrap(MediaKind.SCRIPT, message.timestamp, steers=False)
            events.append(Media(MediaKind.SCRIPT, at, payload))
            return
        values = decoder.value() if decoder.more else None
        if isinstance(values, dict):
            events.append(Metadata(values))

    def _user_control(self, payload: bytes) -> None:
        if len(payload) < 2:
            raise RtmpError("a control message has the wrong length")
        event = int.from_bytes(payload[:2], "big")
        if event == replies.PING_REQUEST:
            self._send(_CONTROL, replies.user_control(replies.PING_RESPONSE, payload[2:6]))

    def _command(self, message: Message, payload: bytes, events: list[Event]) -> None:
        values = amf.decode(payload)
        name = values[0] if values else None
        transaction = values[1] if len(values) > 1 else 0.0
        if not isinstance(name, str) or not isinstance(transaction, float):
            raise RtmpError("a command without a name or a transaction")
        if (self.state is State.NEW) != (name == "connect"):
            raise RtmpError("connect comes first, and once")
        call = _Call(name, transaction, values[2:], message.stream_id)
        handler = _COMMANDS.get(name)
        if handler is not None:
            handler(self, call, events)
        elif transaction:
            self._send(_CALLS, replies.call_failed(transaction, name))

    def _connect(self, call: _Call, _events: list[Event]) -> None:
        """`connect` (7.2.1.1)."""
        properties = call.argument(0)
        if not isinstance(properties, dict):
            raise RtmpError("connect without properties")
        app = properties.get("app")
        if not isinstance(app, str) or len(app) > MAX_NAME:
            raise RtmpError("connect without an app, or with a very long one")
        self._app = app
        self.state = State.CONNECTED
        self._send(_CONTROL, replies.window(DEFAULT_WINDOW_BYTES))
        self._send(_CONTROL, replies.bandwidth(DEFAULT_WINDOW_BYTES))
        self._queue(self._writer.set_chunk_size(CHUNK_BYTES))
        enhanced = any(name in properties for name in _ENHANCED)
        self._send(_CALLS, replies.connected(call.transaction, self._codecs if enhanced else None))

    def _create_stream(self, call: _Call, _events: list[Event]) -> None:
        """`createStream` (7.2.1.3)."""
        self._send(_CALLS, replies.result(call.transaction, None, _STREAM_ID))

    def _acknowledge(self, call: _Call, _events: list[Event]) -> None:
        """What Flash servers had and encoders still say: nothing is to be done for it."""
        if call.transaction:
            self._send(_CALLS, replies.result(call.transaction, None, None))

    def _publish(self, call: _Call, events: list[Event]) -> None:
        """`publish` (7.2.2.6): whether it is live, to be recorded or appended is all the same."""
        if self.state is not State.CONNECTED:
            raise RtmpError("one stream a connection")
        self.state = State.ASKED
        self._stream_id = call.stream_id
        events.append(PublishAsked(self._app, call.text(1), call.transaction))

    def _unpublish(self, call: _Call, events: list[Event]) -> None:
        """`FCUnpublish`, `closeStream` and `deleteStream` (7.2.2.3): encoders say several of them."""
        if call.name == "FCUnpublish":
            self._acknowledge(call, events)
        if self.state in (State.ASKED, State.PUBLISHING):
            self.state = State.ENDED
            self._status("status", "NetStream.Unpublish.Success", "The stream has ended.")
            events.append(Unpublished())

    def _play(self, call: _Call, _events: list[Event]) -> None:
        """`play` (7.2.2.1) and `play2`."""
        self._stream_id = call.stream_id
        self._status("error", "NetStream.Play.Failed", "Streams are not played here.")
        raise RtmpError("playing is not offered")

    def _ignore(self, _call: _Call, _events: list[Event]) -> None:
        """Answers to what we never asked."""

    def _status(self, level: str, code: str, description: str) -> None:
        self._send(_STREAM, replies.status(self._stream_id, level, code, description))

    def _send(self, csid: int, message: Message) -> None:
        self._queue(self._writer.write(csid, message))

    def _queue(self, data: bytes) -> None:
        self._size_to_send += len(data)
        if self._size_to_send > MAX_TO_SEND:
            raise RtmpError("too much is asked at once")
        if data:
            self._to_send.append(data)


def _without_format(payload: bytes) -> bytes:
    """Messages called AMF3 begin with a byte that says: AMF0 (Enhanced RTMP v2, "Enabling AMF3 in RTMP")."""
    if payload[:1] != b"\0":
        raise RtmpError("AMF3 is not spoken")
    return payload[1:]


_COMMANDS: Final[dict[str, Callable[[Session, _Call, list[Event]], None]]] = {
    "connect": Session._connect,
    "createStream": Session._create_stream,
    "releaseStream": Session._acknowledge,
    "FCPublish": Session._acknowledge,
    "_checkbw": Session._acknowledge,
    "publish": Session._publish,
    "FCUnpublish": Session._unpublish,
    "closeStream": Session._unpublish,
    "deleteStream": Session._unpublish,
    "play": Session._play,
    "play2": Session._play,
    "_result": Session._ignore,
    "_error": Session._ignore,
    "onStatus": Session._ignore,
}
