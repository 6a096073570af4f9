"""Parsers of one setting's text. Each raises ValueError with what the value must be."""

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

from veza.config.renditions import MAX_HEIGHT, MAX_KBPS, MAX_RENDITIONS, MIN_HEIGHT, MIN_KBPS, Rendition


def text(value: str) -> str:
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,12}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = float("nan")
        if not low <= found <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return found

    return parse


def choice(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return parse


def flag(value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def rate(value: str) -> Decimal:
    try:
        found = Decimal(value)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found < 1:
        raise ValueError("must be a share from 0 up to but not including 1, such as 0.10")
    return found


def url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("must be a URL with a valid host and port") from None
        if parts.scheme not in schemes or not (parts.netloc or parts.path.strip("/") or parts.query):
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
        return value.rstrip("/")

    return parse


def bucket(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError("must be 3 to 63 lower-case letters, digits, dots and hyphens")
    return value


def host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", value):
            raise ValueError("must be an address to listen on, such as 127.0.0.1 or 0.0.0.0") from None
    return value


def domain(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:\d{1,5})?", value):
        raise ValueError("must be a bare domain, such as veza.example.org")
    return value.lower()


def networks(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in _parts(value))
    except ValueError:
        raise ValueError("must be addresses or networks separated by commas, such as 10.0.0.0/8") from None


def web_origins(value: str) -> tuple[str, ...]:
    for part in _parts(value):
        if part == "*":
            raise ValueError("must name each origin: '*' would hand every site the users' credentials")
        if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", part):
            raise ValueError("must be origins separated by commas, such as https://veza.example.org")
    return tuple(part.lower() for part in _parts(value))


def contact(value: str) -> str:
    """An address of a person or a page, as RFC 9116 wants it."""
    if "@" in value and ":" not in value:
        value = f"mailto:{value}"
    if not re.fullmatch(r"(mailto:[^\s@]+@[^\s@]+|https://[^\s/]+\S*|tel:\+?[\d-]+)", value):
        raise ValueError("must be an e-mail address, or a mailto:, https: or tel: URI")
    return value


def renditions(value: str) -> tuple[Rendition, ...]:
    """Heights and bit rates, such as `720:2500k,480:1000k`; the largest comes first."""
    found: dict[int, Rendition] = {}
    parts = _parts(value)
    if len(parts) > MAX_RENDITIONS:
        raise ValueError(f"must be at most {MAX_RENDITIONS} renditions")
    for part in parts:
        numbers = re.fullmatch(r"([0-9]{1,5})\s*:\s*([0-9]{1,6})k", part)
        if numbers is None:
            raise ValueError("must be heights and bit rates separated by commas, such as 720:2500k,480:1000k")
        height, kbps = int(numbers[1]), int(numbers[2])
        if not MIN_HEIGHT <= height <= MAX_HEIGHT:
            raise ValueError(f"must have heights from {MIN_HEIGHT} to {MAX_HEIGHT}")
        if not MIN_KBPS <= kbps <= MAX_KBPS:
            raise ValueError(f"must have bit rates from {MIN_KBPS}k to {MAX_KBPS}k")
        if height in found:
            raise ValueError("must have each height once")
        found[height] = Rendition(height, kbps * 1000)
    return tuple(found[height] for height in sorted(found, reverse=True))


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def directory(value: str) -> Path:
    return Path(value).expanduser().absolute()
