"""How rooms, people, messages and events look in a terminal."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from veza.cli.chat_text import (
    ALERT,
    BOLD,
    DIM,
    ERROR,
    MENTION,
    Line,
    clock,
    colour,
    harmless,
    harmless_lines,
    name_of,
    note,
    plain,
    short,
    size,
    when,
    width,
)
from veza.client import (
    Account,
    ClientError,
    Conversation,
    Durable,
    EventsExpired,
    Member,
    MemberJoined,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessageUnpinned,
    Notification,
    OtherRoomEvent,
    PublicRoom,
    ReactionAdded,
    ReactionRemoved,
    RoomDeleted,
    RoomEvent,
    RoomUpdated,
    Sanction,
)

_QUOTED = 40
_LEFT = {"removed": "was removed", "kicked": "was kicked", "banned": "was banned"}


class Lines:
    """Lines as one person sees them. `find` gives a message that was shown, by its id."""

    def __init__(self, me: Account, find: Callable[[str | None], Message | None]) -> None:
        self._me = me
        self._find = find
        self._mine = re.compile(rf"(?<![\w.@-])@{re.escape(me.username)}(?![\w-])", re.IGNORECASE)

    def event(self, event: Durable) -> Line:
        """A durable event as one entry; the further lines of a text are indented, so none can pose as a sender."""
        if isinstance(event, Message):
            return self.message(event)
        if isinstance(event, EventsExpired):
            many = f"{event.count} events" if event.count > 1 else "1 event"
            return note(f"{many} before #{event.seq + 1} are gone: this room does not keep them for ever", ALERT)
        if isinstance(event, MessageEdited) and event.content is not None:
            return self._edited(event)
        return note(self._told(event))

    def message(self, message: Message) -> Line:
        """One message, with what became of it."""
        head = self._head(message)
        if message.content is None:
            return [*head, (DIM, "(deleted)")]
        line = self._text(head, message.content, self._me.id in message.mentions)
        if message.parent_id is not None:
            line.insert(len(head), (DIM, f"{self._reference(message.parent_id, '↳ ')} "))
        if message.edited_at is not None:
            line.append((DIM, " (edited)"))
        if message.pinned:
            line.append((DIM, "  📌"))
        for reaction in message.reactions:
            line.append((BOLD if reaction.me else DIM, f"  {harmless(reaction.emoji)} {reaction.count}"))
        if message.reply_count:
            line.append((DIM, f"  {message.reply_count} in /thread {message.seq}"))
        for file in message.attachments:
            text = f"📎 {harmless(file.name)} ({size(file.size_bytes)})  /save {message.seq}"
            line += [(DIM, f"\n{indent(head)}"), ("", text)]
        return line

    def _edited(self, event: MessageEdited) -> Line:
        about = self._find(event.message_id)
        number = f"#{about.seq} " if about is not None else ""
        head: Line = [
            (DIM, f"{clock(event.edited_at or event.created_at)} ✎ {number}"),
            (colour(name_of(event.sender)), name_of(event.sender)),
            (DIM, " │ "),
        ]
        return [*self._text(head, event.content or "", self._me.id in event.mentions), (DIM, " (edited)")]

    def _head(self, message: Message) -> Line:
        sender = name_of(message.sender)
        return [
            (DIM, f"{clock(message.created_at)} #{message.seq} "),
            (colour(sender), sender),
            (ALERT if self._me.id in message.mentions else DIM, " │ "),
        ]

    def _text(self, head: Line, content: str, mentioned: bool) -> Line:
        line = list(head)
        for number, text in enumerate(harmless_lines(content)):
            if number:
                line.append((DIM, f"\n{indent(head)}"))
            line += self._marked(text) if mentioned else [("", text)]
        return line

    def _marked(self, text: str) -> Line:
        """One's own name stands out."""
        pieces: Line = []
        end = 0
        for found in self._mine.finditer(text):
            pieces += [("", text[end : found.start()]), (MENTION, found[0])]
            end = found.end()
        return [piece for piece in [*pieces, ("", text[end:])] if piece[1]] or [("", "")]

    def _told(self, event: RoomEvent) -> str:
        by, about = name_of(event.sender), self._reference(getattr(event, "message_id", None))
        match event:
            case MessageDeleted():
                told = f"{by} deleted {about}"
            case MessageEdited():
                told = f"{by} edited {about}, which was deleted since"
            case ReactionAdded():
                told = f"{harmless(event.emoji)}  {by} → {about}"
            case ReactionRemoved():
                told = f"{by} took {harmless(event.emoji)} back from {about}"
            case MessagePinned():
                told = f"📌 {by} pinned {about}"
            case MessageUnpinned():
                told = f"{by} unpinned {about}"
            case _:
                told = _told_of_room(event, by)
        return told

    def _reference(self, message_id: str | None, before: str = "") -> str:
        """A message by its number and first words."""
        found = self._find(message_id)
        if found is None:
            return f"{before}an earlier message"
        words = f" “{short(harmless(found.content), _QUOTED)}”" if found.content is not None else ""
        return f"{before}#{found.seq} {name_of(found.sender)}{words}"


def refusal_line(error: ClientError) -> Line:
    wait = f" Try again in {error.retry_after:.0f} s." if error.retry_after else ""
    return note(f"{harmless(error.message)}{wait}", ERROR)


