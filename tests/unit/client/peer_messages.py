"""What becomes of the messages of the test peer, and how its history shows them."""

from collections import defaultdict
from typing import Any

# The event that each command makes.
CHANGES = {
    "edit_message": "message_edited",
    "delete_message": "message_deleted",
    "add_reaction": "reaction_added",
    "remove_reaction": "reaction_removed",
    "pin_message": "message_pinned",
    "unpin_message": "message_unpinned",
}


class Messages:
    """Of all rooms, kept in their logs."""

    def __init__(self, logs: dict[str, list[dict[str, Any]]]) -> None:
        self._logs = logs
        self._pinned: set[str] = set()
        self._emoji: dict[str, list[str]] = defaultdict(list)

    def change(self, room_id: str, kind: str, message_id: str, emoji: str | None, content: str | None) -> bool | None:
        """Whether something changed; None when there is no such message."""
        row = next((one for one in self._logs[room_id] if one["id"] == message_id), None)
        if row is None or row.get("deleted_at"):
            return None
        given, before = self._emoji[message_id], self._state(message_id, row)
        match kind:
            case "message_edited":
                row |= {"content": content, "edited_at": "2026-01-02T03:04:05Z"}
            case "message_deleted":
                row |= {"content": None, "attachments": [], "deleted_at": "2026-01-02T03:04:05Z"}
            case "reaction_added" if emoji not in given:
                given.append(str(emoji))
            case "reaction_removed" if emoji in given:
                given.remove(str(emoji))
            case "message_pinned":
                self._pinned.add(message_id)
            case "message_unpinned":
                self._pinned.discard(message_id)
        return before != self._state(message_id, row)

    def page(self, room_id: str, command: dict[str, Any]) -> dict[str, Any]:
        rows, limit, after_seq = self.rows(room_id), command["limit"], command.get("after_seq")
        if after_seq is not None:
            wanted = [row for row in rows if row["seq"] > after_seq]
        else:
            before_seq = command.get("before_seq") or len(self._logs[room_id]) + 1
            wanted = [row for row in rows[::-1] if row["seq"] < before_seq]
        return {"messages": wanted[:limit], "has_more": len(wanted) > limit}

    def thread(self, room_id: str, parent_id: str, after_seq: int, limit: int) -> dict[str, Any]:
        rows = [row for row in self.rows(room_id) if row.get("parent_id") == parent_id and row["seq"] > after_seq]
        return {"messages": rows[:limit], "has_more": len(rows) > limit}

    def rows(self, room_id: str) -> list[dict[str, Any]]:
        """As history shows them, oldest first."""
        return [self._shown(room_id, row) for row in self._logs[room_id] if row["type"] == "message"]

    def _shown(self, room_id: str, row: dict[str, Any]) -> dict[str, Any]:
        emoji = self._emoji[row["id"]]
        return {
            **{name: value for name, value in row.items() if name != "type"},
            "reactions": [{"emoji": one, "count": 1, "me": True} for one in emoji],
            "pinned": row["id"] in self._pinned,
            "reply_count": sum(one.get("parent_id") == row["id"] for one in self._logs[room_id]),
        }

    def _state(self, message_id: str, row: dict[str, Any]) -> tuple[Any, ...]:
        return row["content"], row.get("deleted_at"), tuple(self._emoji[message_id]), message_id in self._pinned
