"""What a username, an e-mail address, a password and a web address must look like.

The patterns are written so that JSON Schema and Python read them alike: the API's document shows them.
"""

import re
from collections.abc import Iterator

from veza.errors import InvalidArgument

USERNAME_PATTERN = r"^[A-Za-z0-9_.-]{3,30}(?!\n)$"
# An address that a browser may load; never `javascript:` or `data:`.
WEB_ADDRESS_PATTERN = r"^https?://[^\s/]+[^\s]*(?!\n)$"
MAX_WEB_ADDRESS_LENGTH = 2048
_USERNAME = re.compile(USERNAME_PATTERN)
_WEB_ADDRESS = re.compile(WEB_ADDRESS_PATTERN)
# Deliverability can only be tried; this refuses what cannot be an address.
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@.\x00-\x1f\x7f]+(\.[^\s@.\x00-\x1f\x7f]+)+")
MAX_EMAIL_LENGTH = 254
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128


def username_problem(value: str) -> str | None:
    """What is wrong with a username, or None."""
    if _USERNAME.fullmatch(value):
        return None
    return "must have 3 to 30 characters, of A-Z, a-z, 0-9, '_', '.' and '-'"


def email_problem(value: str) -> str | None:
    """What is wrong with an e-mail address, or None."""
    if len(value) <= MAX_EMAIL_LENGTH and _EMAIL.fullmatch(value):
        return None
    return "must be an e-mail address"


def password_problem(value: str) -> str | None:
    """What is wrong with a new password, or None."""
    if not MIN_PASSWORD_LENGTH <= len(value) <= MAX_PASSWORD_LENGTH:
        return f"must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"
    missing = [
        name
        for name, found in (
            ("an upper-case letter", any(map(str.isupper, value))),
            ("a lower-case letter", any(map(str.islower, value))),
            ("a digit", any(map(str.isdigit, value))),
            ("a special character", not all(map(str.isalnum, value))),
        )
        if not found
    ]
    return f"must contain {', '.join(missing)}" if missing else None


def web_address_problem(value: str) -> str | None:
    """What is wrong with an address of the web, or None."""
    if len(value) <= MAX_WEB_ADDRESS_LENGTH and _WEB_ADDRESS.search(value):
        return None
    return f"must be an http or https address of at most {MAX_WEB_ADDRESS_LENGTH} characters"


_PROBLEM_OF = {
    "username": username_problem,
    "email": email_problem,
    "password": password_problem,
    "new_password": password_problem,
}


def require_valid(**values: str) -> None:
    """Check fields by their names. Raises InvalidArgument that names every field in the wrong."""

    def problems() -> Iterator[tuple[str, str]]:
        for field, value in values.items():
            problem = _PROBLEM_OF[field](value)
            if problem is not None:
                yield field, problem

    if found := tuple(problems()):
        raise InvalidArgument("; ".join(f"{field} {problem}" for field, problem in found) + ".", found)
