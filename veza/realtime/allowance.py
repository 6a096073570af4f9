"""A user's message allowance over all gateways: one token bucket, lent as a whole to one gateway at a time.

The owner of the user's partition is the `Lender`. It lends to the gateway where the user's first socket arrives, and
recalls for whoever asks. A gateway is a `Borrower`: it spends of what it holds without asking anybody. Each loan has a
number of its own, so that what comes late, twice or in another order than it was sent can be told apart; whoever is in
doubt takes a bucket for empty. So no more than one bucket is ever spent while no process dies.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.rate_limit import TokenBucket

# How long a new owner waits for gateways to say what they hold. They are told of it within milliseconds, and must hear
# from it before their patience ends.
SETTLE_S = 0.4
RECALL_AGAIN_S = 1.0
# A gateway that waited so long for its bucket decides by a share of its own: the owner is being replaced.
PATIENCE_S = 1.0
SHARE = 0.25
_COUNT_BITS = 40

Tells = list[tuple[str, c.Delivery]]  # gateway, and what it is told
W = TypeVar("W")


class Limits:
    """`burst` messages at once and `per_minute` in the long run, a user."""

    def __init__(self, per_minute: int = 60, burst: int = 10) -> None:
        self.per_minute = per_minute
        self.burst = burst

    def bucket(self, now: float, tokens: float | None = None) -> TokenBucket:
        return TokenBucket(self.per_minute, self.burst, now, tokens)

    def share(self, now: float) -> TokenBucket:
        return TokenBucket(self.per_minute * SHARE, max(1, int(self.burst * SHARE)), now)


DEFAULT = Limits()


# -- the owner's side --------------------------------------------------------------------------------------------


class _Account:
    """A bucket: lent to `holder`, at home as `bucket`, or neither, when gateways may still report that they hold it."""

    __slots__ = ("answered", "bucket", "grant", "holder", "line", "recalled_at")

    def __init__(self) -> None:
        self.bucket: TokenBucket | None = None
        self.holder: str | None = None
        self.grant = 0
        self.answered = 0  # the last ask of the holder that was answered under this loan
        self.line: list[tuple[str, c.TakeAllowance]] = []
        self.recalled_at: float | None = None


class Lender:
    """The buckets of the users of some partitions. What is not remembered is full and at home.

    Every method returns what gateways must be told, in order. `epoch` is that of the user's partition.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._accounts: dict[UUID, _Account] = {}
        self._watched: set[UUID] = set()  # accounts that are more than lent
        self._count = 0  # of loans
        self._settling: dict[int, float] = {}  # partition → until when what gateways hold is not known
        self._since: dict[int, int] = {}  # partition → loans of ours have numbers above this

    def __len__(self) -> int:
        return len(self._accounts)

    def granted(self, partition: int, epoch: int, settled_at: float) -> None:
        """The partition is ours; until `settled_at` gateways may still say what they hold."""
        self._settling[partition] = settled_at
        # Also under the same epoch as before: what was lent until now has been forgotten.
        self._since[partition] = (epoch << _COUNT_BITS) + self._count

    def forget(self, partitions: set[int]) -> None:
        """They went to another shard, whom the gateways tell what they hold."""
        for user_id in [user_id for user_id in self._accounts if partition_of(user_id) in partitions]:
            self._forget(user_id)
        for partition in partitions:
            self._settling.pop(partition, None)
            self._since.pop(partition, None)

    def attended(self, gateway: str, report: c.Attend, epoch: int, now: float) -> Tells:
        """A gateway tells of a user; whoever is first gets the bucket unasked."""
        user_id = report.user_id
        if report.grant:
            return self._reported(gateway, report, epoch, now)
        account = self._accounts.get(user_id)
        if not report.sockets or not self.settled(user_id, now) or (account is not None and account.bucket is None):
            return []
        return self._lend(user_id, account or self._open(user_id, now), gateway, epoch, now)

    def asked(self, gateway: str, ask: c.TakeAllowance, epoch: int, now: float) -> Tells:
        account = self._accounts.get(ask.user_id) or self._open(ask.user_id, now)
        if account.holder == gateway:
            # Usually the two have crossed, and the loan stands before this answer.
            if account.answered in (0, ask.ref):
                account.answered = ask.ref
                return [(gateway, _done(ask))]
            # It had the loan before it had that answer, yet it asks again: the loan is lost.
            account.holder, account.bucket = None, self._limits.bucket(now, 0.0)
        account.line.append((gateway, ask))
        self._watched.add(ask.user_id)
        return self._serve(ask.user_id, account, epoch, now)

    def returned(self, gateway: str, back: c.ReturnAllowance, epoch: int, now: float) -> Tells:
        user_id, answer = back.user_id, _done(back)
        account = self._accounts.get(user_id)
        if account is not None and (account.holder, account.grant) == (gateway, back.grant):
            account.holder, account.recalled_at = None, None
            account.bucket = self._limits.bucket(now, back.tokens or 0.0)
        elif back.tokens is not None and self._foreign(user_id, back.grant) and not (account and account.holder):
            # An earlier owner lent it, and nobody knows better.
            account = account or self._open(user_id, now)
            tokens = self._limits.burst if account.bucket is None else account.bucket.tokens(now)
            account.bucket = self._limits.bucket(now, min(tokens, back.tokens))
        else:
            return [(gateway, answer)]
        self._watched.add(user_id)
        return [(gateway, answer), *self._serve(user_id, account, epoch, now)]

    def gateway_lost(self, gateway: str, epoch_of: Callable[[UUID], int], now: float) -> Tells:
        """What it held is lent anew, full, for nobody knows what it spent."""
        tells: Tells = []
        for user_id, account in list(self._accounts.items()):
            account.line = [(name, ask) for name, ask in account.line if name != gateway]
            if account.holder == gateway:
                account.holder, account.recalled_at = None, None
                account.bucket = self._limits.bucket(now)
                self._watched.add(user_id)
                tells += self._serve(user_id, account, epoch_of(user_id), now)
        return tells

    def tick(self, epoch_of: Callable[[UUID], int], now: float) -> Tells:
        """Recall again what does not come; serve whom a new owner let wait; forget what is full."""
        tells: Tells = []
        for user_id in list(self._watched):
            account = self._accounts[user_id]
            if account.holder is None and account.bucket is None and self.settled(user_id, now):
                account.bucket = self._limits.bucket(now)
            if account.line:
                tells += self._serve(user_id, account, epoch_of(user_id), now)
            elif account.holder is not None:
                self._watched.discard(user_id)
            elif account.bucket is None or account.bucket.full(now):
                self._forget(user_id)
        return tells

    # -- inside ----------------------------------------------------------------------------------------------

    def _open(self, user_id: UUID, now: float) -> _Account:
        account = self._accounts[user_id] = _Account()
        self._watched.add(user_id)
        if self.settled(user_id, now):
            account.bucket = self._limits.bucket(now)
        return account

    def settled(self, user_id: UUID, now: float) -> bool:
        """Whether gateways have had the time to say what they know of a user."""
        return self._settling.get(partition_of(user_id), 0.0) <= now

    def _foreign(self, user_id: UUID, grant: int) -> bool:
        """Whether the loan was made before the partition was ours."""
        return grant <= self._since.get(partition_of(user_id), 0)

    def _forget(self, user_id: UUID) -> None:
        del self._accounts[user_id]
        self._watched.discard(user_id)

    def _reported(self, gateway: str, report: c.Attend, epoch: int, now: float) -> Tells:
        user_id = report.user_id
        account = self._accounts.get(user_id)
        if account is not None and (account.holder, account.grant) == (gateway, report.grant):
            return []
        foreign = self._foreign(user_id, report.grant)
        if not foreign or (account is not None and account.holder is not None):
            # Given back already, or lent to somebody else since: only the newer loan counts.
            return [(gateway, c.RecallAllowance(user_id, report.grant, own=not foreign))]
        account = account or self._open(user_id, now)
        account.bucket = None
        account.holder, account.grant, account.answered = gateway, report.grant, 0
        return self._serve(user_id, account, epoch, now)

    def _lend(self, user_id: UUID, account: _Account, gateway: str, epoch: int, now: float) -> Tells:
        if account.bucket is None:
            raise ValueError("what is not at home cannot be lent")
        self._count += 1
        account.holder, account.grant = gateway, (epoch << _COUNT_BITS) + self._count
        account.answered, account.recalled_at = 0, None
        tokens, account.bucket = account.bucket.tokens(now), None
        return [(gateway, c.AllowanceLent(user_id, account.grant, tokens))]

    def _serve(self, user_id: UUID, account: _Account, epoch: int, now: float) -> Tells:
        """The bucket goes to whoever is first in line, with the answers to all that asked there, and is called back
        for the next.
        """
        tells: Tells = []
        if account.line and account.bucket is not None:
            gateway = account.line[0][0]
            tells += self._lend(user_id, account, gateway, epoch, now)
        if account.line and account.holder is not None:
            served = [ask for name, ask in account.line if name == account.holder]
            account.line = [(name, ask) for name, ask in account.line if name != account.holder]
            tells += [(account.holder, _done(ask)) for ask in served]
            account.answered = served[-1].ref if served else account.answered
            if account.line and (account.recalled_at is None or now - account.recalled_at >= RECALL_AGAIN_S):
                account.recalled_at = now
                own = not self._foreign(user_id, account.grant)
                tells.append((account.holder, c.RecallAllowance(user_id, account.grant, own)))
        return tells


