"""The limiter's side of `rate_window`: the units that are at home, and who has the others."""

from collections.abc import Iterator

from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Now, window_of

# How long gateways have to say what they hold to a limiter that is new to it.
SETTLE_S = 0.5
# Clocks are not further apart.
APART_S = 1.0
# A gateway that does not answer a recall for so long hangs: its units are at home from the next window on.
GIVE_UP_S = 1.0
# Of keys; for one more every gateway is alone.
MOST_KEYS = 262_144

_NEVER, _LATER = -1, 1 << 62  # windows

Tells = list[tuple[str, m.ToGateway]]  # gateway, and what it is told


class _Holder:
    """A gateway that has units of a key. `empty` is the window in which it has none left, as far as we know."""

    __slots__ = ("empty", "gateway", "number", "recalled_at", "share")

    def __init__(self, gateway: str, number: int, share: int) -> None:
        self.gateway = gateway
        self.number = number
        self.share = share
        self.empty = _NEVER
        self.recalled_at: float | None = None


class _Account:
    """The units of a key: `share` of them at home, `left` of these unspent in `window`; nothing is lent before the
    window `opens`. `line` are the gateways that wait, with their numbers.
    """

    __slots__ = ("holders", "left", "limit", "line", "opens", "period_s", "share", "window")

    def __init__(self, limit: int, period_s: int, window: int) -> None:
        self.limit = limit
        self.period_s = period_s
        self.window = window
        self.opens = window
        self.share = self.left = limit
        self.holders: list[_Holder] = []
        self.line: tuple[tuple[str, int], ...] = ()

    def advance(self, window: int) -> None:
        if window > self.window:
            self.window = window
            self.left = self.share
        elif window < self.window - 1:
            # The clock was set back: nothing is lent twice, and the next window comes soon.
            self.window = window
            self.opens = min(self.opens, window + 1) if self.opens != _LATER else _LATER

    def holder(self, gateway: str) -> _Holder | None:
        for holder in self.holders:
            if holder.gateway == gateway:
                return holder
        return None

    def write_off(self, holder: _Holder, *, dead: bool = False) -> None:
        """Its units are at home, from the next window on: it may be spending them in this one. Of one that is `dead`
        they are unspent, for nobody knows what it spent, and nobody should be refused for it.
        """
        self.holders.remove(holder)
        self.share += holder.share
        self.left += holder.share if dead else 0


