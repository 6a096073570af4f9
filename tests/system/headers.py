"""What every answer of the server carries, read from its raw bytes."""

import re

PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=()"
ALWAYS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": PERMISSIONS,
}
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def head_of(answer: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of the last answer in `answer`, which may follow interim ones. No header comes twice."""
    starts = [found.start() for found in re.finditer(rb"HTTP/1\.1 \d{3} ", answer)]
    assert starts, answer[:200]
    head = answer[starts[-1] :].partition(b"\r\n\r\n")[0].decode()
    first, *lines = head.split("\r\n")
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    names = [name for name, _ in pairs if name != "set-cookie"]
    assert len(set(names)) == len(names), f"a header comes twice: {names}"
    return int(first.split(" ")[1]), dict(pairs)


def check_headers(answer: bytes, status: int, *, origin: str | None = None, production: bool = False) -> dict[str, str]:
    """The headers of an answer with that status, after a look at those that each must have. `origin` is the one that
    asked, when it is on the list and the server came to read it.
    """
    found, headers = head_of(answer)
    assert found == status, answer[:500]
    assert ALWAYS.items() <= headers.items(), headers
    assert "Origin" in headers["vary"].split(", ")
    policy = headers["content-security-policy"]
    assert "default-src" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert REQUEST_ID.fullmatch(headers["x-request-id"])
    assert ("strict-transport-security" in headers) == production
    assert headers.get("access-control-allow-origin") == origin
    assert (headers.get("access-control-allow-credentials") == "true") == (origin is not None)
    # Neither what runs here nor which version.
    assert not headers.keys() & {"server", "x-powered-by", "via", "alt-svc"}
    return headers
