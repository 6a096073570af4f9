"""What a gateway reads of the log: the missing part of a feed, and the pages of joins, as `veza.http.hub` and `joining`
read them.
"""

from typing import TYPE_CHECKING

import msgspec

from simulation.store import StoreAway
from veza.errors import Unavailable
from veza.realtime import effects as e
from veza.realtime import protocol as p
from veza.realtime.events import RoomEvent, wire

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.sockets import ServerSocket
    from simulation.world import World


class PageReads:
    def __init__(self, world: "World", gateway: "SimGateway") -> None:
        self._world = world
        self._gateway = gateway

    def read_log(self, effect: e.ReadLog) -> None:
        store, database = self._world.store, self._world.database
        self._world.seen["catch-up read"] += 1

        def got(events: list[RoomEvent], error: StoreAway | None) -> None:
            if error is not None:
                finish(None)
            elif events and events[0].seq == effect.after + 1:
                finish(e.LogPage(events))
            else:
                database.run(
                    self._gateway,
                    lambda: store.first_seq(effect.room_id),
                    lambda first, error: finish(None if error else e.LogPage(events, first)),
                )

        def finish(page: e.LogPage | None) -> None:
            self._gateway.in_turn(iter(effect.then(page)))

        database.run(self._gateway, lambda: store.read_after(effect.room_id, effect.after, effect.limit), got)

    def read_page(self, effect: "e.ReadPage[ServerSocket]") -> None:
        self._world.seen["page read"] += 1
        if effect.after == effect.upto:
            self._read_first(effect, [], in_time=True)
        else:
            effect.join.socket.when_caught_up(lambda: self._read_events(effect))

    def _read_events(self, effect: "e.ReadPage[ServerSocket]") -> None:
        store, room_id = self._world.store, effect.join.command.room_id

        def got(events: list[RoomEvent], error: StoreAway | None) -> None:
            if error is not None:
                self._failed(effect)
            else:
                self._read_first(effect, [event for event in events if event.seq <= effect.upto], in_time=False)

        if effect.join.socket.closing:
            self._failed(effect)
            return
        limit = effect.upto - effect.after
        self._world.database.run(self._gateway, lambda: store.read_after(room_id, effect.after, limit), got)

    def _read_first(self, effect: "e.ReadPage[ServerSocket]", read: list[RoomEvent], *, in_time: bool) -> None:
        """`in_time` when it goes out though its reader may be behind: it is small."""
        store, join = self._world.store, effect.join

        def got(first_seq: int, error: StoreAway | None) -> None:
            if error is not None:
                self._failed(effect)
                return
            last = max(read[-1].seq if read else effect.after, first_seq - 1)
            shown = msgspec.Raw(b"[%b]" % b",".join(p.json(wire(event)) for event in read))
            page = e.JoinPage(shown, last, first_seq)
            if in_time:
                finish(page)
            else:
                join.socket.when_caught_up(lambda: finish(page))

        def finish(page: e.JoinPage) -> None:
            self._gateway.perform(self._gateway.joins.page_read(join, page))

        self._world.database.run(self._gateway, lambda: store.first_seq(join.command.room_id), got)

    def _failed(self, effect: "e.ReadPage[ServerSocket]") -> None:
        join = effect.join
        join.socket.send(p.error_frame(join.command.id, Unavailable()))
        self._gateway.perform(self._gateway.joins.page_failed(join))
