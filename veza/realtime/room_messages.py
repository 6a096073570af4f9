"""What members do to messages that are stored already: edit, delete, react, pin. Rules of a `Room`."""

from datetime import datetime

from veza.errors import Conflict, MessageNotFound, PermissionDenied, RoomNotFound
from veza.realtime import commands as c
from veza.realtime.events import Effects, EventKind, RoomEvent
from veza.realtime.known import Stored
from veza.realtime.messages import EDIT_WINDOW, EMOJI_A_USER, PINS, MessageState, Supplies, mentioned
from veza.realtime.protocol import clean_content, clean_emoji
from veza.realtime.room import Outcome, Room, RoomRole, RoomType, Unchanged


def edit(room: Room, command: c.EditMessage, now: datetime, supplies: Supplies) -> RoomEvent | Stored:
    if repeated := room.known.command(command.id):
        return repeated
    room.require_writer(command.by.id, now)
    message = _existing(room, command)
    if message.author != command.by.id:
        raise PermissionDenied("Only its author edits a message.")
    if now - message.created_at > EDIT_WINDOW:
        raise PermissionDenied("A message can be edited for 15 minutes.")
    content = clean_content(command.content)
    mentions = [str(user_id) for user_id in mentioned(content, supplies.names, room.members, command.by.id)]
    return room.append(
        EventKind.MESSAGE_EDITED,
        command.id,
        command.by,
        now,
        {"message_id": str(message.id)},
        effects=Effects(content=content, mentions=mentions),
    )


def delete(room: Room, command: c.DeleteMessage, now: datetime) -> Outcome:
    if repeated := room.known.command(command.id):
        return repeated
    role = None
    if not command.by_admin:
        role = room.require_member(command.by.id)
    elif room.deleted:
        raise RoomNotFound()
    message = room.messages.get(command.message_id)
    if message is None:
        raise MessageNotFound()
    # In a direct room nobody stands above the other: both are members.
    if role is not None and message.author != command.by.id and role.rank < RoomRole.MODERATOR.rank:
        raise PermissionDenied("A message is deleted by its author or a moderator.")
    if message.deleted:
        return Unchanged(room.head)
    message.deleted = True
    if message.pinned:
        message.pinned = False
        room.pins -= 1
    return room.append(EventKind.MESSAGE_DELETED, command.id, command.by, now, {"message_id": str(message.id)})


def react(room: Room, command: c.React, now: datetime) -> Outcome:
    if repeated := room.known.command(command.id):
        return repeated
    room.require_writer(command.by.id, now)
    emoji = clean_emoji(command.emoji)
    message = _existing(room, command)
    mine = message.reactions.setdefault(command.by.id, set())
    if (emoji in mine) == command.on:
        return Unchanged(room.head)
    if command.on and len(mine) >= EMOJI_A_USER:
        raise Conflict(f"You have given this message {EMOJI_A_USER} different emoji already.")
    (mine.add if command.on else mine.discard)(emoji)
    kind = EventKind.REACTION_ADDED if command.on else EventKind.REACTION_REMOVED
    body = {"message_id": str(message.id), "emoji": emoji}
    return room.append(kind, command.id, command.by, now, body)


def pin(room: Room, command: c.Pin, now: datetime) -> Outcome:
    if repeated := room.known.command(command.id):
        return repeated
    role = room.require_writer(command.by.id, now)
    if room.type is not RoomType.DIRECT and role.rank < RoomRole.MODERATOR.rank:
        raise PermissionDenied("Messages are pinned by the owner or a moderator.")
    message = _existing(room, command)
    if message.pinned == command.on:
        return Unchanged(room.head)
    if command.on and room.pins >= PINS:
        raise Conflict(f"A room has at most {PINS} pinned messages.")
    message.pinned = command.on
    room.pins += 1 if command.on else -1
    kind = EventKind.MESSAGE_PINNED if command.on else EventKind.MESSAGE_UNPINNED
    return room.append(kind, command.id, command.by, now, {"message_id": str(message.id)})


def _existing(room: Room, command: c.MessageCommand) -> MessageState:
    """Raises MessageNotFound."""
    message = room.messages.get(command.message_id)
    if message is None or message.deleted:
        raise MessageNotFound()
    return message
