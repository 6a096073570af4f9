"""A gateway's side of `rate_window`: the units that are here, and who waits for more."""

from collections.abc import Iterator

from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Now, Policy, window_of
from veza.realtime.rate_window_book import NEVER, REFUSED, Book, Held, Waiter, Wish

# Nobody waits longer for an answer: then a gateway goes on alone. A limiter that said nothing for so long hangs.
PATIENCE_S = 0.5
# A key is given back when it was not used for once to twice as long.
IDLE_S = 5.0
# Of keys; the one that was idle longest goes for one more.
MOST_KEYS = 262_144
# So many are given back, or reported, before anything else gets its turn.
CHUNK = 1000

Tells = list[tuple[str, m.ToLimiter]]  # limiter, and what it is told


class Borrower:
    """The windows that a gateway looks after. Methods return what limiters must be told, in order, and call waiters.

    Alone, as long as the owner of a key is not known or does not answer, it lets pass its own part of the limit.
    """

    def __init__(self, gateways: int, most_keys: int = MOST_KEYS) -> None:
        """`gateways` is how many there are, until a map says so."""
        self._gateways = gateways
        self._most_keys = most_keys
        self._books: dict[str, Book] = {}
        self._wishes: dict[tuple[str, str], Held] = {}  # keys that somebody waits for
        self._known = Limiters(0, 0, (), ())
        self._untouched = True  # there was no limiter yet, and nobody asked for anything
        self._fresh = True  # so it was when the limiters last changed
        self._down: set[str] = set()
        self._heard: dict[str, float] = {}
        self._numbers = 0
        self._turned_at = 0.0
        self.alone = 0  # times that nobody could be asked

    def __len__(self) -> int:
        return sum(map(len, self._books.values()))

    @property
    def busy(self) -> bool:
        """Whether somebody waits, or something is to be given back now."""
        return bool(self._wishes) or any(book.leaves for book in self._books.values())

    def book(self, policy: Policy) -> Book:
        """The one of this policy, of which there is only one with this name."""
        return self._books.setdefault(policy.name, Book(policy))

    # -- who waits -------------------------------------------------------------------------------------------

    def wait(self, book: Book, subject: str, waiter: Waiter, now: Now) -> Tells:
        """For whom `take` said ASK. The waiter is called once, perhaps before this returns."""
        policy = book.policy
        tells: Tells = []
        held = book.find(subject)
        if held is None:
            tells += self._make_room(book)
            held = self._open(book, subject, now)
        wish = held.wish
        if wish is None:
            wish = held.wish = Wish(now)
            self._wishes[policy.name, subject] = held
        if len(wish.waiting) >= policy.limit:
            # Those before it take all there can be.
            waiter(REFUSED, held.window)
            return tells
        wish.waiting.append(waiter)
        if not wish.asked:
            tells += self._ask(book, subject, held, wish, now)
        return tells

    def overdue(self, now: Now) -> None:
        """Nobody waits for ever."""
        for (name, subject), held in list(self._wishes.items()):
            book = self._books[name]
            held.advance(window_of(now.wall, book.policy.period_s))
            if held.wish is None or now.steady - held.wish.since < PATIENCE_S:
                continue
            if held.owner is not None and self._heard.get(held.owner, 0.0) <= held.wish.since:
                self.limiter_down(held.owner, now)
            else:
                # It lives, but whoever has the units hangs.
                self._go_alone(book, subject, held, now)

    def _open(self, book: Book, subject: str, now: Now) -> Held:
        self._numbers += 1
        policy = book.policy
        held = Held(self._numbers, window_of(now.wall, policy.period_s), self._known.owner(policy.name, subject))
        book.open(subject, held)
        return held

    def _ask(self, book: Book, subject: str, held: Held, wish: Wish, now: Now) -> Tells:
        tells = self._rehome(book, subject, held)
        if held.owner is None or held.owner in self._down:
            self._go_alone(book, subject, held, now)
            return tells
        policy = book.policy
        wish.asked, wish.window, wish.since = True, held.window, now.steady
        ask = m.Ask(policy.name, subject, held.number, policy.limit, policy.period_s, held.window)
        return [*tells, (held.owner, ask)]

    def _go_alone(self, book: Book, subject: str, held: Held, now: Now) -> None:
        """Let pass what the gateway may by itself in this window, all in all, and refuse the rest."""
        held.advance(window_of(now.wall, book.policy.period_s))
        if held.alone < held.window:
            held.alone = held.window
            extra = max(0, book.policy.share(self._gateways) - held.share)
            self.alone += extra > 0
            held.add(0, extra)
        held.shut = held.window
        self._end_wish(book, subject, held)

    def _end_wish(self, book: Book, subject: str, held: Held) -> None:
        held.refuse()
        held.wish = None
        self._wishes.pop((book.policy.name, subject), None)

    # -- what a limiter says ---------------------------------------------------------------------------------

    def take(self, limiter: str, item: m.ToGateway, now: Now) -> Tells:
        self.heard(limiter, now)
        book = self._books.get(item.policy)
        held = None if book is None else book.find(item.subject)
        if book is None or held is None or (held.number, held.owner) != (item.number, limiter):
            return self._stray(limiter, item)
        match item:
            case m.Lent():
                tells = self._lent(book, held, item, now)
            case m.Dry() | m.Alone():
                tells = self._nothing(book, held, item, now)
            case m.Recall():
                tells = self._recalled(limiter, book, held, item, now)
            case _:
                tells = self._void(book, held, item, now)
        return tells

    def _stray(self, limiter: str, item: m.ToGateway) -> Tells:
        """Of something that is not here any more."""
        if isinstance(item, m.Lent):
            gave = m.Gave(item.policy, item.subject, item.number, item.window, item.share, item.left, more=False)
        elif isinstance(item, m.Recall):
            gave = m.Gave(item.policy, item.subject, item.number, item.window, 0, 0, more=False)
        else:
            return []
        return [(limiter, gave)]

    def _lent(self, book: Book, held: Held, item: m.Lent, now: Now) -> Tells:
        held.advance(window_of(now.wall, book.policy.period_s, item.window))
        held.shut = NEVER
        held.add(item.share, item.left if item.window >= held.window else item.share)
        return self._answered(book, item.subject, held, now)

    def _nothing(self, book: Book, held: Held, item: m.Dry | m.Alone, now: Now) -> Tells:
        """In the window that it names, or that was asked about; in a later one there may be."""
        held.advance(window_of(now.wall, book.policy.period_s, item.window))
        if item.window >= held.window or (held.wish is not None and held.wish.window == held.window):
            if isinstance(item, m.Alone):
                self._go_alone(book, item.subject, held, now)
            held.shut = held.window
            held.refuse()
        return self._answered(book, item.subject, held, now)

    def _answered(self, book: Book, subject: str, held: Held, now: Now) -> Tells:
        wish = held.wish
        if wish is not None and wish.waiting:
            return self._ask(book, subject, held, wish, now)
        self._end_wish(book, subject, held)
        return []

    def _recalled(self, limiter: str, book: Book, held: Held, item: m.Recall, now: Now) -> Tells:
        """All of a key that was not used in this window, else half of what is left."""
        held.advance(window_of(now.wall, book.policy.period_s, item.window))
        unspent = min(held.left, held.share)
        unused = held.left >= held.share and held.wish is None
        given = unspent if unused else (unspent + 1) // 2
        held.left -= given
        held.share -= given
        if not held.share and held.wish is None:
            book.drop(item.subject)
        more = held.left > 0
        return [(limiter, m.Gave(item.policy, item.subject, item.number, held.window, given, given, more))]

    def _void(self, book: Book, held: Held, item: m.Void, now: Now) -> Tells:
        self._numbers += 1
        held.number, held.share, held.left = self._numbers, 0, 0
        if held.wish is None:
            book.drop(item.subject)
            return []
        return self._answered(book, item.subject, held, now)

    # -- which limiters there are ----------------------------------------------------------------------------

    def heard(self, limiter: str, now: Now) -> None:
        """It took something, or said something: it is there."""
        self._heard[limiter] = now.steady
        self._down.discard(limiter)

    def limiter_down(self, limiter: str, now: Now) -> None:
        """It cannot be reached: whoever waits for it goes on alone."""
        self._down.add(limiter)
        for (name, subject), held in list(self._wishes.items()):
            if held.owner == limiter:
                self._go_alone(self._books[name], subject, held, now)

    def set_limiters(self, known: Limiters) -> Tells:
        """Returns the greetings. When there are any, or no limiter, `rehome` must follow, to its end."""
        before, self._known = self._known, known
        self._fresh = self._untouched and not len(self)
        self._untouched = self._fresh and not known.limiters
        self._gateways = len(known.gateways) or self._gateways
        self._down &= set(known.limiters)
        self._heard = {name: at for name, at in self._heard.items() if name in known.limiters}
        if known.limiters == before.limiters:
            return []
        return [(name, m.Hello(known, anew=name not in before.limiters)) for name in known.limiters]

    def rehome(self, now: Now) -> Iterator[Tells]:
        """Report what has another owner now, or none, a chunk at a time. Ends early when owners change again."""
        known, fresh = self._known, self._fresh
        for name, book in list(self._books.items()):
            here = window_of(now.wall, book.policy.period_s)
            tells: Tells = []
            for count, subject in enumerate(book, 1):
                held = book.find(subject)
                owner = known.owner(name, subject)
                if held is not None and (owner is None or held.owner != owner):
                    tells += self._move(book, subject, held, here, now)
                if count % CHUNK == 0:
                    yield tells
                    tells = []
                    if self._known.limiters != known.limiters:
                        return
            yield tells
        yield [(name, m.Reported(known.since, fresh)) for name in known.limiters]

    def _move(self, book: Book, subject: str, held: Held, here: int, now: Now) -> Tells:
        if held.wish is not None:
            return self._ask(book, subject, held, held.wish, now)
        if held.window < here - 1 or (not held.share and held.alone < here):
            # The new owner takes what nobody reports for being at home.
            book.drop(subject)
            return []
        held.advance(here)
        return self._rehome(book, subject, held)

    def _rehome(self, book: Book, subject: str, held: Held) -> Tells:
        """Another limiter owns the key, or none: it is told of what is here. That is no more than what each gateway
        may take while nobody can be asked.
        """
        policy = book.policy
        owner = self._known.owner(policy.name, subject)
        if owner == held.owner and owner is not None:
            return []
        self._numbers += 1
        held.owner, held.number = owner, self._numbers
        most = policy.share(self._gateways)
        if held.share > most:
            spent = held.share - held.left
            held.share = most
            held.left = max(0, most - spent)
        if owner is None or not held.share:
            return []
        report = m.Held(
            policy.name,
            subject,
            held.number,
            policy.limit,
            policy.period_s,
            held.window,
            held.share,
            min(held.left, held.share),
        )
        return [(owner, report)]

    # -- giving back -----------------------------------------------------------------------------------------

    def give_back(self, now: Now) -> Tells:
        """Some of what was not used for long; called again and again."""
        tells: Tells = []
        for book in self._books.values():
            here = window_of(now.wall, book.policy.period_s)
            while len(tells) < CHUNK and (found := book.leaving()):
                if found[1].wish is not None or found[1].alone >= here:
                    book.open(*found)
                else:
                    tells += self._give(book, *found)
        if len(tells) < CHUNK and now.steady - self._turned_at >= IDLE_S:
            self._turned_at = now.steady
            for book in self._books.values():
                book.turn()
        return tells

    def _give(self, book: Book, subject: str, held: Held) -> Tells:
        if held.owner is None or not held.share:
            return []
        left = min(held.left, held.share)
        gave = m.Gave(book.policy.name, subject, held.number, held.window, held.share, left, more=False)
        return [(held.owner, gave)]

    def _make_room(self, book: Book) -> Tells:
        """For one more key."""
        if len(self) < self._most_keys:
            return []
        books = (book, *self._books.values())
        for _ in range(2):
            for each in books:
                while found := each.oldest():
                    if found[1].wish is None:
                        return self._give(each, *found)
                    each.open(*found)
            # All were used lately.
            for each in self._books.values():
                each.turn()
        return []
