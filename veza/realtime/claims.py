"""Which rows the commands of one batch change: a statement can touch a row only once."""

from collections.abc import Hashable

from veza.realtime import commands as c

_Rows = tuple[Hashable, ...]


class Claims:
    """Rows taken by the batch so far. Reactions share their message's row with each other and with nothing else."""

    __slots__ = ("_exclusive", "_shared")

    def __init__(self) -> None:
        self._exclusive: set[Hashable] = set()
        self._shared: set[Hashable] = set()

    def free(self, command: c.ShardCommand) -> bool:
        exclusive, shared = _rows(command)
        return not any(row in self._exclusive or row in self._shared for row in exclusive) and not any(
            row in self._exclusive for row in shared
        )

    def take(self, command: c.ShardCommand) -> None:
        exclusive, shared = _rows(command)
        self._exclusive.update(exclusive)
        self._shared.update(shared)


_NONE: tuple[_Rows, _Rows] = ((), ())


def _rows(command: c.ShardCommand) -> tuple[_Rows, _Rows]:
    """The rows that a command wants to itself, and those that it shares."""
    match command:
        case c.Post():
            return _NONE
        case c.AddMember() | c.RemoveMember() | c.SetRole() | c.Sanction() | c.Lift():
            return ((command.room_id, command.user.id),), ()
        case c.UpdateRoom() | c.DeleteRoom():
            return (command.room_id,), ()
        case c.EditMessage() | c.DeleteMessage() | c.Pin():
            return (command.message_id,), ()
        case c.React():
            return ((command.message_id, command.by.id, command.emoji.strip()),), (command.message_id,)
    return _NONE
