"""The messages that a server sends (RTMP 1.0, 5.4 and section 7)."""

from veza.realtime.rtmp.amf import Value, encode
from veza.realtime.rtmp.messages import Message, MessageType
from veza.realtime.rtmp.tags import Codecs

# Limits of what the peer sends are dynamic: it may choose (5.4.5).
_DYNAMIC = 2
_STREAM_BEGIN, PING_REQUEST, PING_RESPONSE = 0, 6, 7
# Encoders look for this name; the numbers are what other servers say (and mean: everything).
_SERVER = "FMS/3,5,7,7009"
_CAPABILITIES = 31
# Enhanced RTMP v2, "Enhancing NetConnection connect Command": we forward codecs, and understand packet modifiers with
# nanoseconds. Several tracks are not announced, for of these only one is taken.
_CAN_FORWARD = 4
_MODIFIERS_AND_NANOSECONDS = 0x04 | 0x08


def acknowledgement(received: int) -> Message:
    return _control(MessageType.ACKNOWLEDGEMENT, received.to_bytes(4, "big"))


def window(size: int) -> Message:
    return _control(MessageType.WINDOW_SIZE, size.to_bytes(4, "big"))


def bandwidth(size: int) -> Message:
    return _control(MessageType.PEER_BANDWIDTH, size.to_bytes(4, "big") + bytes((_DYNAMIC,)))


def stream_begin(stream_id: int) -> Message:
    return user_control(_STREAM_BEGIN, stream_id.to_bytes(4, "big"))


def user_control(event: int, data: bytes) -> Message:
    return _control(MessageType.USER_CONTROL, event.to_bytes(2, "big") + data)


def connected(transaction: float, codecs: Codecs | None) -> Message:
    """The answer to `connect` (7.2.1.1); `codecs` when the peer speaks Enhanced RTMP, for others know nothing of it."""
    server: dict[str, Value] = {"fmsVer": _SERVER, "capabilities": _CAPABILITIES}
    if codecs is not None:
        video: dict[str, Value] = dict.fromkeys(sorted(codecs.video), _CAN_FORWARD)
        audio: dict[str, Value] = dict.fromkeys(sorted(codecs.audio), _CAN_FORWARD)
        server["fourCcList"] = [*video, *audio]
        server["videoFourCcInfoMap"] = video
        server["audioFourCcInfoMap"] = audio
        server["capsEx"] = _MODIFIERS_AND_NANOSECONDS
    information = _information("status", "NetConnection.Connect.Success", "Connection succeeded.")
    return result(transaction, server, {**information, "objectEncoding": 0})


def result(transaction: float, *values: Value) -> Message:
    return _command(0, "_result", transaction, *values)


def call_failed(transaction: float, name: str) -> Message:
    information = _information("error", "NetConnection.Call.Failed", f"{name[:64]} is not known.")
    return _command(0, "_error", transaction, None, information)


def status(stream_id: int, level: str, code: str, description: str) -> Message:
    """`onStatus` (7.2.2), whose transaction is always zero."""
    return _command(stream_id, "onStatus", 0, None, _information(level, code, description))


def _information(level: str, code: str, description: str) -> dict[str, Value]:
    return {"level": level, "code": code, "description": description}


def _command(stream_id: int, *values: Value) -> Message:
    return Message(MessageType.COMMAND, stream_id, 0, encode(*values))


def _control(kind: MessageType, payload: bytes) -> Message:
    return Message(kind, 0, 0, payload)
