"""What else live streams are offered as, beside what their encoders send."""

import msgspec

MAX_RENDITIONS = 5
MIN_HEIGHT, MAX_HEIGHT = 144, 2160
MIN_KBPS, MAX_KBPS = 100, 20_000


class Rendition(msgspec.Struct, frozen=True):
    """A smaller picture of the same stream: its height in pixels, and the bits a second that are aimed at."""

    height: int
    video_bps: int

    @property
    def name(self) -> str:
        """For paths and logs; no other of a stream has the same."""
        return f"r{self.height}"

    def __str__(self) -> str:
        return f"{self.height}:{self.video_bps // 1000}k"
