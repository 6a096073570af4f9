"""Tokens: what is accepted, and everything that is not."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from veza.errors import Unauthenticated
from veza.http.tokens import Audience, Claims, Tokens

SECRET = "a secret for tests only, long enough"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
USER = UUID("11111111-1111-4111-8111-111111111111")
SESSION = UUID("22222222-2222-4222-8222-222222222222")

tokens = Tokens(SECRET)


def claims(**changed: Any) -> dict[str, Any]:
    issued = int(NOW.timestamp())
    whole = {"sub": str(USER), "sid": str(SESSION), "jti": "x", "iat": issued, "exp": issued + 60, "aud": "api"}
    return {name: value for name, value in {**whole, **changed}.items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), secret, algorithm=algorithm)


def unsigned() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}."


@pytest.mark.parametrize("audience", list(Audience))
def test_an_issued_token_says_who_and_for_how_long(audience: Audience) -> None:
    token = tokens.issue(audience, USER, SESSION, NOW)
    assert tokens.check(audience, token, NOW) == Claims(USER, SESSION)
    last_moment = NOW + timedelta(seconds=audience.lifetime - 1)
    assert tokens.check(audience, token, last_moment) == Claims(USER, SESSION)
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.check(audience, token, last_moment + timedelta(seconds=1))


def test_lifetimes_and_claims() -> None:
    assert (Audience.API.lifetime, Audience.CHAT.lifetime) == (3600, 300)
    token = tokens.issue(Audience.API, USER, SESSION, NOW)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    body = jwt.decode(token, options={"verify_signature": False})
    assert set(body) == {"sub", "sid", "jti", "iat", "exp", "aud"}
    assert token != tokens.issue(Audience.API, USER, SESSION, NOW)


def test_the_hand_made_token_of_these_tests_is_good() -> None:
    assert tokens.check(Audience.API, signed(), NOW) == Claims(USER, SESSION)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(unsigned(), id="none"),
        pytest.param(signed(secret=SECRET + SECRET, algorithm="HS512"), id="HS512 of another secret"),
        pytest.param(signed(secret=SECRET * 2), id="another secret"),
        pytest.param(signed(aud="chat"), id="other audience"),
        pytest.param(signed(aud=["api"]), id="a list of audiences"),
        pytest.param(signed(exp=int(NOW.timestamp())), id="expired"),
        pytest.param(signed(exp="tomorrow"), id="expiry that is no number"),
        pytest.param(signed(sub="somebody"), id="no id of a user"),
        pytest.param(signed(sid=None), id="no session"),
        pytest.param(signed(sid=5), id="session that is no text"),
        pytest.param(signed(jti=None), id="no jti"),
        pytest.param(signed(aud=None), id="no audience"),
        pytest.param(signed()[:-2], id="cut off"),
        pytest.param("", id="empty"),
        pytest.param("ä.ö.ü", id="not ASCII"),
        pytest.param("\udc80.a.b", id="lone surrogate"),
        pytest.param("a.b.c", id="nonsense"),
        pytest.param(signed(jti="x" * 4000), id="too long"),
    ],
)
def test_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.check(Audience.API, token, NOW)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_token_does_not_choose_its_algorithm(algorithm: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.check(Audience.API, signed(algorithm=algorithm), NOW)


def test_a_changed_payload_breaks_the_signature() -> None:
    head, _, signature = tokens.issue(Audience.API, USER, SESSION, NOW).split(".")
    _, forged, _ = signed(sub=str(uuid4())).split(".")
    with pytest.raises(Unauthenticated):
        tokens.check(Audience.API, f"{head}.{forged}.{signature}", NOW)


def test_what_was_checked_once_still_expires_and_has_one_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veza.http.tokens.REMEMBERED", 2)
    fresh = Tokens(SECRET)
    given = [signed(jti=str(number)) for number in range(5)]
    for token in given * 2:
        assert fresh.check(Audience.API, token, NOW) == Claims(USER, SESSION)
        with pytest.raises(Unauthenticated):
            fresh.check(Audience.CHAT, token, NOW)
    assert len(fresh._checked) == 2
    with pytest.raises(Unauthenticated, match="expired"):
        fresh.check(Audience.API, given[-1], NOW + timedelta(seconds=60))
    assert len(fresh._checked) == 1