def _done(command: c.AllowanceCommand) -> c.Answer:
    return c.Answer(command.ref, b"{}", command.epoch)


# -- a gateway's side --------------------------------------------------------------------------------------------


class _Held:
    __slots__ = ("bucket", "grant")

    def __init__(self, grant: int, bucket: TokenBucket) -> None:
        self.grant = grant
        self.bucket = bucket


class _Wish(Generic[W]):
    """Who waits for a bucket that is elsewhere. `share` is what is spent of meanwhile, once patience ended."""

    __slots__ = ("asking", "share", "since", "waiting")

    def __init__(self, now: float) -> None:
        self.since = now
        self.asking = True
        self.waiting: list[W] = []
        self.share: TokenBucket | None = None


class Borrower(Generic[W]):
    """The buckets that are with this gateway, and who waits for one (`W`, whatever the caller resumes).

    Who is told to wait calls `wait`, and is handed back by `lent` or `overdue`: then `take` says something. Where a
    method says so, the owner must be asked (`TakeAllowance`).
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[UUID, _Held] = {}
        self._wishes: dict[UUID, _Wish[W]] = {}
        self._seen: dict[str, int] = {}  # shard → the newest of its loans that was heard of
        self._loose: set[UUID] = set()  # held, though the user may have no socket here

    def take(self, user_id: UUID, now: float) -> float | None:
        """Spend a message: 0.0 when the user may write, else the seconds to wait; None when that must be asked."""
        held = self._held.get(user_id)
        if held is not None:
            return held.bucket.take(now)
        wish = self._wishes.get(user_id)
        return None if wish is None or wish.share is None else wish.share.take(now)

    def wait(self, user_id: UUID, waiter: W, now: float) -> bool:
        """Put somebody in line. True when the owner must be asked."""
        wish = self._wishes.get(user_id)
        first = wish is None
        if wish is None:
            wish = self._wishes[user_id] = _Wish(now)
        wish.waiting.append(waiter)
        return first

    def lent(self, shard: str, loan: c.AllowanceLent, now: float) -> list[W]:
        """Returns who may go on."""
        if not self._news(shard, loan.grant):
            return []
        bucket, held = self._limits.bucket(now, loan.tokens), self._held.get(loan.user_id)
        if held is not None:
            # A new owner did not know that it is here; what was spent is spent.
            bucket = self._limits.bucket(now, min(loan.tokens, held.bucket.tokens(now)))
        self._held[loan.user_id] = _Held(loan.grant, bucket)
        self._loose.add(loan.user_id)
        wish = self._wishes.pop(loan.user_id, None)
        return [] if wish is None else wish.waiting

    def strays(self, shard: str, loan: c.AllowanceLent) -> bool:
        """A loan of a shard that is not the owner (any more) is not spent. True when it must be given back, to whoever
        is: in the first moments that one does not know better.
        """
        return self._news(shard, loan.grant)

    def recalled(self, shard: str, recall: c.RecallAllowance, now: float) -> float | None:
        """The tokens to give back; None when this loan is not here, and then it will not be accepted later either."""
        if recall.own:
            self._news(shard, recall.grant)
        held = self._held.get(recall.user_id)
        if held is None or held.grant > recall.grant:
            return None
        self._drop(recall.user_id)
        return held.bucket.tokens(now) if held.grant == recall.grant else None

    def answered(self, user_id: UUID) -> bool:
        """The owner answered an ask. True when it must be asked again, for the loan did not come."""
        return user_id in self._wishes

    def refused(self, user_id: UUID) -> None:
        """Nobody answered an ask; it is repeated by and by (`overdue`)."""
        if wish := self._wishes.get(user_id):
            wish.asking = False

    def overdue(self, now: float) -> tuple[list[W], list[UUID]]:
        """Who waited long enough and goes on with a share; and of which users the owner must be asked again."""
        resumed: list[W] = []
        ask: list[UUID] = []
        for user_id, wish in list(self._wishes.items()):
            if wish.share is None and now - wish.since >= PATIENCE_S:
                wish.share = self._limits.share(now)
            going: list[W] = []
            if wish.share is not None:
                going, wish.waiting = wish.waiting, going
                resumed += going
            if wish.asking:
                continue
            # Those who go on now are about to spend of the share.
            if wish.share is not None and wish.share.full(now) and not going:
                del self._wishes[user_id]
            else:
                wish.asking = True
                ask.append(user_id)
        return resumed, ask

    def spare(self, here: Callable[[UUID], bool], now: float) -> list[tuple[UUID, int, float]]:
        """Give back the full buckets of users who are not here any more: `(user, grant, tokens)`."""
        back: list[tuple[UUID, int, float]] = []
        for user_id in list(self._loose):
            held = self._held[user_id]
            if here(user_id):
                self._loose.discard(user_id)
            elif held.bucket.full(now):
                back.append((user_id, held.grant, held.bucket.tokens(now)))
                self._drop(user_id)
        return back

    def left(self, user_id: UUID) -> None:
        """The last socket of a user closed here."""
        if user_id in self._held:
            self._loose.add(user_id)

    def held(self, user_id: UUID, now: float) -> tuple[int, float]:
        """What a new owner is told: `(grant, tokens)`, zeros when nothing is held."""
        held = self._held.get(user_id)
        return (0, 0.0) if held is None else (held.grant, held.bucket.tokens(now))

    def holders(self) -> Iterable[UUID]:
        """The users whose buckets are here."""
        return self._held.keys()

    def _news(self, shard: str, grant: int) -> bool:
        """Loans of a shard are counted up; what is no newer than the newest that was heard of came late or twice."""
        count = grant & ((1 << _COUNT_BITS) - 1)
        newer = count > self._seen.get(shard, 0)
        if newer:
            self._seen[shard] = count
        return newer

    def _drop(self, user_id: UUID) -> None:
        del self._held[user_id]
        self._loose.discard(user_id)
