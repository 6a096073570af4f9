"""Tokens that somebody made up, some of them with our own secret: a good signature is not enough."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from system.people import People, Person
from system.running import Running, refused
from system.sockets import dial
from websockets.exceptions import InvalidStatus

Claims = dict[str, Any]
HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def part(value: Any) -> str:
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")
    )


def made(claims: Claims, secret: bytes, *, hashed: str = "HS256", **header: Any) -> str:
    """A token with that header, signed with HMAC whatever the header says."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', **header})}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), HASHES[hashed]))}"


def secret_of(system: Running) -> bytes:
    found: str = json.loads((system.data_dir / "secrets.json").read_text())["jwt_secret"]
    return found.encode()


def claims_of(token: str) -> Claims:
    middle = token.split(".")[1]
    found: Claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return found


def key_tricks(claims: Claims, secret: bytes) -> Mapping[str, str]:
    """Where a check might be led to look for a key that the caller knows."""
    own = {"kty": "oct", "k": part(b"own"), "alg": "HS256"}
    url = "https://evil.example/keys.json"
    return {
        "kid of an empty file": made(claims, b"", kid="../../../../../../dev/null"),
        "kid of a known file": made(claims, b"2\n", kid="/proc/sys/kernel/randomize_va_space"),
        "kid with SQL": made(claims, b"own", kid="x' UNION SELECT 'own' -- "),
        "kid that is a command": made(claims, b"own", kid="|echo own"),
        "kid that is no text": made(claims, secret, kid={"$ne": None}),
        "a key of its own": made(claims, b"own", jwk=own),
        "keys elsewhere": made(claims, b"own", jku=url),
        "a certificate elsewhere": made(claims, b"own", x5u=url),
        "an empty secret": made(claims, b""),
        "the secret's hash": made(claims, hashlib.sha256(secret).digest()),
        "an unknown extension that matters": made(claims, secret, crit=["exp"]),
        "a payload that is not encoded": made(claims, secret, crit=["b64"], b64=False),
    }


def algorithms(claims: Claims, secret: bytes) -> Mapping[str, str]:
    nothing = {
        f"alg {name!r}": made(claims, secret, alg=name) for name in ("none", "None", "NONE", "nOnE", "", None, 5)
    }
    unsigned = {f"{name} without": token.rpartition(".")[0] + "." for name, token in nothing.items()}
    named = {f"{name} with our secret": made(claims, secret, alg=name, hashed=name) for name in ("HS384", "HS512")}
    # The header says one and the signature is another.
    mixed = {
        f"{name}, HS256 inside": made(claims, secret, alg=name)
        for name in ("HS512", "RS256", "ES256", "EdDSA", "hs256")
    }
    other = {"HS512 inside HS256": made(claims, secret, hashed="HS512")}
    return {**nothing, **unsigned, **named, **mixed, **other}


def contents(claims: Claims, secret: bytes) -> Mapping[str, str]:
    """All signed as ours are."""
    now = int(time.time())
    changed: dict[str, Claims] = {
        "expired": {"exp": now - 1},
        "expired long ago": {"exp": 0},
        "expires never": {"exp": None},
        "expires at infinity": {"exp": float("inf")},
        "expires in words": {"exp": "9999999999"},
        "expires in a fraction": {"exp": now + 60.5},
        "for sockets": {"aud": "chat"},
        "for both": {"aud": ["api", "chat"]},
        "for nobody": {"aud": ""},
        "of another person": {"sub": str(uuid.uuid4())},
        "of a person that is SQL": {"sub": "' OR 1=1 --"},
        "of another session": {"sid": str(uuid.uuid4())},
        "of a session that is a list": {"sid": [claims["sid"]]},
    }
    left_out = {f"without {name}": {key: value for key, value in claims.items() if key != name} for name in claims}
    whole = {**{name: {**claims, **change} for name, change in changed.items()}, **left_out}
    return {name: made(content, secret) for name, content in whole.items()}


def shapes(claims: Claims, secret: bytes) -> Mapping[str, str]:
    good = made(claims, secret)
    first, middle, last = good.split(".")
    return {
        "two": f"{good},{good}",
        "five parts": f"{first}.{middle}.{last}.{middle}.{last}",
        "a signature less": f"{first}.{middle}",
        "an empty signature": f"{first}.{middle}.",
        "its beginning": good[:-1],
        "padding": f"{good}==",
        "a list for claims": made([claims], secret),  # type: ignore[arg-type]
        "very long": made({**claims, "jti": "x" * 8000}, secret),
        "JSON": json.dumps({"protected": first, "payload": middle, "signature": last}),
    }


@pytest.mark.parametrize("kind", [key_tricks, algorithms, contents, shapes])
async def test_a_made_up_token_is_401(system: Running, ada: Person, kind: Any) -> None:
    secret, claims = secret_of(system), claims_of(ada.token)
    control = await ask(system, made(claims, secret))
    assert control.status_code == 200, "the tests sign as the server does"
    for name, token in kind(claims, secret).items():
        answer = await ask(system, token)
        assert answer.status_code == 401, f"{name}: {answer.text}"
        refused(answer, 401, "unauthenticated")
        with pytest.raises(InvalidStatus) as upgrade:
            await dial(system, headers={"Authorization": f"Bearer {token}"})
        assert upgrade.value.response.status_code == 401, name


async def ask(system: Running, token: str) -> Any:
    return await system.http.get("users/me", headers={"Authorization": f"Bearer {token}"})


async def test_each_token_has_its_place(system: Running, ada: Person) -> None:
    chat = await ada.chat_token()
    refused(await ask(system, chat), 401, "unauthenticated")
    refused(await system.http.get("users/me", params={"token": ada.token}), 401, "unauthenticated")
    refused(await ask(system, ada.refresh_token), 401, "unauthenticated")
    for token in (ada.token, ada.refresh_token):
        with pytest.raises(InvalidStatus):
            await dial(system, token=token)
    # With the right secret and a session that lives, but as somebody else.
    secret = secret_of(system)
    for audience in ("api", "chat"):
        stolen = made({**claims_of(ada.token), "aud": audience, "sub": str(uuid.uuid4())}, secret)
        refused(await ask(system, stolen), 401)
        with pytest.raises(InvalidStatus):
            await dial(system, token=stolen)


async def test_a_session_speaks_for_its_own_person(system: Running, people: People) -> None:
    ada, eve = await people.register(), await people.register()
    mixed = made({**claims_of(eve.token), "sub": ada.id}, secret_of(system))
    refused(await ask(system, mixed), 401, "unauthenticated")
    refused(await ask(system, made({**claims_of(ada.token), "sub": eve.id}, secret_of(system))), 401)
    assert (await ask(system, eve.token)).json()["data"]["id"] == eve.id
