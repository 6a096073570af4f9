"""A transfer is paid once by a provider that forgets, fails and loses answers."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from veza.realtime import transfer as t

ID = UUID(int=7)
FORGETS_SECONDS = 24 * 3600.0


class Provider:
    """Remembers the answer to each key for a day, and its transfers for ever."""

    def __init__(self) -> None:
        self.paid = 0
        self.answers: dict[str, tuple[float, t.Answer]] = {}

    def send(self, key: str, now: float, answer: t.Answer) -> t.Answer:
        stored = self.answers.get(key)
        if stored and now - stored[0] < FORGETS_SECONDS:
            return stored[1]
        self.paid += answer is t.Answer.PAID
        self.answers[key] = (now, answer)
        return answer


class TransferMachine(RuleBasedStateMachine):
    """A processor that may die after each line, with a provider whose answers may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.provider, self.attempt, self.now, self.done = Provider(), t.Attempt(), 0.0, False

    @rule(seconds=st.sampled_from([1.0, 3600.0, 22 * 3600.0, 25 * 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.done)
    @rule(
        answer=st.sampled_from([t.Answer.PAID, t.Answer.REFUSED]),
        lost=st.sampled_from(["", "request", "answer", "error"]),
    )
    def run(self, answer: t.Answer, lost: str) -> None:
        if t.step(self.attempt, self.now) is t.Step.ASK:
            if self.provider.paid:
                self.finish()
                return
            self.attempt = t.not_found(self.attempt)
        self.attempt = t.sending(self.attempt, self.now)
        if lost == "request":
            self.attempt = t.after(self.attempt, t.Answer.UNSENT)
            return
        heard = self.provider.send(t.key(ID, self.attempt.number), self.now, answer)
        if lost == "error":
            # It is said to have failed on their side, whether it paid or not.
            self.attempt = t.after(self.attempt, t.Answer.ANSWERED)
        elif lost == "answer":
            self.attempt = t.after(self.attempt, t.Answer.UNKNOWN)
        elif heard is t.Answer.PAID:
            self.finish()
        else:
            self.attempt = t.after(self.attempt, heard)

    @precondition(lambda self: not self.done)
    @rule(reached=st.booleans(), answer=st.sampled_from([t.Answer.PAID, t.Answer.REFUSED]))
    def crash_while_sending(self, reached: bool, answer: t.Answer) -> None:
        if t.step(self.attempt, self.now) is t.Step.ASK:
            return
        self.attempt = t.sending(self.attempt, self.now)
        if reached:
            self.provider.send(t.key(ID, self.attempt.number), self.now, answer)

    def finish(self) -> None:
        self.attempt, self.done = t.after(self.attempt, t.Answer.PAID), True

    @invariant()
    def it_is_paid_once_at_most_and_known_to_be_when_done(self) -> None:
        assert self.provider.paid == 1 if self.done else self.provider.paid <= 1

    @invariant()
    def what_may_have_been_paid_is_not_given_up(self) -> None:
        if self.provider.paid and not self.done:
            assert t.status_after(self.attempt) is t.TransferStatus.FAILED


TestTransferMachine = TransferMachine.TestCase
TestTransferMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_stored_failure_is_not_sent_for_again_with_the_same_key() -> None:
    first = t.sending(t.Attempt(), 0.0)
    second = t.after(first, t.Answer.REFUSED)
    assert (t.key(ID, first.number), t.key(ID, second.number)) == (f"tr_{ID.hex}_1", f"tr_{ID.hex}_2")
    assert t.step(second, 1.0) is t.Step.SEND


def test_a_key_lives_from_when_it_was_first_sent() -> None:
    attempt = t.after(t.sending(t.Attempt(), 0.0), t.Answer.UNKNOWN)
    again = t.after(t.sending(attempt, 22 * 3600.0), t.Answer.UNKNOWN)
    assert t.step(again, 22.5 * 3600) is t.Step.SEND
    assert t.step(again, 23.5 * 3600) is t.Step.ASK


def test_it_is_dead_after_eight_refusals() -> None:
    attempt = t.Attempt()
    for _ in range(t.MOST_TRIES):
        assert t.status_after(attempt) is t.TransferStatus.FAILED
        attempt = t.after(t.sending(attempt, 0.0), t.Answer.REFUSED)
    assert t.status_after(attempt) is t.TransferStatus.DEAD


@given(st.integers(1, 2000), st.floats(0, 1))
def test_backoff_doubles_to_a_day_and_is_spread_over_half_of_it(tries: int, roll: float) -> None:
    whole = min(60 * 2 ** (tries - 1), t.LONGEST_BACKOFF_SECONDS)
    assert whole / 2 <= t.backoff(tries, 60.0, roll) <= whole


def test_backoff_starts_at_its_base() -> None:
    assert [t.backoff(n, 60.0, 0.0) for n in (1, 2, 3, 12)] == [60.0, 120.0, 240.0, 86400.0]


@pytest.mark.parametrize(("amount", "debt", "sent"), [(100, 0, 100), (100, 30, 70), (100, 100, 0), (100, 250, 0)])
def test_a_debt_is_taken_first(amount: int, debt: int, sent: int) -> None:
    assert t.payable(amount, debt) == sent


def test_each_status_but_the_last_leads_on() -> None:
    assert set(t.FOLLOWS) == set(t.TransferStatus)
    assert [status for status, following in t.FOLLOWS.items() if not following] == [t.TransferStatus.REVERSED]


def test_an_error_that_is_repeated_is_not_asked_for_again() -> None:
    attempt = t.after(t.sending(t.Attempt(), 0.0), t.Answer.ANSWERED)
    assert (attempt.retry_count, t.status_after(attempt)) == (1, t.TransferStatus.FAILED)
    assert t.step(attempt, 1.0) is t.Step.ASK
    again = t.not_found(attempt)
    assert (again.number, again.sent_at, t.step(again, 1.0)) == (2, None, t.Step.SEND)
