"""Settings: read once from the environment and `.env`, typed, checked, handed on as a value.

`Settings` is frozen and pickles, so that actors get the object of the process that started them. An empty
`database_url`, `redis_url` or `s3_endpoint_url` means that the real thing is started inside `data_dir`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from veza.config.renditions import Rendition
from veza.config.secrets import Secrets, load_secrets
from veza.config.settings import VARIABLES, Environment, Origin, Settings, Variable
from veza.errors import ConfigError

__all__ = ["Environment", "Origin", "Rendition", "Secrets", "Settings", "load_secrets", "load_settings", "masked"]

# HMAC-SHA256 keys below the digest's own size weaken it (RFC 7518, 3.2).
MIN_SECRET_LENGTH = 32
_WEAK_WORDS = ("changeme", "change-me", "change_me", "example", "default", "password", "insecure")
# Made at random outside production when unset.
_GENERATED = ("aws_access_key_id", "aws_secret_access_key", "jwt_secret", "hyperswitch_webhook_secret")
# Unset, payments go to the sandbox.
_PAYMENT = ("stripe_secret_key", "hyperswitch_base_url", "hyperswitch_api_key")
# Unset, a real one is started inside the data directory.
_EMBEDDED = ("database_url", "redis_url", "s3_endpoint_url")


def load_settings(
    env: Mapping[str, str] | None = None,
    dotenv: Path | None = Path(".env"),
    *,
    keep_secrets: bool = True,
) -> Settings:
    """Settings from `env` (default: the process's), then the file `dotenv`, then defaults.

    Outside production missing secrets are read from the data directory, or made; `keep_secrets=False` writes
    nothing, for commands that only look. Raises ConfigError, one sentence that names the variable.
    """
    environment = os.environ if env is None else env
    from_file = _read_dotenv(dotenv) if dotenv is not None else {}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for variable in VARIABLES:
        raw, origin = _find(variable, environment, from_file)
        origins[variable.field] = origin
        values[variable.field] = _parse(variable, raw) if raw else _EMPTY.get(variable.field, "")
    for field in (*_EMBEDDED, *_PAYMENT):
        if not values[field]:
            origins[field] = "embedded"
    if values["app_env"] == "production":
        _check_production(values)
    else:
        made = load_secrets(values["data_dir"], keep=keep_secrets)
        for field in _GENERATED:
            if not values[field]:
                values[field], origins[field] = getattr(made, field), "generated"
    _check_together(values)
    return Settings(**values, origins=origins)


_EMPTY: dict[str, Any] = {"trusted_proxies": (), "allowed_origins": (), "live_renditions": ()}


def _find(variable: Variable, environment: Mapping[str, str], from_file: Mapping[str, str]) -> tuple[str, Origin]:
    # An empty value counts as unset, as compose files and shells write it.
    if found := environment.get(variable.name, "").strip():
        return found, "environment"
    if found := from_file.get(variable.name, "").strip():
        return found, ".env"
    return variable.default, "default"


def _parse(variable: Variable, raw: str) -> object:
    try:
        return variable.parse(raw)
    except ValueError as error:
        shown = "" if variable.secret else f", but is {raw[:80]!r}"
        raise ConfigError(f"{variable.name} {error}{shown}.") from None


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for binding in parse_stream(stream):
                if binding.error:
                    line = binding.original.line
                    raise ConfigError(f"Line {line} of {path} is no NAME=value line.")
                if binding.key is not None and binding.value is not None:
                    found[binding.key] = binding.value
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {reason}.") from error
    return found


def _check_together(values: Mapping[str, Any]) -> None:
    if values["port"] == values["rtmp_port"]:
        raise ConfigError(f"PORT and RTMP_PORT must differ, but both are {values['port']}.")
    if len(values["jwt_secret"]) < MIN_SECRET_LENGTH:
        raise ConfigError(f"JWT_SECRET must have at least {MIN_SECRET_LENGTH} characters.")


def _check_production(values: Mapping[str, Any]) -> None:
    """Nothing that production stands on may be made up, embedded, or played by the sandbox."""
    names = {variable.field: variable.name for variable in VARIABLES}
    for field in (*_EMBEDDED, *_GENERATED, *_PAYMENT):
        if not values[field]:
            raise ConfigError(f"{names[field]} must be set when APP_ENV is production.")
    for field in ("jwt_secret", "hyperswitch_webhook_secret"):
        value = values[field]
        if len(value) < MIN_SECRET_LENGTH:
            raise ConfigError(f"{names[field]} must have at least {MIN_SECRET_LENGTH} characters in production.")
        # Eight different characters: below that a 32-character secret is a pattern, not a secret.
        if len(set(value)) < 8 or any(word in value.lower() for word in _WEAK_WORDS):
            raise ConfigError(f"{names[field]} is a placeholder; make one with 'openssl rand -hex 32'.")


def masked(settings: Settings) -> list[tuple[str, str, Origin]]:
    """`(variable, value as shown to a person, origin)` for each setting; secrets are stars."""
    return [
        (variable.name, _shown(variable, getattr(settings, variable.field)), settings.origin(variable.field))
        for variable in VARIABLES
    ]


def _shown(variable: Variable, value: object) -> str:
    if variable.field in (*_EMBEDDED, *_PAYMENT) and not value:
        return "(started inside VEZA_DATA_DIR)" if variable.field in _EMBEDDED else "(the payment sandbox)"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if variable.secret and isinstance(value, str) and value:
        parts = urlsplit(value)
        if parts.scheme and parts.password and parts.hostname is not None:
            return value.replace(f":{parts.password}@", ":********@")
        return value if variable.field in ("database_url", "redis_url") else "********"
    return str(value)
