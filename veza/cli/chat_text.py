"""How a chat looks in a terminal: lines of styled text, and nothing in them that the terminal would obey."""

import zlib
from datetime import datetime

from veza.client import (
    Conversation,
    Durable,
    Member,
    MemberJoined,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    OtherRoomEvent,
    Person,
    PublicRoom,
    RoomDeleted,
    RoomEvent,
    RoomUpdated,
)

# (style, text) pairs, as prompt_toolkit has them; plain output takes the text only.
Line = list[tuple[str, str]]

DIM = "fg:ansibrightblack"
BOLD = "bold"
ERROR = "fg:ansired"
_SENDER_COLOURS = ("ansicyan", "ansigreen", "ansiyellow", "ansimagenta", "ansiblue", "ansibrightcyan", "ansibrightred")

_SEEN = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
# C1 controls act like ESC sequences in some terminals; bidi overrides let text pose as other text.
_UNSEEN = [*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_HARMLESS = _SEEN | dict.fromkeys(_UNSEEN, "\ufffd")
_HARMLESS_LINES = {code: shown for code, shown in _HARMLESS.items() if code != ord("\n")} | {ord("\t"): "    "}


def harmless(text: str) -> str:
    """One line of foreign text: control characters are shown, not obeyed."""
    return text.translate(_HARMLESS)


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def colour(name: str) -> str:
    """The same for a name everywhere."""
    return f"bold fg:{_SENDER_COLOURS[zlib.crc32(name.encode()) % len(_SENDER_COLOURS)]}"


def note(text: str, style: str = DIM) -> Line:
    return [(style, f"      · {text}")]


def clock(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%H:%M") if moment is not None else "     "


def name_of(person: Person | None) -> str:
    return harmless(person.username) if person is not None else "(somebody gone)"


def event_line(event: Durable) -> Line:
    """A durable event as one entry; the further lines of a message are indented, so none can pose as a sender."""
    return _message_line(event) if isinstance(event, Message) else note(_told(event))


def _told(event: RoomEvent) -> str:
    match event:
        case MessageEdited():
            told = f"a message was edited: {harmless(event.content or '')}"
        case MessageDeleted():
            told = "a message was deleted"
        case MemberJoined():
            told = f"{name_of(event.user)} joined"
        case MemberLeft():
            told = f"{name_of(event.user)} {'was removed' if event.reason == 'removed' else 'left'}"
        case RoomUpdated():
            told = f"the room is now called {harmless(event.name or '')}"
        case RoomDeleted():
            told = "the room was deleted"
        case OtherRoomEvent():
            told = harmless(event.type)
        case _:
            told = type(event).__name__
    return told


def _message_line(message: Message) -> Line:
    sender = name_of(message.sender)
    head: Line = [(DIM, f"{clock(message.created_at)} "), (colour(sender), sender), (DIM, " │ ")]
    if message.content is None:
        return [*head, (DIM, "(deleted)")]
    indent = " " * (len(plain(head)) - 2) + "│ "
    first, *others = message.content.translate(_HARMLESS_LINES).split("\n")
    line = [*head, ("", first)]
    for other in others:
        line += [(DIM, f"\n{indent}"), ("", other)]
    if message.edited_at is not None:
        line.append((DIM, " (edited)"))
    return line


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
        text = harmless(last.content)
        line.append((DIM, f"  {name_of(last.sender)}: {text[:40]}{'…' if len(text) > 40 else ''}"))
    return line


def public_line(number: int, room: PublicRoom) -> Line:
    members = f"{room.member_count} {'member' if room.member_count == 1 else 'members'}"
    return [
        (BOLD, f"  {number:2} "),
        ("", harmless(room.name or "")),
        (DIM, f"  {members}{', you too' if room.joined else ''}  {room.id}"),
    ]


def member_line(member: Member) -> Line:
    name = name_of(member.user)
    there = member.presence not in (None, "offline", "invisible")
    return [
        ("fg:ansigreen" if there else DIM, "    ● " if there else "    ○ "),
        (colour(name), name),
        (DIM, f"  {member.role}  {harmless(member.presence or 'unknown')}  {member.user.id}"),
    ]
