"""What a session tells its owner."""

import enum
from typing import TypeAlias

import msgspec

from veza.realtime.rtmp.amf import Value


class MediaKind(enum.StrEnum):
    AUDIO = "audio"
    VIDEO = "video"
    SCRIPT = "script"


class PublishAsked(msgspec.Struct, frozen=True):
    """Somebody wants to publish: `accept_publish` or `refuse_publish` answers. The name is often a secret key."""

    app: str
    stream_name: str
    transaction: float


class Media(msgspec.Struct, frozen=True, gc=False):
    """The body of an FLV tag. Of each kind, timestamps never go back."""

    kind: MediaKind
    timestamp_ms: int
    payload: bytes


class Metadata(msgspec.Struct, frozen=True):
    """What the encoder says of the stream (`onMetaData`): any values under any names."""

    values: dict[str, Value]


class Unpublished(msgspec.Struct, frozen=True):
    """The publisher ended the stream. Whatever it sends of it after that is passed over."""


class Failed(msgspec.Struct, frozen=True):
    """The last event: send what there is to send, and close."""

    reason: str


Event: TypeAlias = PublishAsked | Media | Metadata | Unpublished | Failed
