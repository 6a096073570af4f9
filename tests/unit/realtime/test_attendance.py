"""What a gateway tells the owners of its users, and tells again."""

from uuid import UUID

import pytest

from veza.realtime import attendance as module
from veza.realtime import commands as c
from veza.realtime.attendance import Attendance
from veza.realtime.effects import Effect, Send
from veza.realtime.partition import PARTITIONS
from veza.realtime.routing import Router

ADA, BOB, CEM = (UUID(int=256 * n + 7) for n in (1, 2, 3))


class Socket:
    closing = False


class Loans:
    def held(self, user_id: UUID) -> tuple[int, float]:
        return (5, 2.0) if user_id == CEM else (0, 0.0)

    def holders(self) -> list[UUID]:
        return [CEM]


@pytest.fixture
def attendance() -> Attendance[Socket]:
    router = Router()
    router.reroute(dict.fromkeys(range(PARTITIONS), (1, "shard")))
    return Attendance(router)


def reports(effects: list[Effect]) -> list[tuple[UUID, int, bool, int]]:
    """Who, how many sockets, whether it is repeated, and the loan."""
    sent = [effect.command for effect in effects if isinstance(effect, Send)]
    return [
        (report.user_id, report.sockets, report.again, report.grant) for report in sent if isinstance(report, c.Attend)
    ]


def test_who_left_is_repeated_like_who_is_there(attendance: Attendance[Socket]) -> None:
    """Nobody answers a report: the one of a departure may be lost with the link to the shard, which lives on."""
    attendance.loans = Loans()
    one, other = Socket(), Socket()
    attendance.arrive(one, ADA)
    attendance.arrive(other, BOB)
    assert reports(attendance.depart(other, BOB)) == [(BOB, 0, False, 0)]
    expected = [(ADA, 1, True, 0), (BOB, 0, True, 0), (CEM, 0, True, 5)]
    assert reports(attendance.moved({7})) == expected
    assert reports(attendance.lagged("shard")) == expected
    assert reports(attendance.moved({8})) == []
    assert reports(attendance.lagged("another")) == []
    attendance.arrive(other, BOB)
    assert (BOB, 1, True, 0) in reports(attendance.moved({7}))
    assert (BOB, 0, True, 0) not in reports(attendance.moved({7}))


def test_those_who_left_long_ago_are_forgotten(attendance: Attendance[Socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEFT", 1)
    for user_id in (ADA, BOB):
        socket = Socket()
        attendance.arrive(socket, user_id)
        attendance.depart(socket, user_id)
    assert reports(attendance.moved({7})) == [(BOB, 0, True, 0)]
