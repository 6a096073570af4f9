"""The life of a stream: every order of what sources, owners and time can do."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import Conflict
from veza.realtime.streams.life import Life, Source, StreamStatus, expire, finish, lose, publish, revoke, stop

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO = Source(UUID(int=1), "ingest1"), Source(UUID(int=2), "ingest2")
GRACE_S = 60.0


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def live() -> Life:
    return publish(Life(), ONE, NOON).life


def test_a_source_makes_a_stream_live_and_its_end_ends_it() -> None:
    life = live()
    assert (life.status, life.started_at, life.source) == (StreamStatus.LIVE, NOON, ONE)
    ended = finish(life, ONE.id, at(90)).life
    assert (ended.status, ended.ended_at, ended.source) == (StreamStatus.ENDED, at(90), None)
    assert ended.duration_s(at(500)) == 90


def test_a_lost_source_may_come_back_in_time_and_the_stream_goes_on() -> None:
    lost = lose(live(), ONE.id, at(10)).life
    assert lost.status is StreamStatus.INTERRUPTED
    assert lost.on_air
    assert expire(lost, at(69.9), GRACE_S).life is lost
    back = publish(lost, TWO, at(69.9)).life
    assert (back.status, back.started_at, back.interrupted_at) == (StreamStatus.LIVE, NOON, None)


def test_a_stream_whose_source_stays_away_ended_when_it_went() -> None:
    ended = expire(lose(live(), ONE.id, at(10)).life, at(70), GRACE_S).life
    assert (ended.status, ended.ended_at) == (StreamStatus.ENDED, at(10))
    assert ended.duration_s(at(70)) == 10


def test_the_encoder_that_reconnects_wins_and_its_first_connection_is_cut() -> None:
    step = publish(live(), TWO, at(5))
    assert (step.life.source, step.cut) == (TWO, ONE)
    # What is heard of the first one afterwards is old news.
    for happens in (lose, finish):
        assert happens(step.life, ONE.id, at(6)).life is step.life


def test_a_second_source_is_refused_where_it_may_not_take_over() -> None:
    with pytest.raises(Conflict):
        publish(live(), TWO, at(5), take_over=False)
    assert publish(live(), ONE, at(5), take_over=False).cut is None


def test_a_new_key_cuts_the_source_and_leaves_time_to_use_it() -> None:
    step = revoke(live(), at(5))
    assert (step.life.status, step.cut) == (StreamStatus.INTERRUPTED, ONE)
    assert publish(step.life, TWO, at(6)).life.status is StreamStatus.LIVE


def test_a_source_of_somebody_else_has_no_key_of_ours() -> None:
    life = publish(Life(), Source(UUID(int=3), None), NOON).life
    assert revoke(life, at(5)).life is life


def test_only_what_is_on_air_is_stopped_and_twice_is_once() -> None:
    for before in (Life(), Life(StreamStatus.SCHEDULED)):
        with pytest.raises(Conflict):
            stop(before, NOON)
    step = stop(live(), at(3))
    assert step.cut == ONE
    assert stop(step.life, at(9)).life is step.life


def test_an_ended_stream_takes_no_source() -> None:
    with pytest.raises(Conflict):
        publish(stop(live(), at(3)).life, TWO, at(4))


def test_a_clock_that_is_behind_ends_nothing_before_it_began() -> None:
    assert stop(live(), at(-30)).life.ended_at == NOON
    assert lose(live(), ONE.id, at(-30)).life.interrupted_at == NOON


_sources = st.sampled_from([ONE, TWO, Source(UUID(int=3), None)])
_happenings = st.lists(
    st.tuples(st.sampled_from(["publish", "lose", "finish", "revoke", "stop", "expire"]), _sources, st.floats(0, 100)),
    max_size=30,
)


@given(_happenings)
def test_whatever_happens_what_is_stored_makes_sense(happenings: list[tuple[str, Source, float]]) -> None:
    life, now = Life(), 0.0
    for what, source, later in happenings:
        now += later
        before = life
        try:
            match what:
                case "publish":
                    step = publish(life, source, at(now))
                case "lose":
                    step = lose(life, source.id, at(now))
                case "finish":
                    step = finish(life, source.id, at(now))
                case "revoke":
                    step = revoke(life, at(now))
                case "stop":
                    step = stop(life, at(now))
                case _:
                    step = expire(life, at(now), GRACE_S)
        except Conflict:
            continue
        life = step.life
        assert step.cut is None or step.cut == before.source
        assert step.cut is None or step.cut != life.source
        # As the constraints of the table have it.
        assert (life.status is StreamStatus.INTERRUPTED) == (life.interrupted_at is not None)
        assert (life.status is StreamStatus.ENDED) == (life.ended_at is not None)
        assert (life.status is StreamStatus.LIVE) == (life.source is not None)
        assert (life.status is StreamStatus.DRAFT) == (life.started_at is None)
        assert before.status is not StreamStatus.ENDED or life is before
        assert before.started_at is None or life.started_at == before.started_at
        assert life.duration_s(at(now)) >= 0
