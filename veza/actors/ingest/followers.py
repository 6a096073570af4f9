"""Which gateways play which streams of an Ingest."""

# A gateway says so every ten seconds while somebody plays the stream: two of these may be lost.
FOLLOWED_S = 30.0


class Followers:
    """Gateways by the stream they play. A `mirror` does not see the files, and is sent them."""

    def __init__(self) -> None:
        self._until: dict[str, dict[str, float]] = {}  # playback → gateway → when it is forgotten
        self._mirrors: set[tuple[str, str]] = set()  # (playback, gateway)

    def follow(self, playback_id: str, gateway: str, now: float, *, mirror: bool) -> bool:
        """Returns whether it is a mirror that was none before: it has none of the files."""
        key, gateways = (playback_id, gateway), self._until.setdefault(playback_id, {})
        if gateways.get(gateway, now) <= now:
            # Forgotten: what came meanwhile was not sent to it.
            self._mirrors.discard(key)
        gateways[gateway] = now + FOLLOWED_S
        new = mirror and key not in self._mirrors
        if mirror:
            self._mirrors.add(key)
        else:
            self._mirrors.discard(key)
        return new

    def of(self, playback_id: str, now: float) -> list[str]:
        return [gateway for gateway, until in self._until.get(playback_id, {}).items() if until > now]

    def mirrors_of(self, playback_id: str, now: float) -> list[str]:
        return [gateway for gateway in self.of(playback_id, now) if (playback_id, gateway) in self._mirrors]

    def forget(self, now: float) -> None:
        """Those who have not said anything for FOLLOWED_S."""
        for playback_id, gateways in list(self._until.items()):
            for gateway in [name for name, until in gateways.items() if until <= now]:
                self._drop(playback_id, gateway)

    def behind(self, gateway: str) -> None:
        """Something was not sent to it: with the next follow it is a new mirror."""
        self._mirrors = {key for key in self._mirrors if key[1] != gateway}

    def gateway_lost(self, gateway: str) -> None:
        for playback_id in [each for each, gateways in self._until.items() if gateway in gateways]:
            self._drop(playback_id, gateway)

    def ended(self, playback_id: str) -> None:
        for gateway in list(self._until.get(playback_id, {})):
            self._drop(playback_id, gateway)

    def _drop(self, playback_id: str, gateway: str) -> None:
        gateways = self._until[playback_id]
        del gateways[gateway]
        self._mirrors.discard((playback_id, gateway))
        if not gateways:
            del self._until[playback_id]
