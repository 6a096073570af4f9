"""The one error of the package."""


class RtmpError(Exception):
    """The peer broke the protocol or a bound of ours; the connection must close."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
