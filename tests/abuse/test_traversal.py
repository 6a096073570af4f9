"""Paths that lead out of where they begin."""

import itertools

import pytest
from system.people import Person
from system.running import Running

from abuse.wire import Answer, ask, head

UP = (
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "..;",
    "..%00",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%uff0e%uff0e",
    "....",
    "\u2025",
    "..\\",
)
SLASH = ("/", "%2f", "%252f", "\\", "%5c", "%c0%af", "//")
# What is near: a file of the package, its source, the secrets, a file of the system.
WANTED = ("app.py", "static/swagger/index.html", "data/secrets.json", "etc/passwd", "proc/self/environ")
LEAKS = (b"root:", b"jwt_secret", b"import ", b"PATH=", b"def ")
ODD = (
    "/sdk/",
    "/sdk",
    "/sdk//veza.js",
    "/sdk/./veza.js",
    "/sdk/veza.js%00.txt",
    "/sdk/VEZA.JS",
    "/sdk/.",
    "/sdk/%2e",
    "/swagger//index.html",
    "/swagger/.git/config",
    "/swagger/~root",
    "/.env",
    "/.git/HEAD",
    "//etc/passwd",
    "/%2f%2fetc/passwd",
    "/..",
    "/.",
    "*",
    "etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/etc/passwd",
    "http://[::1",
    "http://",
    "?",
    ":",
    "/sdk/C:\\windows\\win.ini",
    "/sdk/veza.js::$DATA",
    "/sdk/veza.js?file=../../../../etc/passwd",
)


def check_nothing(answer: Answer, path: str) -> None:
    assert answer.status in (400, 404, 405), f"{path}: {answer}"
    assert answer.header("content-type") == "application/json"
    assert not any(leak in answer.body for leak in LEAKS), f"{path}: {answer}"


def ways(up: str) -> list[str]:
    depths = (1, 2, 3, 6)
    return [(up + slash) * depth + wanted for slash, depth, wanted in itertools.product(SLASH, depths, WANTED)]


@pytest.mark.parametrize("up", UP)
async def test_no_way_up(system: Running, up: str) -> None:
    for way in ways(up):
        for base in ("/sdk/", "/swagger/"):
            check_nothing(await ask(system, head("GET", base + way)), base + way)


async def test_odd_addresses(system: Running) -> None:
    for path in ODD:
        answer = await ask(system, head("GET", path))
        if path.endswith("../etc/passwd") and "?" in path:
            assert (answer.status, answer.header("content-type")) == (200, "text/javascript; charset=utf-8")
        else:
            check_nothing(answer, path)


async def test_no_attachment_by_a_path(system: Running, ada: Person) -> None:
    """Neither in the address, nor by the name that a file is given."""
    room_id = await ada.room()
    base = f"/api/v1/conversations/{room_id}/attachments/"
    token = f"Authorization: Bearer {ada.token}"
    for up in UP:
        for way in ways(up)[:: len(WANTED)]:
            check_nothing(await ask(system, head("GET", base + way, token)), way)
    for name in (
        "../../secrets.json",
        "..\\..\\secrets.json",
        "/etc/passwd",
        "..",
        ".",
        "\u202egpj.exe",
        "con",
        "a/\0b",
    ):
        files = {"file": (name, b"harmless text")}
        found = await ada.call("POST", f"conversations/{room_id}/attachments", files=files)
        assert not {*"/\\\0\u202e"} & {*found["name"]}
        assert found["name"].strip(".")
        answer = await ada.ask("GET", f"conversations/{room_id}/attachments/{found['id']}")
        assert answer.content == b"harmless text"
    assert "jwt_secret" in (system.data_dir / "secrets.json").read_text()
