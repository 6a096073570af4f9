"""Cross-origin access for the origins on the allow-list, and for nobody else."""

from collections.abc import Iterable

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, X-API-Key, X-CSRF-Token, X-Request-ID"
    ),
    # 10 minutes: what browsers keep at most.
    "Access-Control-Max-Age": "600",
}


class Cors:
    """Headers by origin, worked out once: a request costs one look-up."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._headers = {
            origin: {
                "Access-Control-Allow-Origin": origin,
                # Refresh tokens travel in a cookie.
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Expose-Headers": (
                    "Retry-After, X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
                ),
            }
            for origin in allowed
        }

    def headers(self, origin: str, *, preflight: bool) -> dict[str, str]:
        """What a response to a request from `origin` carries; nothing for a stranger."""
        found = self._headers.get(origin)
        if found is None:
            return {}
        return {**found, **_PREFLIGHT} if preflight else found
