"""A stream as everybody sees it, over REST and sockets."""

import enum
from datetime import datetime
from uuid import UUID

import msgspec

from veza.realtime.events import Person
from veza.realtime.streams.life import StreamStatus


class StreamCategory(enum.StrEnum):
    MUSIC = "music"
    TALK = "talk"
    PODCAST = "podcast"
    DJ_SET = "dj_set"
    PRODUCTION = "production"
    LESSON = "lesson"
    OTHER = "other"


class Stream(msgspec.Struct, frozen=True):
    """`is_live` also while an interrupted one waits for its source. `duration_s` is null before it starts."""

    id: UUID
    user: Person
    title: str
    description: str
    category: StreamCategory
    tags: list[str]
    status: StreamStatus
    is_live: bool
    is_private: bool
    is_recorded: bool
    slow_mode_seconds: int
    playback_id: str
    playback_url: str
    viewer_count: int
    peak_viewers: int
    message_count: int
    reaction_count: int
    scheduled_at: datetime | None
    started_at: datetime | None
    interrupted_at: datetime | None
    ended_at: datetime | None
    duration_s: int | None
    created_at: datetime
    updated_at: datetime
