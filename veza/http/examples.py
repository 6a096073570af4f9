"""Examples of requests and answers, made from their schemas: each is valid, and says what a reader would expect."""

from collections.abc import Mapping
from typing import Any

_ID = "0190a5c4-6b1e-7cc3-98c4-dc0c0c07398f"
_TIME = "2026-02-23T12:00:00Z"
_TOKEN = "eyJhbGciOiJIUzI1NiJ9.…"  # noqa: S105 - an example

# What fields of these names hold, wherever they are text or numbers.
_BY_NAME: dict[str, Any] = {
    "access_token": _TOKEN,
    "action": "user.ban",
    "address": "127.0.0.1",
    "avatar_url": "https://veza.example/ada.png",
    "bio": "Plays the harp.",
    "client_msg_id": "c0ffee-1",
    "code": "conflict",
    "content": "Hello",
    "created_at": _TIME,
    "current_password": "SecureP@ssw0rd",
    "description": "A longer text.",
    "device": "Mozilla/5.0",
    "display_name": "Ada",
    "email": "ada@veza.example",
    "emoji": "👍",
    "error": "That conflicts with what is already there.",
    "expires_in": 3600,
    "file_name": "aria.flac",
    "filename": "aria.flac",
    "ip": "203.0.113.7",
    "last_seq": 42,
    "lag_ms": 1.5,
    "limit": 20,
    "message": "Done",
    "method": "GET",
    "mime": "audio/flac",
    "mime_type": "audio/x-flac",
    "name": "Harp quartet",
    "new_password": "An0ther-Secret",
    "next_cursor": "eyJzZXEiOjQyfQ",
    "offset": 0,
    "password": "SecureP@ssw0rd",
    "path": "/api/v1/users/me",
    "platform_fee_rate": 0.1,
    "presence": "online",
    "q": "harp",
    "reason": "Spam",
    "refresh_token": "cmVmcmVzaC10b2tlbg",
    "request_id": "0190a5c4-6b1e-7cc3-98c4-000000000001",
    "resource": "/api/v1/users/me",
    "role": "member",
    "search": "ada",
    "seq": 42,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 48_000,
    "status": "ok",
    "summary": "Say that the server answers",
    "title": "Aria",
    "token": _TOKEN,
    "total": 1,
    "unread_count": 3,
    "username": "ada",
    "user_agent": "Mozilla/5.0",
}
_BY_FORMAT = {"uuid": _ID, "date-time": _TIME, "date": "2026-02-23", "email": "ada@veza.example"}


class Examples:
    """`components` are the schemas that references point to, by name."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components

    def of(self, schema: Mapping[str, Any], name: str = "") -> Any:
        """A value of `schema`, for a field of that name."""
        for said in ("examples", "enum"):
            if said in schema:
                return schema[said][0]
        if "const" in schema:
            return schema["const"]
        if (other := self._another(schema)) is not None:
            return self.of(other, name)
        return self._of_type(schema, name)

    def _another(self, schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The schema that this one points to, or of several the first that is not null."""
        if "$ref" in schema:
            found: Mapping[str, Any] = self._components[schema["$ref"].rpartition("/")[2]]
            return found
        choices = schema.get("anyOf") or schema.get("oneOf") or ()
        return next((each for each in choices if each.get("type") != "null"), None)

    def _of_type(self, schema: Mapping[str, Any], name: str) -> Any:
        found: Any = _BY_NAME.get(name, "anything")
        match schema.get("type"):
            case "object":
                found = self._object(schema)
            case "array":
                found = self._array(schema, name)
            case "null":
                found = None
            case "boolean":
                found = schema.get("default", True)
            case "integer" | "number":
                found = _number(schema, name)
            case "string":
                found = _text(schema, name)
        return found

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        if "properties" in schema:
            return {name: self.of(field, name) for name, field in schema["properties"].items()}
        values = schema.get("additionalProperties")
        if not isinstance(values, Mapping):
            return {}
        names = self.of(schema["propertyNames"]) if "propertyNames" in schema else "database"
        return {names: self.of(values)}

    def _array(self, schema: Mapping[str, Any], name: str) -> list[Any]:
        if "prefixItems" in schema:
            return [self.of(item) for item in schema["prefixItems"]]
        items = schema.get("items")
        if not isinstance(items, Mapping):
            return []
        return [self.of(items, name.removesuffix("s"))] * max(1, schema.get("minItems", 1))


def _number(schema: Mapping[str, Any], name: str) -> Any:
    if isinstance(schema.get("default"), int | float):
        return schema["default"]
    found = _BY_NAME.get(name)
    whole = schema["type"] == "integer"
    if isinstance(found, int) or (isinstance(found, float) and not whole):
        return found
    return max(1, schema.get("minimum", 1))


def _text(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    found = _BY_NAME.get(name)
    if isinstance(found, str):
        return found
    return _TIME if name.endswith("_at") else name or "text"
