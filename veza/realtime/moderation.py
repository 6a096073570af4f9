"""Roles and sanctions in a room. Rules of a `Room`."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from veza.errors import InvalidArgument, NotAMember, PermissionDenied, RoomNotFound
from veza.realtime import commands as c
from veza.realtime.events import Effects, EventKind, Person, RoomEvent, notices
from veza.realtime.known import Stored
from veza.realtime.protocol import clean_line, timestamp
from veza.realtime.room import Outcome, Room, RoomRole, RoomType, Unchanged, role_named
from veza.realtime.sanctions import ACTIONS, LASTING, LONGEST_S, REASON_CHARS, Policy


def set_role(room: Room, command: c.SetRole, now: datetime) -> Outcome:
    if repeated := room.known.command(command.id):
        return repeated
    mine = room.require_member(command.by.id)
    role = role_named(command.role)
    theirs = room.members.get(command.user.id)
    if theirs is None:
        raise NotAMember("This person is not a member.")
    if room.type is RoomType.DIRECT or mine.rank < RoomRole.MODERATOR.rank:
        raise PermissionDenied()
    if theirs.rank >= mine.rank or role.rank >= mine.rank:
        raise PermissionDenied("You can only give and take roles below your own.")
    if role is theirs:
        return Unchanged(room.head)
    room.members[command.user.id] = role
    return _member_updated(room, command, now, None)


def sanction(room: Room, command: c.Sanction, now: datetime, policy: Policy) -> RoomEvent | Stored:
    if repeated := room.known.command(command.id):
        return repeated
    _require_authority(room, command)
    reason = clean_line(command.reason, REASON_CHARS, "reason")
    until = _until(command, now)
    if command.action != "ban" and command.user.id not in room.members:
        raise NotAMember("This person is not a member.")
    rows = [_row(command, command.id, command.action, reason, until)]
    muted = command.action == "mute"
    if command.action == "warn":
        count = room.sanctions.warn(command.user.id)
        if policy.warnings_before_mute and count % policy.warnings_before_mute == 0:
            until = now + timedelta(seconds=policy.warning_mute_s)
            rows.append(_row(command, uuid5(command.id, "mute"), "mute", reason, until))
            muted = True
    if muted:
        room.sanctions.impose(command.user.id, "mute", until)
        room.typing.pop(command.user.id, None)
    elif command.action == "ban":
        room.sanctions.impose(command.user.id, "ban", until)
    told = {
        "room_id": str(room.id),
        "room_name": room.name,
        "action": command.action,
        "muted": muted,
        "until": None if until is None else timestamp(until),
        "reason": reason,
    }
    effects = Effects(sanctions=rows, notify=notices(command.id, [command.user.id], "moderation", told))
    if command.action in ("kick", "ban"):
        return _removed(room, command, now, effects)
    return _member_updated(room, command, now, effects)


def lift(room: Room, command: c.Lift, now: datetime) -> Outcome:
    if repeated := room.known.command(command.id):
        return repeated
    _require_authority(room, command)
    if command.action not in LASTING:
        raise InvalidArgument("Only a mute or a ban lasts.", (("action", "mute or ban"),))
    if not room.sanctions.lift(command.user.id, command.action):
        return Unchanged(room.head)
    effects = Effects(lift={"user_id": command.user.id, "action": command.action})
    return _member_updated(room, command, now, effects)


def _require_authority(room: Room, command: c.Sanction | c.Lift) -> None:
    """Raises what the command is refused with when its author does not stand above whom it is about."""
    if room.deleted:
        raise RoomNotFound()
    mine = RoomRole.OWNER if command.by_admin else room.require_member(command.by.id)
    if room.type is RoomType.DIRECT:
        raise PermissionDenied("A direct conversation has no moderator; block the person instead.")
    theirs = room.members.get(command.user.id, RoomRole.MEMBER)
    above = theirs is not RoomRole.OWNER if command.by_admin else theirs.rank < mine.rank
    if mine.rank < RoomRole.MODERATOR.rank or not above or command.by.id == command.user.id:
        raise PermissionDenied()


def _until(command: c.Sanction, now: datetime) -> datetime | None:
    if command.action not in ACTIONS:
        raise InvalidArgument("There is no such sanction.", (("action", ", ".join(ACTIONS)),))
    seconds = command.duration_s
    if seconds is None:
        return None
    if command.action not in LASTING:
        raise InvalidArgument("Only a mute or a ban has a duration.", (("duration_s", "for mute and ban"),))
    if not 1 <= seconds <= LONGEST_S:
        raise InvalidArgument("A duration is 1 second to 10 years.", (("duration_s", f"1 to {LONGEST_S}"),))
    return now + timedelta(seconds=seconds)


def _row(command: c.Sanction, row_id: UUID, action: str, reason: str, until: datetime | None) -> dict[str, Any]:
    return {
        "id": row_id,
        "user_id": command.user.id,
        "action": action,
        "reason": reason,
        "by_id": command.by.id,
        "until": None if until is None else timestamp(until),
    }


def _removed(room: Room, command: c.Sanction, now: datetime, effects: Effects) -> RoomEvent:
    """The person is out, if they were in."""
    if room.members.pop(command.user.id, None) is None:
        return room.append(EventKind.ROOM_UPDATED, command.id, command.by, now, room.settings(), effects=effects)
    room.typing.pop(command.user.id, None)
    reason = "kicked" if command.action == "kick" else "banned"
    body = {"user_id": str(command.user.id), "reason": reason}
    return room.append(EventKind.MEMBER_LEFT, command.id, command.by, now, body, subject=command.user, effects=effects)


def _member_updated(
    room: Room, command: c.SetRole | c.Sanction | c.Lift, now: datetime, effects: Effects | None
) -> RoomEvent:
    """Tell the room what a member is now. A warning alone shows nothing of whom it is for."""
    body = room.settings()
    subject: Person | None = None
    warned_only = isinstance(command, c.Sanction) and command.action == "warn" and not _muted(room, command, now)[0]
    if command.user.id in room.members and not warned_only:
        muted, until = _muted(room, command, now)
        subject = command.user
        body["member"] = {
            "user_id": str(command.user.id),
            "role": room.members[command.user.id].value,
            "muted": muted,
            "muted_until": None if until is None else timestamp(until),
        }
    return room.append(EventKind.ROOM_UPDATED, command.id, command.by, now, body, subject=subject, effects=effects)


def _muted(room: Room, command: c.SetRole | c.Sanction | c.Lift, now: datetime) -> tuple[bool, datetime | None]:
    holds, until = room.sanctions.in_force(command.user.id, "mute", now)
    return holds, until if holds else None
