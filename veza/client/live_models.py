"""Live streams and their chats, as REST and the socket tell of them. Ids are UUIDs as text, times aware, in UTC."""

from datetime import datetime
from typing import Literal

import msgspec

from veza.client.models import Model, Person

Category = Literal["music", "talk", "podcast", "dj_set", "production", "lesson", "other"]
Sort = Literal["viewers", "newest"]
Order = Literal["newest", "oldest"]


class Stream(Model, frozen=True, kw_only=True):
    """A live stream.

    `status` is `draft`, `scheduled`, `live`, `interrupted` (its source has vanished and may come back) or `ended`;
    `is_live` also while it is interrupted. `playback_url` begins at the server's root.
    """

    id: str
    user: Person
    title: str
    description: str = ""
    category: str = "other"
    tags: list[str] = msgspec.field(default_factory=list)
    status: str
    is_live: bool
    is_private: bool = False
    is_recorded: bool = False
    slow_mode_seconds: int = 0
    playback_id: str
    playback_url: str
    viewer_count: int = 0
    peak_viewers: int = 0
    message_count: int = 0
    reaction_count: int = 0
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    interrupted_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class OwnStream(Stream, frozen=True, kw_only=True):
    """With the key of its owner: whoever has it can publish."""

    stream_key: str


class Streams(Model, frozen=True, kw_only=True):
    """A page, in the order that was asked for."""

    streams: list[Stream]
    total: int = 0


class OwnStreams(Model, frozen=True, kw_only=True):
    """A page, newest first."""

    streams: list[OwnStream]
    total: int = 0


class StreamKey(Model, frozen=True, kw_only=True):
    """Where an encoder publishes, the key being the stream's name there, and which stream it starts."""

    stream_key: str
    rtmp_url: str
    stream_id: str


class Playback(Model, frozen=True, kw_only=True):
    """Where the pictures are, from the server's root. Of a private stream it is a secret, good until `expires_at`."""

    playback_url: str
    expires_at: datetime | None = None


class StreamMessage(Model, frozen=True, kw_only=True):
    """A message of a stream's chat; also an event. `content` is None once it was deleted."""

    stream_id: str
    seq: int
    id: str
    sender: Person | None = None
    content: str | None = None
    client_msg_id: str | None = None
    created_at: datetime
    deleted_at: datetime | None = None


class StreamMessages(Model, frozen=True, kw_only=True):
    """A page of a chat; `next_cursor` asks for the next one in the same order."""

    messages: list[StreamMessage]
    next_cursor: str | None = None
    has_more: bool = False


class StreamHealth(Model, frozen=True, kw_only=True):
    """How well the encoder sends: rates of the last ten seconds, `dropped` and `late` frames since it came.

    Nothing has come for `silent_s`. `warnings` are sentences for the streamer.
    """

    status: str
    is_publishing: bool
    video_bps: int = 0
    audio_bps: int = 0
    fps: float = 0.0
    key_interval_s: float | None = None
    dropped: int = 0
    late: int = 0
    silent_s: float | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class Recording(Model, frozen=True, kw_only=True):
    """What is kept of a stream. While it is not `is_ready` more comes, and nothing can be played."""

    stream_id: str
    is_ready: bool
    duration_s: float = 0.0
    size_bytes: int = 0
    playback_url: str
    created_at: datetime | None = None
    finished_at: datetime | None = None


class RecordingMessage(Model, frozen=True, kw_only=True):
    """A message of the chat, which was written at this second of the recording."""

    id: str
    seq: int
    sender: Person | None = None
    content: str
    created_at: datetime
    position_s: float


class RecordingMessages(Model, frozen=True, kw_only=True):
    """A page, the oldest first."""

    messages: list[RecordingMessage]
    next_cursor: str | None = None
    has_more: bool = False


class StreamModerator(Model, frozen=True, kw_only=True):
    """Somebody who moderates a stream's chat, and since when."""

    user: Person
    created_at: datetime | None = None


class StreamModerators(Model, frozen=True, kw_only=True):
    """A page, the latest first."""

    moderators: list[StreamModerator]
    total: int = 0


class StreamSanction(Model, frozen=True, kw_only=True):
    """A `mute` or a `ban`: until `until`, or with None until it is lifted; `active` says whether it holds now."""

    id: str
    user: Person
    action: str
    reason: str = ""
    by: Person | None = None
    created_at: datetime | None = None
    until: datetime | None = None
    lifted_at: datetime | None = None
    active: bool = False


class StreamSanctions(Model, frozen=True, kw_only=True):
    """A page, newest first."""

    sanctions: list[StreamSanction]
    total: int = 0
    next_cursor: str | None = None
    has_more: bool = False


class StreamSanctioned(Model, frozen=True, kw_only=True):
    """The sanction with this id is in force."""

    id: str
    user_id: str
    action: str
    until: datetime | None = None


class FollowState(Model, frozen=True, kw_only=True):
    """Whether one follows a person now, and how many do."""

    user_id: str
    following: bool
    follower_count: int = 0


class Follow(Model, frozen=True, kw_only=True):
    """A person who follows or is followed, and since when."""

    user: Person
    created_at: datetime | None = None


class Followers(Model, frozen=True, kw_only=True):
    """A page, the latest first."""

    followers: list[Follow]
    total: int = 0


class Following(Model, frozen=True, kw_only=True):
    """A page, the latest first."""

    following: list[Follow]
    total: int = 0
