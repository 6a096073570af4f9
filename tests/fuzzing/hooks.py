"""What the fuzzer must be told beside the document. Loaded by Schemathesis itself (`SCHEMATHESIS_HOOKS`)."""

import itertools
import json
import os
import re
from typing import Any

import requests
import schemathesis

# Rules between fields, about what exists, and about kinds of characters: no schema can say them. A request that breaks
# one is refused with 400 although each of its fields is as the document wants it. The field that the answer names, and
# how what it says of it begins.
BEYOND_SCHEMAS = (
    # What a cursor holds is not the caller's to make.
    ("cursor", "is malformed"),
    ("password", "must contain"),
    ("new_password", "must contain"),
    ("name", "no control characters"),
    ("name", "a visible character"),
    ("name", "1 to 50 characters"),  # of spaces alone
    ("content", "must not be empty"),
    ("reason", "is empty"),
    ("reason", "at most"),  # in one line
    ("title", "is empty"),
    ("name", "is required"),  # for a group and a public room
    ("name", "not for direct"),
    ("member_ids", "exactly one"),
    ("name", "a name, or retention_days"),
    ("duration_s", "for mute and ban"),
    ("attachments", "uploaded to this room by yourself"),
    ("content_id", "is your own"),
    ("title", "no control characters"),
    ("title", "a visible character"),
    ("title", "1 to 200 characters"),  # of spaces alone
    ("currency", "is no code of ISO 4217"),
    ("file_id", "uploaded by yourself"),
    ("items", "at most"),  # of one product, in several lines
    ("items", "items of this order"),
    ("items", "several currencies"),
    ("items", "too much"),
    ("ids", "or all, not both"),
    ("filename", "is required"),
    ("offset", "not with a cursor"),
    ("starts_at", "is out of range"),
    ("from", "is out of range"),
    ("to", "is out of range"),
    ("ends_at", "is out of range"),
    ("ends_at", "is not after"),
    ("scheduled_at", "is out of range"),
    ("scheduled_at", "is in the past"),
    ("tags", "no control characters"),
    ("tags", "a visible character"),
    ("tags", "1 to 50 characters"),  # of spaces alone
    ("tag", "no control characters"),
    ("tag", "a visible character"),
    ("tag", "1 to 50 characters"),
    # JSON has one kind of number; for a schema 1.0 is whole.
    ("", r"Expected `int[^,]*, got `float`"),
    # Of a form: two fields that the fuzzer made up may have one name.
    ("", "is given twice"),
)
# The same, where the answer names no field.
SENTENCES = (
    "You cannot block yourself.",
    "You cannot follow yourself.",
    # Which type a file has is told by its bytes.
    "A file of the type ",
)

# These end the session that asks: each such request comes from a session of its own, or all after it would be refused.
ENDS_SESSION = {
    "POST /api/v1/auth/logout",
    "POST /api/v1/sessions/logout",
    "POST /api/v1/sessions/logout-all",
    "POST /api/v1/sessions/refresh",
    "PUT /api/v1/users/me/password",
    "DELETE /api/v1/users/me",
}

_numbers = itertools.count(1)


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Any, case: schemathesis.Case, response: schemathesis.Response
) -> bool:
    """False for a refusal of valid data that the document could not have announced."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code not in (400, 415):
        return True
    body = json.loads(response.content)
    if body["error"].startswith(SENTENCES):
        return False
    return not any(
        (name or detail["field"]) == detail["field"] and re.match(beginning, detail["message"])
        for detail in body.get("details", ())
        for name, beginning in BEYOND_SCHEMAS
    )


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Each request comes from an address of its own: what an address may do a minute is tested elsewhere."""
    headers = case.headers
    number = next(_numbers)
    headers["X-Forwarded-For"] = f"10.{2 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
    token = os.environ["VEZA_TOKEN"]
    if token and case.operation.label in ENDS_SESSION and headers.get("Authorization") == f"Bearer {token}":
        headers["Authorization"] = f"Bearer {_new_token(number)}"


def _new_token(number: int) -> str:
    """The access token of somebody who has just registered."""
    name = f"fuzz_{os.getpid()}_{number}"
    answer = requests.post(
        f"{os.environ['VEZA_URL']}/api/v1/auth/register",
        json={"username": name, "email": f"{name}@example.org", "password": "SecureP@ssw0rd"},
        headers={"X-Forwarded-For": f"10.1.{number // 250 % 250}.{number % 250 + 1}"},
        timeout=15,
    )
    token: str = answer.json()["data"]["access_token"]
    return token
