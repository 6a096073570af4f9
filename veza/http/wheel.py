"""Whose turn it is: many take turns evenly over some seconds, without a timer each."""

from veza.http.websocket import WebSocket


class Wheel:
    """Each of its members has one turn in so many; `turn` is called once a second."""

    def __init__(self, seconds: int) -> None:
        self._slots: list[set[WebSocket]] = [set() for _ in range(seconds)]
        self._now = 0
        self._next = 0  # the slot for whoever comes next
        self._slot_of: dict[WebSocket, int] = {}

    def __contains__(self, socket: WebSocket) -> bool:
        return socket in self._slot_of

    def add(self, socket: WebSocket) -> None:
        self._next = (self._next + 1) % len(self._slots)
        self._slot_of[socket] = self._next
        self._slots[self._next].add(socket)

    def discard(self, socket: WebSocket) -> None:
        slot = self._slot_of.pop(socket, None)
        if slot is not None:
            self._slots[slot].discard(socket)

    def turn(self) -> list[WebSocket]:
        """Those whose turn it is."""
        self._now = (self._now + 1) % len(self._slots)
        return list(self._slots[self._now])
