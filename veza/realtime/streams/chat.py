"""What is said in a stream: in order, not too fast, and by whom its people let speak."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from veza.errors import Banned, InvalidArgument, MessageNotFound, Muted, PermissionDenied, RateLimited, UserBlocked
from veza.realtime.events import Person
from veza.realtime.known import Known, Stored
from veza.realtime.protocol import clean_client_msg_id, clean_content
from veza.realtime.sanctions import LASTING, LONGEST_S, Sanctioned, Sanctions, until_text

# Whoever comes is shown so many.
RECENT = 50
SLOWEST_S = 3600
# So many people at most are remembered for slow mode; the oldest of more may speak sooner than they should.
SPEAKERS = 100_000
_SILENCED = (("ban", Banned, "You are banned from this stream"), ("mute", Muted, "You are muted in this stream"))


class StreamMessage(msgspec.Struct, frozen=True):
    """One row of `stream_messages`."""

    stream_id: UUID
    seq: int
    id: UUID
    sender: Person
    content: str
    created_at: datetime
    client_msg_id: str | None = None


class Saying(Protocol):
    """Somebody wants to say something. `id` becomes the message's."""

    id: UUID
    sender: Person
    content: str
    client_msg_id: str | None


class Chat:
    """The chat of one stream. What changes it raises an error of `veza.errors` and changes nothing when refused.

    `head` is the seq of the last message decided, `recent` the last ones, oldest first: all from the seq `recent_from`
    on that are not deleted. The owner and the moderators speak as fast as they like, and nobody silences the owner.
    """

    def __init__(
        self,
        stream_id: UUID,
        owner_id: UUID,
        *,
        head: int = 0,
        recent: Iterable[StreamMessage] = (),
        moderators: Iterable[UUID] = (),
        sanctions: Iterable[Sanctioned] = (),
        slow_s: int = 0,
    ) -> None:
        self.head = head
        self.recent: deque[StreamMessage] = deque(recent, RECENT)
        self.recent_from = self.recent[0].seq if len(self.recent) == RECENT else 1
        self.known = Known(complete=head == 0)
        self.moderators = set(moderators)
        self.sanctions = Sanctions(sanctions)
        self.slow_s = slow_s
        self._stream_id = stream_id
        self._owner_id = owner_id
        self._spoke_at: OrderedDict[UUID, datetime] = OrderedDict()  # the last to speak at the end

    def moderates(self, user_id: UUID) -> bool:
        return user_id == self._owner_id or user_id in self.moderators

    def needs_lookup(self, said: Saying, *, again: bool) -> bool:
        """Whether it may be stored already without memory knowing."""
        if self.known.complete:
            return False
        if again and self.known.command(said.id) is None:
            return True
        return said.client_msg_id is not None and self.known.client(said.sender.id, said.client_msg_id) is None

    def say(self, said: Saying, now: datetime, blocked: Collection[UUID] = ()) -> StreamMessage | Stored:
        """The message to store, or what was stored of an earlier, equal one. `blocked` are those whom the owner has
        blocked. Raises Muted, Banned, UserBlocked, RateLimited with the seconds to wait, InvalidArgument.
        """
        sender_id, client_msg_id = said.sender.id, clean_client_msg_id(said.client_msg_id)
        if repeated := self.known.command(said.id):
            return repeated
        if client_msg_id is not None and (repeated := self.known.client(sender_id, client_msg_id)):
            return repeated
        self.require_voice(sender_id, now, blocked)
        content = clean_content(said.content)
        self._spend(sender_id, now)
        self.head += 1
        message = StreamMessage(self._stream_id, self.head, said.id, said.sender, content, now, client_msg_id)
        self.known.remember(Stored(said.id, self.head, now), sender_id, client_msg_id)
        if len(self.recent) == RECENT:
            self.recent_from = self.recent[0].seq + 1
        self.recent.append(message)
        return message

    def require_voice(self, user_id: UUID, now: datetime, blocked: Collection[UUID] = ()) -> None:
        """Raises Banned, Muted, UserBlocked."""
        if user_id == self._owner_id:
            return
        for action, error, sentence in _SILENCED:
            holds, until = self.sanctions.in_force(user_id, action, now)
            if holds:
                raise error(f"{sentence}{until_text(until)}.")
        if user_id in blocked:
            raise UserBlocked()

    def _spend(self, user_id: UUID, now: datetime) -> None:
        """Raises RateLimited while slow mode makes this person wait."""
        if not self.slow_s or self.moderates(user_id):
            return
        spoke_at = self._spoke_at.get(user_id)
        if spoke_at is not None:
            wait = (spoke_at + timedelta(seconds=self.slow_s) - now).total_seconds()
            if wait > 0:
                raise RateLimited(f"Slow mode: one message every {self.slow_s} s.", wait)
        self._spoke_at[user_id] = now
        self._spoke_at.move_to_end(user_id)
        self._forget_speakers(now)

    def _forget_speakers(self, now: datetime) -> None:
        free_since = now - timedelta(seconds=self.slow_s)
        while self._spoke_at:
            user_id, spoke_at = next(iter(self._spoke_at.items()))
            if spoke_at > free_since and len(self._spoke_at) <= SPEAKERS:
                return
            del self._spoke_at[user_id]

    # -- moderation ------------------------------------------------------------------------------------------

    def remove(self, by: UUID, message_id: UUID, sender_id: UUID | None, *, by_admin: bool = False) -> None:
        """Take a message away: its author may, the moderators and administrators. `sender_id` is None when there is no
        such message. Raises MessageNotFound, PermissionDenied.
        """
        if sender_id is None:
            raise MessageNotFound("There is no such message in this stream.")
        if not (by_admin or by == sender_id or self.moderates(by)):
            raise PermissionDenied()
        self.recent = deque((message for message in self.recent if message.id != message_id), RECENT)

    def sanction(
        self, by: UUID, user_id: UUID, action: str, duration_s: int | None, now: datetime, *, by_admin: bool = False
    ) -> datetime | None:
        """Mute somebody, or ban them; returns until when, None until it is lifted."""
        self._require_authority(by, user_id, action, by_admin=by_admin)
        until = None
        if duration_s is not None:
            if not 1 <= duration_s <= LONGEST_S:
                raise InvalidArgument("A duration is 1 second to 10 years.", (("duration_s", f"1 to {LONGEST_S}"),))
            until = now + timedelta(seconds=duration_s)
        self.sanctions.impose(user_id, action, until)
        return until

    def lift(self, by: UUID, user_id: UUID, action: str, *, by_admin: bool = False) -> bool:
        """Whether there was anything to lift."""
        self._require_authority(by, user_id, action, by_admin=by_admin)
        return self.sanctions.lift(user_id, action)

    def appoint(self, by: UUID, user_id: UUID, *, on: bool) -> bool:
        """Make somebody a moderator, or take it from them: the owner's to do. Whether that changed anything."""
        if by != self._owner_id or user_id == self._owner_id:
            raise PermissionDenied()
        if (user_id in self.moderators) == on:
            return False
        (self.moderators.add if on else self.moderators.discard)(user_id)
        return True

    def _require_authority(self, by: UUID, user_id: UUID, action: str, *, by_admin: bool) -> None:
        if action not in LASTING:
            raise InvalidArgument("There is no such sanction.", (("action", ", ".join(LASTING)),))
        if not (by_admin or self.moderates(by)):
            raise PermissionDenied()
        if user_id in (by, self._owner_id) or (user_id in self.moderators and by != self._owner_id and not by_admin):
            raise PermissionDenied()
