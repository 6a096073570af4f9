"""Access and chat tokens: short-lived JWTs that name a session. Whether the session lives is asked elsewhere."""

import enum
import uuid
from datetime import datetime
from uuid import UUID

import jwt
import msgspec

from veza.errors import Unauthenticated

# Pinned: a token never chooses how it is checked.
ALGORITHM = "HS256"
# Ours have about 350 characters; longer ones are not worth a hash.
MAX_TOKEN_LENGTH = 2048
# Tokens that have been checked, about 1 KB each. Checking one takes a third of the time of a small request.
REMEMBERED = 20_000


class Audience(enum.StrEnum):
    """What a token is good for, and for how many seconds."""

    API = "api"
    CHAT = "chat"

    @property
    def lifetime(self) -> int:
        return 3600 if self is Audience.API else 300


class Claims(msgspec.Struct, frozen=True):
    """What a checked token says."""

    user_id: UUID
    session_id: UUID


class Tokens:
    """Signs and checks, with one secret. Times are aware datetimes."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._checked: dict[tuple[Audience, str], tuple[Claims, int]] = {}  # token → what it says, and until when

    def issue(self, audience: Audience, user_id: UUID, session_id: UUID, now: datetime) -> str:
        """A token for `audience` that dies `audience.lifetime` seconds after `now`."""
        issued = int(now.timestamp())
        claims = {
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": uuid.uuid4().hex,
            "iat": issued,
            "exp": issued + audience.lifetime,
            "aud": audience.value,
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def check(self, audience: Audience, token: str, now: datetime) -> Claims:
        """What `token` says. Raises Unauthenticated unless it is ours, for `audience`, and alive at `now`."""
        key = audience, token
        found = self._checked.get(key)
        if found is None:
            found = self._decode(audience, token)
            while len(self._checked) >= REMEMBERED:
                del self._checked[next(iter(self._checked))]
            self._checked[key] = found
        claims, expires = found
        if expires <= now.timestamp():
            self._checked.pop(key, None)
            raise Unauthenticated("The access token has expired; refresh it.")
        return claims

    def _decode(self, audience: Audience, token: str) -> tuple[Claims, int]:
        """What a token of ours says and when it expires, which may have been."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise Unauthenticated
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=audience.value,
                # The times are checked against the clock that was passed in.
                options={
                    "require": ["sub", "sid", "jti", "iat", "exp", "aud"],
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            expires = claims["exp"]
            found = Claims(UUID(claims["sub"]), UUID(claims["sid"]))
        except (jwt.InvalidTokenError, ValueError, AttributeError, TypeError) as error:
            raise Unauthenticated from error
        if type(expires) is not int:
            raise Unauthenticated
        return found, expires
