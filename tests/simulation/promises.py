"""What a client may rely on, by the numbers of the protocol, and by letters what it says without a number."""

PROMISES = {
    1: "one order without a gap or a repeat",
    2: "what is answered or shown is stored",
    3: "a retry is stored once and gets the first answer",
    4: "nothing is missed from the join on",
    5: "own messages come too",
    6: "a slow reader harms nobody",
    7: "a socket's commands keep their order",
    8: "deleted stays deleted",
    9: "whoever is removed sees nothing more",
    "B": "whoever is blocked does not write",
    "F": "a flood makes no other room wait",
    "M": "a message refers to members, and to attachments that nothing else has",
    "P": "everybody is shown as they are",
    "R": "nobody writes faster than the limit, nor waits for ever",
    "L": "when all is well again, everything is answered and everybody has caught up",
    "C": "nothing is kept for who is gone",
}


class Broken(AssertionError):
    """A promise was broken."""

    def __init__(self, promise: int | str, what: str) -> None:
        super().__init__(promise, what)
        self.promise = promise
        self.what = what

    def __str__(self) -> str:
        return f"promise {self.promise} ({PROMISES[self.promise]}): {self.what}"
