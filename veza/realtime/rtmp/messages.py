"""RTMP messages, which chunks carry (RTMP 1.0, 5.4 and 7.1)."""

import enum

import msgspec


class MessageType(enum.IntEnum):
    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_SIZE = 5
    PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


class Message(msgspec.Struct, frozen=True, gc=False):
    """`type` is an int, for types that we do not know are passed over. `timestamp` has 32 bits."""

    type: int
    stream_id: int
    timestamp: int
    payload: bytes
