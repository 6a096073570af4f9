"""The people of the open room: their names, who is here, who is typing."""

from collections.abc import Iterable
from uuid import UUID

from veza.cli.chat_text import harmless, name_of, same_name
from veza.client import ClientError, Durable, Member, MemberJoined, MemberLeft, Message, Person, Presence, Typing

# A little longer than the server's 5 s, so that a repeated "is typing" does not flicker.
_TYPING_S = 6.0
_GONE = (None, "offline", "invisible")


class Roster:
    """Keeps the names of people who are gone, so that they can still be named."""

    def __init__(self, me_id: str) -> None:
        self._me_id = me_id
        self._names: dict[str, str] = {}
        self._typing: dict[str, float] = {}
        self.here: set[str] = set()

    def clear(self) -> None:
        """Another room is open."""
        self._names.clear()
        self._typing.clear()
        self.here.clear()

    def take(self, members: Iterable[Member]) -> None:
        """These are all members."""
        listed = list(members)
        self._names |= {member.user.id: name_of(member.user) for member in listed}
        self.here = {member.user.id for member in listed if member.presence not in _GONE}

    def learn(self, event: Durable) -> None:
        """An event names people."""
        self.meet(event.sender)
        if isinstance(event, MemberJoined | MemberLeft):
            self.meet(event.user)
        if isinstance(event, MemberLeft):
            self.here.discard(event.user.id)
        if isinstance(event, Message) and event.sender is not None:
            self._typing.pop(event.sender.id, None)

    def meet(self, person: Person | None) -> None:
        if person is not None:
            self._names[person.id] = name_of(person)

    def name(self, user_id: str) -> str:
        return self._names.get(user_id, harmless(user_id[:8]))

    def find(self, wanted: str, usage: str) -> str:
        """The id of a person by their id or their name here. Raises `ClientError`."""
        wanted = wanted.removeprefix("@")
        if not wanted:
            raise ClientError(f"Usage: {usage}")
        if is_id(wanted):
            return wanted
        found = [user_id for user_id, name in self._names.items() if same_name(name, wanted)]
        if not found:
            raise ClientError(f"Nobody here is called {harmless(wanted)}: /members lists the room, or give an id.")
        return found[0]

    def typing(self, event: Typing, now: float) -> None:
        if not event.is_typing or event.user_id == self._me_id:
            self._typing.pop(event.user_id, None)
        else:
            self._typing[event.user_id] = now + _TYPING_S

    def writing(self, now: float) -> list[str]:
        """The names of those who are typing."""
        return sorted(self.name(one) for one, until in self._typing.items() if until > now)

    def presence(self, event: Presence) -> None:
        if event.status in _GONE:
            self.here.discard(event.user_id)
        elif event.user_id in self._names:
            self.here.add(event.user_id)


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