class Lender:
    """The keys that a limiter owns. What is not remembered is at home, and unspent.

    Every method returns what gateways must be told, in order.
    """

    def __init__(self, name: str, most_keys: int = MOST_KEYS) -> None:
        self._name = name
        self._most_keys = most_keys
        self._books: dict[str, dict[str, _Account]] = {}
        self._waiting: set[tuple[str, str]] = set()  # keys with a line
        self._resting: dict[int, set[tuple[str, str]]] = {}  # the second in which they may be forgotten → keys
        self._known = Limiters(0, 0, (), ())
        self._heard: dict[str, int] = {}  # gateway → `since` of its map
        self._since = 0  # of the map under which gateways said, or say, what they hold
        self._unreported: set[str] = set()
        self._fresh = True  # nobody had or spent anything before us
        self._settles_at = 0.0  # steady
        # Wall: of keys that nobody holds, windows that did not begin later are not lent.
        self._settled_since: float | None = None
        self._provisional: list[_Account] = []  # of which perhaps not all was reported

    def __len__(self) -> int:
        return sum(map(len, self._books.values()))

    def take(self, gateway: str, item: m.ToLimiter, now: Now) -> Tells:
        """What a gateway says."""
        match item:
            case m.Ask():
                return self._asked(gateway, item, now)
            case m.Gave():
                return self._gave(gateway, item, now)
            case m.Held():
                return self._held(gateway, item, now)
            case m.Hello():
                self._greeted(gateway, item, now)
            case _:
                if item.since >= self._since:
                    self._unreported.discard(gateway)
                    self._fresh = self._fresh and item.fresh
                self._settled(now)
        return []

    def gateway_lost(self, gateway: str, now: Now) -> Tells:
        """It is dead."""
        self._heard.pop(gateway, None)
        self._unreported.discard(gateway)
        tells: Tells = []
        for policy, subject, account in list(self._accounts()):
            holder = account.holder(gateway)
            if holder is None and not account.line:
                continue
            account.advance(window_of(now.wall, account.period_s))
            if holder is not None:
                account.write_off(holder, dead=True)
            account.line = tuple(waits for waits in account.line if waits[0] != gateway)
            tells += self._serve(policy, subject, account, now)
        return tells

    def tick(self, now: Now) -> Tells:
        """Wait no longer for gateways that hang; forget what is as if it had never been."""
        self._settled(now)
        tells: Tells = []
        for policy, subject in list(self._waiting):
            account = self._books[policy][subject]
            for holder in list(account.holders):
                if holder.recalled_at is not None and now.steady - holder.recalled_at >= GIVE_UP_S:
                    account.write_off(holder)
            account.advance(window_of(now.wall, account.period_s))
            tells += self._serve(policy, subject, account, now)
        for second in [second for second in self._resting if second <= now.wall]:
            for policy, subject in self._resting.pop(second):
                resting = self._books.get(policy, {}).get(subject)
                # Seen again since, it may rest until a later second.
                if resting is not None and not resting.holders and (resting.window + 1) * resting.period_s <= now.wall:
                    del self._books[policy][subject]
        return tells

    # -- whose keys ------------------------------------------------------------------------------------------

    def _greeted(self, gateway: str, hello: m.Hello, now: Now) -> None:
        known = hello.known
        before = self._heard.get(gateway, known.since)
        self._heard[gateway] = known.since
        if known.since <= self._since:
            return
        if hello.anew and before < known.since:
            # For a while the gateways did without us, each alone. What they have left they say again.
            self._forget_all()
        elif known.limiters != self._known.limiters:
            self._keep_own(known)
        else:
            self._known = known
            return
        self._known = known
        self._since = known.since
        self._unreported = set(known.gateways)
        self._settles_at = now.steady + SETTLE_S
        self._settled_since = None

    def _forget_all(self) -> None:
        self._books.clear()
        self._waiting.clear()
        self._resting.clear()
        self._provisional.clear()
        self._fresh = False

    def _keep_own(self, known: Limiters) -> None:
        for policy, book in self._books.items():
            for subject in [subject for subject in book if known.owner(policy, subject) != self._name]:
                del book[subject]
                self._waiting.discard((policy, subject))

    def _settled(self, now: Now) -> bool:
        """Whether all gateways have said, or had the time to say, what they hold."""
        if self._settled_since is not None or not self._since:
            return bool(self._since)
        if self._unreported and now.steady < self._settles_at:
            return False
        # If nobody had anything before, nothing of these windows is spent.
        self._settled_since = 0.0 if self._fresh and not self._unreported else now.wall + APART_S
        self._fresh = False
        for account in self._provisional:
            account.opens = _next_window(account, now)
        self._provisional.clear()
        return True

    def _may_lend(self, account: _Account | None, ask: m.Ask, window: int, now: Now) -> bool:
        """Whether nobody can have units of this window that we do not know of, or have spent them."""
        settled = self._settled(now)
        if account is not None:
            return account.opens <= account.window
        return settled and window * ask.period_s > (self._settled_since or 0.0) and len(self) < self._most_keys

    def _held(self, gateway: str, item: m.Held, now: Now) -> Tells:
        if self._known.owner(item.policy, item.subject) != self._name:
            return []
        book = self._books.setdefault(item.policy, {})
        account = book.get(item.subject)
        window = window_of(now.wall, item.period_s, item.window)
        void: Tells = [(gateway, m.Void(item.policy, item.subject, item.number))]
        if account is None:
            if len(self) >= self._most_keys:
                return void
            account = book[item.subject] = _Account(item.limit, item.period_s, window)
            account.opens = _next_window(account, now) if self._settled(now) else _LATER
            if account.opens == _LATER:
                self._provisional.append(account)
        elif (earlier := account.holder(gateway)) is not None:
            account.write_off(earlier)
        account.advance(window)
        if item.share > account.share:
            return void
        account.share -= item.share
        account.left = max(0, account.left - item.share)
        account.holders.append(_Holder(gateway, item.number, item.share))
        return []

    def _accounts(self) -> Iterator[tuple[str, str, _Account]]:
        for policy, book in self._books.items():
            for subject, account in book.items():
                yield policy, subject, account

    # -- units that go and come ------------------------------------------------------------------------------

    def _asked(self, gateway: str, ask: m.Ask, now: Now) -> Tells:
        if self._known.owner(ask.policy, ask.subject) != self._name:
            # The gateway is told of the new map, too, and asks there.
            return []
        book = self._books.setdefault(ask.policy, {})
        account = book.get(ask.subject)
        window = window_of(now.wall, ask.period_s, ask.window)
        if account is not None:
            account.advance(window)
            self._emptied(account, gateway, ask)
        if not self._may_lend(account, ask, window, now):
            # It spends in this window what we do not know of.
            self._fresh = False
            return [(gateway, m.Alone(ask.policy, ask.subject, ask.number, window))]
        if account is None:
            account = book[ask.subject] = _Account(ask.limit, ask.period_s, window)
        account.line = (*(waits for waits in account.line if waits[0] != gateway), (gateway, ask.number))
        return self._serve(ask.policy, ask.subject, account, now)

    def _emptied(self, account: _Account, gateway: str, ask: m.Ask) -> None:
        """Whoever asks has nothing left, and nothing at all under an earlier number."""
        holder = account.holder(gateway)
        if holder is None:
            return
        if holder.number == ask.number:
            holder.empty = min(ask.window, account.window)
        else:
            account.write_off(holder)

    def _gave(self, gateway: str, gave: m.Gave, now: Now) -> Tells:
        account = self._books.get(gave.policy, {}).get(gave.subject)
        holder = None if account is None else account.holder(gateway)
        if account is None or holder is None or holder.number != gave.number or gave.share > holder.share:
            # Written off meanwhile, or reported to another limiter.
            return [(gateway, m.Void(gave.policy, gave.subject, gave.number))]
        account.advance(window_of(now.wall, account.period_s, gave.window))
        holder.recalled_at = None
        holder.empty = _NEVER if gave.more else account.window
        holder.share -= gave.share
        if not holder.share:
            account.holders.remove(holder)
        account.share += gave.share
        account.left += gave.left if gave.window >= account.window else gave.share
        return self._serve(gave.policy, gave.subject, account, now)

    def _serve(self, policy: str, subject: str, account: _Account, now: Now) -> Tells:
        """Lend to the line what is at home, and recall what is not."""
        tells: Tells = []
        if account.left and account.line and account.opens <= account.window:
            self._lend(policy, subject, account, tells)
        if account.line:
            holders = [holder for holder in account.holders if holder.empty != account.window]
            if not holders:
                tells += [(name, m.Dry(policy, subject, number, account.window)) for name, number in account.line]
                account.line = ()
            for holder in holders:
                if holder.recalled_at is None:
                    holder.recalled_at = now.steady
                    tells.append((holder.gateway, m.Recall(policy, subject, holder.number, account.window)))
        if account.line:
            self._waiting.add((policy, subject))
        else:
            self._waiting.discard((policy, subject))
            if not account.holders:
                self._rest(policy, subject, account)
        return tells

    def _lend(self, policy: str, subject: str, account: _Account, tells: Tells) -> None:
        """Each in line gets as much; who is first, also what is spent, for the next window."""
        spent = account.share - account.left
        served = 0
        for gateway, number in account.line:
            part = -(-account.left // (len(account.line) - served))
            if not part:
                break
            served += 1
            holder = account.holder(gateway)
            if holder is None:
                holder = _Holder(gateway, number, 0)
                account.holders.append(holder)
            holder.number, holder.empty = number, _NEVER
            holder.share += part + spent
            account.share -= part + spent
            account.left -= part
            tells.append((gateway, m.Lent(policy, subject, number, account.window, part + spent, part)))
            spent = 0
        account.line = account.line[served:]

    def _rest(self, policy: str, subject: str, account: _Account) -> None:
        if account.left == account.limit:
            del self._books[policy][subject]
        else:
            second = (account.window + 1) * account.period_s
            self._resting.setdefault(second, set()).add((policy, subject))


def _next_window(account: _Account, now: Now) -> int:
    """The first that has begun by nobody's clock."""
    return window_of(now.wall + APART_S, account.period_s) + 1
