"""What gateways and ingests say to stream shards and ingests, and hear of them: msgpack, as `realtime.commands`."""

from uuid import UUID

import msgspec

from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.hls.view import PlaylistView

# -- gateway → shard ---------------------------------------------------------------------------------------------


class FollowStream(c.Routed, tag=40):
    """The gateway has viewers of this stream (again): all of them, `anonymous` being sockets of nobody known. `told` is
    the seq of the last message that they know, where some are to be told all that was said since.

    Answered with `StreamFollowed`.
    """

    ref: int
    stream_id: UUID
    people: list[UUID]
    anonymous: int
    told: int | None = None


class UnfollowStream(c.Routed, tag=41):
    """It has none any more."""

    stream_id: UUID


class ReportViewers(c.Routed, tag=42):
    """Who came and left since the last report; `anonymous` is always all of them."""

    stream_id: UUID
    came: list[UUID]
    left: list[UUID]
    anonymous: int


class SayInStream(c.Routed, tag=43):
    ref: int
    stream_id: UUID
    id: UUID
    sender: Person
    content: str
    client_msg_id: str | None = None
    again: bool = False


class Applaud(c.Routed, tag=44):
    """Reactions of the gateway's viewers, summed; lost when the shard is."""

    stream_id: UUID
    counts: dict[str, int]


class RemoveStreamMessage(c.Routed, tag=45):
    ref: int
    stream_id: UUID
    by: Person
    message_id: UUID
    by_admin: bool = False


class SanctionViewer(c.Routed, tag=46):
    """`action` is mute or ban; `duration_s` None lasts until lifted."""

    ref: int
    stream_id: UUID
    id: UUID
    by: Person
    user: Person
    action: str
    duration_s: int | None = None
    reason: str = ""
    by_admin: bool = False
    again: bool = False


class LiftSanction(c.Routed, tag=47):
    ref: int
    stream_id: UUID
    by: Person
    user: Person
    action: str
    by_admin: bool = False


class AppointModerator(c.Routed, tag=48):
    """`on` makes somebody a moderator, else they are one no more."""

    ref: int
    stream_id: UUID
    by: Person
    user: Person
    on: bool


class StartStream(c.Routed, tag=49):
    """It is fed by a source that is not ours. Answered with the stream."""

    ref: int
    stream_id: UUID
    by: Person


class StopStream(c.Routed, tag=50):
    """Answered with the stream."""

    ref: int
    stream_id: UUID
    by: Person
    by_admin: bool = False


class RereadStream(c.Routed, tag=51):
    """Its row was changed, or deleted. `revoke`: its owner has another key. Answered with `{}`."""

    ref: int
    stream_id: UUID
    revoke: bool = False


# -- ingest → shard ----------------------------------------------------------------------------------------------


class PublishSource(c.Routed, tag=60):
    """A source wants to feed the stream, or still does. Answered with a `Published`."""

    ref: int
    stream_id: UUID
    source_id: UUID
    ingest: str
    key_hash: bytes


class SourceGone(c.Routed, tag=61):
    """`clean`: the encoder said that it ends, else it vanished. Answered with `{}`."""

    ref: int
    stream_id: UUID
    source_id: UUID
    clean: bool


class Published(msgspec.Struct, frozen=True):
    """What the ingest must know of the stream that it feeds, as JSON. It has been on the air for `live_s` seconds."""

    playback_id: str
    is_recorded: bool
    live_s: float = 0.0


ViewerCommand = FollowStream | UnfollowStream | ReportViewers | Applaud
ModerationCommand = RemoveStreamMessage | SanctionViewer | LiftSanction | AppointModerator
LifeCommand = PublishSource | SourceGone | StartStream | StopStream | RereadStream
StreamCommand = ViewerCommand | SayInStream | ModerationCommand | LifeCommand


class StreamCommandBatch(c.Wire):
    """`gateway` is the name of the actor that wants the answers."""

    gateway: str
    commands: list[StreamCommand]


# -- shard → gateway ---------------------------------------------------------------------------------------------


class StreamState(c.Wire):
    """What gateways must know of a stream. `shown` is its JSON."""

    shown: bytes
    owner_id: UUID
    is_private: bool
    moderators: list[UUID]
    banned: list[UUID]


class StreamFollowed(c.Wire, tag=40):
    """All that the gateway must know; what is later follows in this same stream. `recent` are the JSON of the last
    messages, from seq `recent_from` to `head`, `older` those before them, from the one that was `told` on to seq
    `older_to`; deleted ones are left out, so their seqs are told.
    """

    ref: int
    stream_id: UUID
    state: StreamState
    viewers: int
    head: int
    recent: list[tuple[int, bytes]]
    epoch: int = 0
    recent_from: int = 1
    older: list[tuple[int, bytes]] = msgspec.field(default_factory=list)
    older_to: int = 0


class StreamChanged(c.Wire, tag=41):
    """`frames` tell of it. `state` None: the stream is no more."""

    stream_id: UUID
    state: StreamState | None
    frames: list[bytes]


# -- shard → ingest ----------------------------------------------------------------------------------------------


class SourceCut(c.Wire, tag=42):
    """The source may not feed its stream any more."""

    source_id: UUID


# -- gateway ⇄ ingest --------------------------------------------------------------------------------------------


class FollowPlayback(c.Routed, tag=62):
    """The gateway serves these pictures for the next FOLLOWED_S; `mirror`: it does not see the ingest's files."""

    playback_id: str
    mirror: bool


class PlaylistShown(c.Wire, tag=43):
    playback_id: str
    view: PlaylistView


class MediaFile(c.Wire, tag=44):
    """A file that the next playlist names; `data` None: it is needed no more."""

    playback_id: str
    name: str
    data: bytes | None


class PlaybackGone(c.Wire, tag=45):
    """The ingest has no such pictures."""

    playback_id: str


StreamDelivery = (
    c.Events
    | c.Transient
    | c.Answer
    | c.Refusal
    | c.NotOwner
    | c.Lagged
    | StreamFollowed
    | StreamChanged
    | SourceCut
    | PlaylistShown
    | MediaFile
    | PlaybackGone
)


class StreamDeliveryBatch(c.Wire):
    shard: str
    items: list[StreamDelivery]
    committed_at: float = 0.0


class PlaybackBatch(c.Wire):
    """What gateways say to ingests."""

    gateway: str
    commands: list[FollowPlayback]


_commands = msgspec.msgpack.Decoder(StreamCommandBatch)
_deliveries = msgspec.msgpack.Decoder(StreamDeliveryBatch)
_playbacks = msgspec.msgpack.Decoder(PlaybackBatch)


def decode_commands(data: bytes) -> StreamCommandBatch:
    return _commands.decode(data)


def decode_deliveries(data: bytes) -> StreamDeliveryBatch:
    return _deliveries.decode(data)


def decode_playbacks(data: bytes) -> PlaybackBatch:
    return _playbacks.decode(data)
