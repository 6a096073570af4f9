"""Clients of the simulation: one socket in one room each, and the commands they gave."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime import frames
from veza.realtime.events import Person
from veza.realtime.routing import Answer

Event = dict[str, Any]


@dataclass
class Request:
    """A durable command that was sent. `answers` must end with exactly one: what the client heard."""

    id: UUID
    number: int  # the order in which its socket sent it
    client: "Client"
    command: c.DurableCommand
    answers: list[Answer | VezaError] = field(default_factory=list)

    @property
    def acknowledged(self) -> dict[str, Any] | None:
        if self.answers and isinstance(self.answers[0], c.Answer):
            data: dict[str, Any] = msgspec.json.decode(self.answers[0].data)
            return data
        return None


class Client:
    """What one socket saw of its room, in order. `base` is the seq after which it began."""

    def __init__(self, name: str, person: Person, room_id: UUID, gateway: str) -> None:
        self.name = name
        self.person = person
        self.room_id = room_id
        self.gateway = gateway
        self.joining = False
        self.inside = False
        self.base: int | None = None
        self.seen: list[Event] = []
        self.refusals: list[VezaError] = []

    @property
    def last_seq(self) -> int | None:
        return None if self.base is None else self.base + len(self.seen)

    def rewind(self, seq: int) -> None:
        """It asked again from here: what came live meanwhile comes once more."""
        del self.seen[seq - (self.base or 0) :]

    def show(self, event: Event) -> None:
        """Events come in one order without a gap or a repeat, in pages as in live frames."""
        assert self.last_seq is not None
        assert event["seq"] == self.last_seq + 1, f"{self.name} saw {self.last_seq}, then {event['seq']}"
        self.seen.append(event)

    def show_frames(self, given: list[bytes]) -> None:
        for frame in given:
            self.show(msgspec.json.decode(frames.payload_of(frame)))
