"""The checker finds what it is there to find."""

import pytest
from checker import Ack, Event, Record, Sent, problems

ROOM = "room"


def told(number: int) -> tuple[Sent, Event]:
    sent = Sent(ROOM, "ada", f"m{number}")
    return sent, Event(number, f"id{number}", "ada", f"m{number}", f"text {number}")


def story(count: int = 4) -> tuple[Record, list[Event]]:
    """A run in which all went well."""
    record = Record()
    history = []
    for number in range(1, count + 1):
        sent, event = told(number)
        record.content[sent] = f"text {number}"
        record.acks.append(Ack(sent, number, event.id, duplicate=False))
        record.lanes.setdefault("lane", []).append(sent)
        history.append(event)
    return record, history


def judge(record: Record, history: list[Event], stream: list[Event]) -> str:
    return "\n".join(problems(record, {ROOM: history}, {"reader": {ROOM: stream}}))


def test_a_good_run() -> None:
    record, history = story()
    # A retry that was answered as one is fine, and so is a message whose answer got lost.
    record.acks.append(record.acks[1]._replace(duplicate=True))
    del record.acks[2]
    assert judge(record, history, list(history)) == ""


def test_loss() -> None:
    record, history = story()
    assert "lost" in judge(record, history[:3], history[:3])


def test_a_gap_in_the_history() -> None:
    record, history = story()
    del record.acks[1]
    assert "not 1, 2, 3" in judge(record, history[:1] + history[2:], history[:1] + history[2:])


def test_a_duplicate() -> None:
    record, history = story()
    history.append(history[0]._replace(seq=5, id="other"))
    assert "more than once" in judge(record, history, list(history))


def test_two_answers_that_differ() -> None:
    record, history = story()
    record.acks.append(record.acks[0]._replace(seq=2, duplicate=True))
    assert "two places" in judge(record, history, list(history))


def test_new_twice() -> None:
    record, history = story()
    record.acks.append(record.acks[0])
    assert "as new more than once" in judge(record, history, list(history))


def test_an_invention() -> None:
    record, history = story()
    history[2] = history[2]._replace(content="never said")
    assert "nobody wrote" in judge(record, history, list(history))


def test_a_lane_out_of_order() -> None:
    record, history = story()
    record.lanes["lane"].reverse()
    assert "order in which it was sent" in judge(record, history, list(history))


@pytest.mark.parametrize("seqs", [[1, 2, 3], [1, 2, 2, 3, 4], [1, 3, 2, 4], [2, 3, 4], [1, 2, 4], []])
def test_what_a_reader_may_not_see(seqs: list[int]) -> None:
    record, history = story()
    assert "reader in room" in judge(record, history, [history[seq - 1] for seq in seqs])


def test_another_truth() -> None:
    record, history = story()
    other = [*history[:3], history[3]._replace(id="other")]
    assert "the history has" in judge(record, history, other)
