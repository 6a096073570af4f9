"""An encoder by hand: what OBS and ffmpeg send, and what they read of the answers."""

import itertools

from veza.realtime.rtmp import amf
from veza.realtime.rtmp.chunks import ChunkReader, ChunkWriter
from veza.realtime.rtmp.events import Event
from veza.realtime.rtmp.handshake import PACKET_BYTES, RANDOM_BYTES
from veza.realtime.rtmp.messages import Message, MessageType
from veza.realtime.rtmp.session import Session

RANDOM = bytes(index & 0xFF for index in range(RANDOM_BYTES))
C1 = bytes(8) + RANDOM[::-1]
HANDSHAKE = b"\x03" + C1 + bytes(PACKET_BYTES)
CONNECT = {"app": "live", "type": "nonprivate", "flashVer": "FMLE/3.0", "tcUrl": "rtmp://localhost/live"}


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, ended where `at` says."""
    places = [0, *sorted(place for place in at if place <= len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


class Encoder:
    def __init__(self, session: Session | None = None) -> None:
        self.session = session or Session(RANDOM)
        self.writer = ChunkWriter()
        self._reader = ChunkReader()
        self._handshake = len(HANDSHAKE)  # what is left of the answer to it
        self.answers: list[Message] = []

    def send(self, data: bytes) -> list[Event]:
        events = self.session.receive(data)
        self.read()
        return events

    def read(self) -> None:
        data = self.session.take()
        size = min(self._handshake, len(data))
        self._handshake -= size
        self.answers += self._reader.feed(data[size:])

    def message(self, csid: int, kind: int, payload: bytes, stream: int = 1, at: int = 0) -> list[Event]:
        return self.send(self.writer.write(csid, Message(kind, stream, at, payload)))

    def command(self, *values: amf.Value, stream: int = 0) -> list[Event]:
        return self.message(3, MessageType.COMMAND, amf.encode(*values), stream)

    def said(self) -> list[list[amf.Value]]:
        """The commands that were answered since the last time."""
        found = [amf.decode(message.payload) for message in self.answers if message.type == MessageType.COMMAND]
        self.answers.clear()
        return found

    def ask_to_publish(self) -> list[Event]:
        """Everything up to `publish`, as OBS says it."""
        self.send(HANDSHAKE)
        self.command("connect", 1, dict(CONNECT))
        self.send(self.writer.set_chunk_size(4096))
        self.command("releaseStream", 2, None, "key")
        self.command("FCPublish", 3, None, "key")
        self.command("createStream", 4, None)
        return self.command("publish", 5, None, "key", "live", stream=1)

    def publish(self) -> None:
        self.ask_to_publish()
        self.session.accept_publish()
        self.read()
        self.answers.clear()