def indent(head: Line) -> str:
    """What stands before the further lines of a text, so that none can pose as a sender."""
    return " " * (width(plain(head)) - 2) + "│ "


def _told_of_room(event: RoomEvent, by: str) -> str:
    match event:
        case MemberJoined():
            added = event.sender is not None and event.sender.id != event.user.id
            return f"{by} added {name_of(event.user)}" if added else f"{name_of(event.user)} joined"
        case MemberLeft():
            return _left(event)
        case RoomUpdated():
            return _updated(event)
        case RoomDeleted():
            return f"{by} deleted the room"
        case OtherRoomEvent():
            return harmless(event.type)
    return type(event).__name__


def _left(event: MemberLeft) -> str:
    told = f"{name_of(event.user)} {_LEFT.get(event.reason or '', 'left')}"
    by_another = event.sender is not None and event.sender.id != event.user.id
    return f"{told} by {name_of(event.sender)}" if by_another else told


def _updated(event: RoomUpdated) -> str:
    member = event.member
    if member is not None:
        if member.muted:
            return f"{name_of(member.user)} may not write until {when(member.muted_until)}"
        return f"{name_of(member.user)} is a {harmless(member.role or 'member')}, and may write"
    kept = "keeps everything" if not event.retention_days else f"keeps {event.retention_days} days"
    return f"the room is called {harmless(event.name or '')}, and {kept}" if event.name else f"the room {kept}"


def title(conversation: Conversation) -> str:
    """What a room is called: its name, or for a direct one the other person's."""
    if conversation.name:
        return harmless(conversation.name)
    if conversation.other is not None:
        return name_of(conversation.other)
    return f"{conversation.type} {conversation.id[:8]}"


def conversation_line(number: int, conversation: Conversation) -> Line:
    line: Line = [
        (BOLD, f"  {number:2} "),
        ("", title(conversation)),
        (DIM, f"  {conversation.type}  {conversation.id}"),
    ]
    if conversation.unread_count:
        line.append((BOLD, f"  {conversation.unread_count} unread"))
    last = conversation.last_message
    if last is not None and last.content:
        line.append((DIM, f"  {name_of(last.sender)}: {short(harmless(last.content), _QUOTED)}"))
    return line


def public_line(number: int, room: PublicRoom) -> Line:
    members = f"{room.member_count} {'member' if room.member_count == 1 else 'members'}"
    return [
        (BOLD, f"  {number:2} "),
        ("", harmless(room.name or "")),
        (DIM, f"  {members}{', you too' if room.joined else ''}  {room.id}"),
    ]


_PRESENCE = {
    "online": ("fg:ansigreen", "●"),
    "busy": ("fg:ansired", "●"),
    "away": ("fg:ansiyellow", "◐"),
}


def member_line(member: Member) -> Line:
    name = name_of(member.user)
    style, sign = _PRESENCE.get(member.presence or "", (DIM, "○"))
    read = f"  read to #{member.last_read_seq}" if member.last_read_seq else ""
    return [
        (style, f"    {sign} "),
        (colour(name), name),
        (DIM, f"  {harmless(member.role)}  {harmless(member.presence or 'unknown')}{read}  {member.user.id}"),
    ]


def sanction_line(sanction: Sanction) -> Line:
    line: Line = [
        (ERROR if sanction.active else DIM, f"    {sanction.action:5}"),
        (colour(name_of(sanction.user)), name_of(sanction.user)),
        (DIM, f"  by {name_of(sanction.by)}, {when(sanction.created_at)}"),
    ]
    if sanction.lifted_at is not None:
        line.append((DIM, ", lifted"))
    elif sanction.active and sanction.action in ("mute", "ban"):
        line.append(("", f", until {when(sanction.until)}"))
    if sanction.reason:
        line.append((DIM, f"  “{harmless(sanction.reason)}”"))
    return line


def notification_line(notification: Notification) -> Line:
    told = _notified(notification.kind, notification.data if isinstance(notification.data, Mapping) else {})
    style = DIM if notification.read_at is not None else ALERT
    return [(style, f"      ! {told}"), (DIM, f"  {when(notification.created_at)}" if notification.created_at else "")]


def _notified(kind: str, data: Mapping[str, Any]) -> str:
    def given(name: str) -> str:
        return harmless(str(data.get(name) or ""))

    def who(name: str) -> str:
        person = data.get(name)
        return harmless(str(person.get("username") or "")) if isinstance(person, Mapping) else ""

    room = given("room_name") or "a room"
    if kind == "mention":
        return f"{who('sender') or 'somebody'} mentioned you  /open {given('room_id')}"
    if kind == "stream_started":
        return f"{who('user') or 'somebody'} is live: {given('title')}"
    if kind == "announcement":
        return f"{given('title')}: {given('content')}"
    if kind == "moderation" and "content_type" in data:
        whose = "account" if data["content_type"] == "user" else given("content_type")
        return f"the administrators warn you about your {whose}"
    if kind == "moderation" and "action" in data:
        until = f" until {given('until')}" if data.get("until") else ""
        reason = f": {given('reason')}" if data.get("reason") else ""
        muted = ", and muted" if data.get("muted") and data["action"] == "warn" else ""
        return f"{given('action')} in {room}{muted}{until}{reason}"
    return harmless(kind).replace("_", " ")
