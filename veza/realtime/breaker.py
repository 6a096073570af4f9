"""A circuit breaker: while a provider is down it is left alone, and then tried with one request."""


class Breaker:
    """Opens after `failures` in a row, for `seconds` at first and twice as long each time, up to `longest_seconds`;
    then one request may try. The pattern is M. Nygard's (Release It!, 2nd ed., 2018, chapter 5).
    """

    def __init__(self, failures: int = 5, seconds: float = 2.0, longest_seconds: float = 60.0) -> None:
        self._most = failures
        self._first = seconds
        self._longest = longest_seconds
        self._failed = 0
        self._pause = seconds
        self._open_until: float | None = None

    @property
    def closed(self) -> bool:
        return self._open_until is None

    def waits(self, now: float) -> float:
        """Seconds until something may be tried; 0 when it may now. Closed, everything may; else one thing."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def succeeded(self) -> None:
        """The provider answered, be it with a refusal."""
        self._failed, self._pause, self._open_until = 0, self._first, None

    def failed(self, now: float) -> None:
        """The provider did not answer, or could not."""
        self._failed += 1
        if self._open_until is not None:
            # Whatever was begun before it opened says nothing new.
            if now < self._open_until:
                return
            self._pause = min(self._pause * 2, self._longest)
        if self._open_until is not None or self._failed >= self._most:
            self._open_until = now + self._pause
