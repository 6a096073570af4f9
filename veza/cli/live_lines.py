"""How live streams, their messages and what happens in them look in a terminal."""

from datetime import UTC, datetime

from veza.cli.chat_lines import indent
from veza.cli.chat_text import (
    ALERT,
    BOLD,
    DIM,
    ERROR,
    Line,
    clock,
    colour,
    harmless,
    harmless_lines,
    name_of,
    note,
    when,
)
from veza.client import (
    Stream,
    StreamEvent,
    StreamMessage,
    StreamMessageDeleted,
    StreamMessagesSkipped,
    StreamReactions,
    StreamStarted,
    StreamStopped,
    StreamUpdated,
    ViewerCount,
)

_STATES = {
    "live": ("bold fg:ansired", "● live"),
    "interrupted": (ALERT, "◐ interrupted"),
    "scheduled": (DIM, "○ scheduled"),
    "draft": (DIM, "○ not live yet"),
    "ended": (DIM, "○ ended"),
}


def state(stream: Stream, now: datetime) -> str:
    """Where a stream is in its life, and how long it has been on the air."""
    _, text = _STATES.get(stream.status, (DIM, harmless(stream.status)))
    if stream.status == "scheduled" and stream.scheduled_at is not None:
        return f"{text} for {when(stream.scheduled_at)}"
    if stream.is_live and stream.started_at is not None:
        return f"{text} {length((now - stream.started_at).total_seconds())}"
    return text


def length(seconds: float) -> str:
    """A time as players show it."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def named(stream: Stream) -> str:
    return f"{harmless(stream.title)} by {name_of(stream.user)}"


def viewers(count: int) -> str:
    return f"{count} {'viewer' if count == 1 else 'viewers'}"


def applause(reactions: StreamReactions) -> str:
    counts = sorted(reactions.counts.items(), key=lambda one: -one[1])
    return "  ".join(f"{harmless(emoji)} {count}" for emoji, count in counts)


def stream_line(stream: Stream) -> Line:
    """One of a list."""
    style, _ = _STATES.get(stream.status, (DIM, ""))
    line: Line = [(style, f"  {state(stream, datetime.now(UTC)):22}"), ("", named(stream))]
    if stream.is_live:
        line.append((DIM, f"  {viewers(stream.viewer_count)}"))
    if stream.is_private:
        line.append((DIM, "  private"))
    return [*line, (DIM, f"  {harmless(stream.category)}  {stream.id}")]


def message_line(message: StreamMessage) -> Line:
    """The further lines of a text are indented, so that none can pose as a sender."""
    sender = name_of(message.sender)
    head: Line = [
        (DIM, f"{clock(message.created_at)} #{message.seq} "),
        (colour(sender), sender),
        (DIM, " │ "),
    ]
    if message.content is None:
        return [*head, (DIM, "(deleted)")]
    line = list(head)
    for number, text in enumerate(harmless_lines(message.content)):
        if number:
            line.append((DIM, f"\n{indent(head)}"))
        line.append(("", text))
    return line


def event_line(event: StreamEvent, stream: Stream, about: StreamMessage | None) -> Line | None:
    """What happens, as one entry; None for what only figures tell. `about` is the message that an event is about."""
    told = None
    match event:
        case StreamMessage():
            told = message_line(event)
        case StreamStarted():
            told = note(f"{named(stream)} is on the air", BOLD)
        case StreamStopped():
            most = f"{viewers(event.peak_viewers)} at most"
            told = note(f"the stream has ended after {length(event.duration_s)}, with {most}", BOLD)
        case StreamUpdated(deleted=True):
            told = note("the stream was deleted", ERROR)
        case StreamUpdated():
            told = note(f"{named(stream)}  {state(stream, datetime.now(UTC))}")
        case StreamMessageDeleted():
            told = note(f"#{about.seq} of {name_of(about.sender)} was deleted" if about else "a message was deleted")
        case StreamMessagesSkipped():
            many = f"{event.count} messages were" if event.count > 1 else "1 message was"
            told = note(f"{many} not received", ALERT)
    return told


def figure_line(event: StreamEvent) -> Line | None:
    """What has a place of its own on a screen, and needs a line where there is none."""
    match event:
        case ViewerCount():
            return note(viewers(event.count))
        case StreamReactions():
            return note(applause(event))
    return None
