"""The live streams of the test peer: it keeps a chat and shows the last messages to whoever comes."""

import uuid
from typing import Any

from websockets.asyncio.server import ServerConnection

STREAM = "44444444-4444-4444-8444-444444444444"
USER = {"id": "11111111-1111-4111-8111-111111111111", "username": "ada"}
MOMENT = "2026-11-24T07:21:10.900188Z"
RECENT = 50


def shown(**fields: Any) -> dict[str, Any]:
    """A stream as REST and the socket have it."""
    return {
        "id": STREAM,
        "user": USER,
        "title": "Aria",
        "description": "",
        "category": "music",
        "tags": ["bach"],
        "status": "draft",
        "is_live": False,
        "is_private": False,
        "is_recorded": False,
        "slow_mode_seconds": 0,
        "playback_id": "p",
        "playback_url": "/api/v1/live/hls/p/index.m3u8",
        "viewer_count": 1,
        "peak_viewers": 1,
        "message_count": 0,
        "reaction_count": 0,
        "scheduled_at": None,
        "started_at": None,
        "interrupted_at": None,
        "ended_at": None,
        "duration_s": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        **fields,
    }


class Streams:
    """`shown` is the stream, None when there is none (any more)."""

    def __init__(self) -> None:
        self.shown: dict[str, Any] | None = shown()
        self.viewers = 1
        self.messages: list[dict[str, Any]] = []
        self.deleted: set[str] = set()
        self.watching: set[ServerConnection] = set()
        self.applause: list[str] = []
        self._stored: dict[str, dict[str, Any]] = {}

    def read(self, socket: ServerConnection, command: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to what is no message; None for what is none of ours, or not to be seen."""
        match command["type"]:
            case "watch_stream" if self.shown is not None:
                self.watching.add(socket)
                return self.answer()
            case "unwatch_stream":
                self.watching.discard(socket)
                return {}
            case "stream_react":
                self.applause.append(command["emoji"])
                return {}
        return None

    def answer(self) -> dict[str, Any]:
        recent = [one for one in self.messages if one["id"] not in self.deleted][-RECENT:]
        return {"stream": self.shown, "viewer_count": self.viewers, "messages": recent}

    def say(self, content: str, client_msg_id: str | None = None) -> dict[str, Any]:
        """Store without telling anybody."""
        message = {
            "type": "stream_message",
            "stream_id": STREAM,
            "seq": len(self.messages) + 1,
            "id": str(uuid.uuid4()),
            "sender": USER,
            "content": content,
            "client_msg_id": client_msg_id,
            "created_at": MOMENT,
        }
        self.messages.append(message)
        return message

    def store(self, content: str, client_msg_id: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What a sender is answered, and what the viewers are told if it is new."""
        if client_msg_id in self._stored:
            return {**self._stored[client_msg_id], "duplicate": True}, None
        message = self.say(content, client_msg_id)
        answer = {"message_id": message["id"], "seq": message["seq"], "created_at": MOMENT}
        self._stored[client_msg_id] = answer
        return {**answer, "duplicate": False}, message
