"""What a gateway has of one policy: units by key, and who waits for more."""

from collections import deque
from collections.abc import Callable, Iterator

from veza.realtime.rate_window import Now, Policy

# What `take` says when nothing is left in this window, and when that must be asked.
REFUSED, ASK = -1, -2
NEVER = -1  # a window

# What is left after it, or REFUSED; and the window.
Waiter = Callable[[int, int], None]


class Wish:
    """Who waits for units of a key; `asked` while the limiter has not answered what it was asked in `window`."""

    __slots__ = ("asked", "since", "waiting", "window")

    def __init__(self, now: Now) -> None:
        self.asked = False
        self.window = NEVER
        self.since = now.steady
        self.waiting: deque[Waiter] = deque()


class Held:
    """The units of a key that are here: `share` of them, `left` of these unspent in `window`. Nothing more is to be
    had in the window `shut`; in the window `alone` nobody could be asked.
    """

    __slots__ = ("alone", "left", "number", "owner", "share", "shut", "window", "wish")

    def __init__(self, number: int, window: int, owner: str | None) -> None:
        self.number = number
        self.window = window
        self.owner = owner
        self.share = self.left = 0
        self.shut = self.alone = NEVER
        self.wish: Wish | None = None

    def advance(self, window: int) -> None:
        if window > self.window:
            self.window = window
            self.left = self.share
            self.serve()
        elif window < self.window - 1:
            # The clock was set back: nothing is spent twice, and the next window comes soon.
            self.window = window

    def add(self, share: int, left: int) -> None:
        self.share += share
        self.left += left
        self.serve()

    def serve(self) -> None:
        """Whoever waits goes first."""
        wish = self.wish
        while wish is not None and wish.waiting and self.left:
            self.left -= 1
            wish.waiting.popleft()(self.left, self.window)

    def refuse(self) -> None:
        if self.wish is not None:
            waiting, self.wish.waiting = self.wish.waiting, deque()
            for waiter in waiting:
                waiter(REFUSED, self.window)


class Book:
    """The keys of one policy. They lie in three layers: used lately, less lately, and about to be given back."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._recent: dict[str, Held] = {}
        self._older: dict[str, Held] = {}
        self._leaving: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._recent) + len(self._older) + len(self._leaving)

    @property
    def leaves(self) -> bool:
        """Whether something is to be given back."""
        return bool(self._leaving)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._recent, *self._older, *self._leaving])

    def take(self, subject: str, window: int) -> int:
        """Spend a unit of this window: how many are left here after it, REFUSED or ASK."""
        held = self._recent.get(subject) or self._revive(subject)
        if held is None:
            return ASK
        if held.window != window:
            held.advance(window)
        if held.left:
            held.left -= 1
            return held.left
        return REFUSED if held.shut >= held.window else ASK

    def refuses(self, subject: str, window: int) -> bool:
        """Whether it is certain that nothing is left, without spending anything."""
        held = self._recent.get(subject)
        return held is not None and not held.left and held.shut >= held.window >= window

    def put_back(self, subject: str, window: int) -> None:
        """What was taken is not spent after all."""
        held = self._recent.get(subject)
        if held is not None and held.window == window and held.left < held.share:
            held.left += 1

    def find(self, subject: str) -> Held | None:
        return self._recent.get(subject) or self._older.get(subject) or self._leaving.get(subject)

    def _revive(self, subject: str) -> Held | None:
        held = self._older.pop(subject, None) or self._leaving.pop(subject, None)
        if held is not None:
            self._recent[subject] = held
        return held

    def open(self, subject: str, held: Held) -> None:
        self._recent[subject] = held

    def drop(self, subject: str) -> None:
        for layer in (self._recent, self._older, self._leaving):
            layer.pop(subject, None)

    def turn(self) -> None:
        """One layer down, once all that was about to leave has left."""
        if not self._leaving:
            self._leaving, self._older, self._recent = self._older, self._recent, {}

    def oldest(self) -> tuple[str, Held] | None:
        """Take out one that was not used lately."""
        for layer in (self._leaving, self._older):
            if layer:
                return layer.popitem()
        return None

    def leaving(self) -> tuple[str, Held] | None:
        return self._leaving.popitem() if self._leaving else None
