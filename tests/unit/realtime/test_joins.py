"""Joins of one socket that overtake each other while retention empties their pages."""

from uuid import UUID

import msgspec
import pytest

from veza.realtime import commands as c
from veza.realtime import effects as e
from veza.realtime import protocol as p
from veza.realtime.following import Following
from veza.realtime.frames import payload_of
from veza.realtime.joins import Joins
from veza.realtime.partition import PARTITIONS
from veza.realtime.routing import Router

ROOM, USER = UUID(int=1), UUID(int=2)
HEAD = p.PAGE_EVENTS + 100
EMPTY = e.JoinPage(msgspec.Raw(b"[]"), HEAD - 2, HEAD - 1)
FULL = e.JoinPage(msgspec.Raw(b"[1]"), HEAD, HEAD - 1)


class Socket:
    closing = False


class Gateway:
    """Answers no question and reads no page by itself."""

    def __init__(self) -> None:
        router = Router()
        router.reroute(dict.fromkeys(range(PARTITIONS), (1, "shard")))
        self.following: Following[Socket] = Following(router)
        self.joins = Joins(self.following)
        self.socket = Socket()

    def join(self, name: str, last_seq: int) -> e.Request:
        command = p.JoinRoom(room_id=ROOM, last_seq=last_seq, id=name)
        return request_of(self.joins.join(self.socket, command, USER))

    def admit(self, request: e.Request) -> list[e.Effect]:
        return request.then(c.Subscribed(1, ROOM, HEAD))

    def page(self, request: e.Request) -> e.ReadPage[Socket]:
        (page,) = [effect for effect in self.admit(request) if isinstance(effect, e.ReadPage)]
        return page

    @property
    def inside(self) -> bool:
        return ROOM in self.following.rooms and self.socket in self.following.rooms[ROOM].sockets


def request_of(effects: list[e.Effect]) -> e.Request:
    (request,) = [effect for effect in effects if isinstance(effect, e.Request)]
    return request


def told(effects: list[e.Effect]) -> list[tuple[str, object]]:
    """Each answer: the command's id, and `has_more` or the code of the error."""
    frames = [msgspec.json.decode(payload_of(said.data)) for said in effects if isinstance(said, e.Say)]
    return [
        (frame["id"], frame["error"]["code"] if "error" in frame else frame["data"]["has_more"]) for frame in frames
    ]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_whose_page_is_emptied_asks_again(gateway: Gateway) -> None:
    page = gateway.page(gateway.join("first", 0))
    again = request_of(gateway.joins.page_read(page.join, EMPTY))
    last = gateway.page(again)
    assert told(gateway.joins.page_read(last.join, FULL)) == [("first", False)]
    assert gateway.inside


@pytest.mark.parametrize("asked_again_first", [True, False])
def test_a_later_join_is_not_undone_by_one_that_asks_again(gateway: Gateway, *, asked_again_first: bool) -> None:
    page = gateway.page(gateway.join("first", 0))
    second = gateway.join("second", HEAD - 1)
    if asked_again_first:
        again = request_of(gateway.joins.page_read(page.join, EMPTY))
        second_page = gateway.page(second)
        assert told(gateway.admit(again)) == [("first", "UNAVAILABLE")]
    else:
        second_page = gateway.page(second)
        assert told(gateway.joins.page_read(page.join, EMPTY)) == [("first", "UNAVAILABLE")]
    assert told(gateway.joins.page_read(second_page.join, FULL)) == [("second", False)]
    assert gateway.inside


@pytest.mark.parametrize("asked_again_first", [True, False])
def test_who_left_meanwhile_stays_outside(gateway: Gateway, *, asked_again_first: bool) -> None:
    page = gateway.page(gateway.join("first", 0))
    if asked_again_first:
        again = request_of(gateway.joins.page_read(page.join, EMPTY))
        gateway.following.leave(gateway.socket, ROOM)
        assert told(gateway.admit(again)) == [("first", "UNAVAILABLE")]
    else:
        gateway.following.leave(gateway.socket, ROOM)
        assert told(gateway.joins.page_read(page.join, EMPTY)) == [("first", "UNAVAILABLE")]
    assert not gateway.following.rooms


def test_nobody_is_kept_in_mind_when_all_is_answered(gateway: Gateway) -> None:
    page = gateway.page(gateway.join("first", 0))
    assert told(gateway.joins.page_read(page.join, e.JoinPage(msgspec.Raw(b"[1]"), 1, 1))) == [("first", True)]
    failing = gateway.page(gateway.join("second", 0))
    gateway.joins.page_failed(failing.join)
    emptied = gateway.page(gateway.join("third", 0))
    again = request_of(gateway.joins.page_read(emptied.join, EMPTY))
    again.then(c.Subscribed(1, ROOM, HEAD))
    gateway.following.leave(gateway.socket, ROOM)
    gateway.joins.page_read(emptied.join, FULL)
    assert not gateway.following.rooms
