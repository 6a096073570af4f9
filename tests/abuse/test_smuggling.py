"""Requests that two servers in a row could read differently, and client values that come back in a header."""

import pytest
from system.people import Person
from system.running import ALLOWED_ORIGIN, Running

from abuse.wire import Answer, ask, exchange, head

# A second request, hidden in the first: it must never be answered.
HIDDEN = b"GET /api/v1/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = "Content-Type: application/json"
SIZE = f"Content-Length: {len(HIDDEN)}"
AMBIGUOUS = {
    "a length and chunks": [SIZE, "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", SIZE],
    "two lengths": ["Content-Length: 0", SIZE],
    "two lengths in one": [f"Content-Length: 0, {len(HIDDEN)}"],
    "a signed length": [f"Content-Length: +{len(HIDDEN)}"],
    "a length with an underscore": ["Content-Length: 4_1"],
    "a negative length": ["Content-Length: -1"],
    "a length in other digits": ["Content-Length: ٤١"],
    "an unknown encoding": ["Transfer-Encoding: xchunked"],
    "two encodings": ["Transfer-Encoding: chunked, identity"],
    "a space before the colon": [f"Content-Length : {len(HIDDEN)}"],
    "a tab before the colon": ["Transfer-Encoding\t: chunked"],
    "a folded line": ["X-Before: 1\r\n Transfer-Encoding: chunked"],
    "a bare LF": ["X-Before: 1\nTransfer-Encoding: chunked"],
    "a bare CR": ["X-Before: 1\rTransfer-Encoding: chunked"],
    "a NUL": ["X-Before: 1\0", SIZE],
    "a header without a name": [": 1", SIZE],
    "a vertical tab": ["Transfer-Encoding:\x0bchunked", SIZE],
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_request_is_400_and_nothing_behind_it_is_read(system: Running, name: str) -> None:
    sent = head("POST", "/api/v1/validate", JSON, *AMBIGUOUS[name]).replace(b"Connection: close\r\n", b"")
    answers = await exchange(system, sent + HIDDEN)
    assert [answer.status for answer in answers] == [400]
    assert b"hidden" not in answers[0].body


BAD_CHUNKS = {
    "a size with a sign": b"+5\r\n",
    "a size with a prefix": b"0x5\r\n",
    "a size with an underscore": b"0_5\r\n",
    "a size that is negative": b"-5\r\n",
    "no size": b"\r\n",
    "too large a size": b"f" * 32 + b"\r\n",
    "a size in other digits": "\u0665\r\n".encode(),
    "a size without end": b"0" * 100_000,
    "more than its size": b"3\r\n",
    "less than its size": b"6\r\n",
    "no line's end": b"1\r\nhello2\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_bad_chunks(system: Running, name: str) -> None:
    sent = head("POST", "/api/v1/validate", JSON, "Transfer-Encoding: chunked").replace(b"Connection: close\r\n", b"")
    answers = await exchange(system, sent + BAD_CHUNKS[name] + b"hello\r\n0\r\n\r\n" + HIDDEN)
    assert [answer.status for answer in answers] in ([400], [413])
    assert b"hidden" not in answers[0].body


# -- into headers ----------------------------------------------------------------------------------------------

EVIL = b"X-Evil: 1"
BREAKS = {
    "CR LF": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "a folded line": b"\r\n ",
    "encoded": b"%0d%0a",
    "encoded LF": b"%0a",
    "twice encoded": b"%250d%250a",
    "letters that end in CR and LF": "\u560d\u560a".encode(),
    "a line separator": "\u2028".encode(),
    "next line": "\x85".encode(),
}
# Where a client's value could come back: in X-Request-ID, the CORS headers, the 101, a cookie, an error.
REFLECTED = {
    "X-Request-ID": b"X-Request-ID: mine%s",
    "Origin": b"Origin: " + ALLOWED_ORIGIN.encode() + b"%s",
    "the method of a preflight": b"Access-Control-Request-Method: POST%s",
    "a range": b"Range: bytes=0-1%s",
    "a cookie": b"Cookie: csrf_token=a%s; veza_refresh=b%s",
    "the scheme of a credential": b"Authorization: Bearer%s x",
    "a forwarded address": b"X-Forwarded-For: 10.9.9.9%s",
    "a forwarded scheme": b"X-Forwarded-Proto: https%s",
    "privacy": b"Sec-GPC: 1%s",
    "a validator": b'If-None-Match: "x"%s',
}


def check_clean(answer: Answer) -> None:
    for name, value in answer.headers:
        assert b"evil" not in name
        assert b"Evil" not in value, answer
        assert not {*b"\r\n\0"} & {*value}


@pytest.mark.parametrize("place", REFLECTED)
async def test_no_header_breaks_into_an_answer(system: Running, place: str) -> None:
    for method, target in (("GET", "/api/v1/csrf-token"), ("OPTIONS", "/api/v1/validate"), ("GET", "/nowhere")):
        for between in BREAKS.values():
            line = REFLECTED[place].replace(b"%s", between + EVIL)
            check_clean(await ask(system, head(method, target, line)))


@pytest.mark.parametrize(
    "target", ["/health%s", "/%s", "/api/v1/validate?x=%s", "/sdk/%s", "/swagger%s", "/ws?token=%s"]
)
async def test_no_address_breaks_into_an_answer(system: Running, target: str) -> None:
    before, _, behind = target.partition("%s")
    for between in BREAKS.values():
        for answer in await exchange(system, head("GET", before.encode() + between + EVIL + behind.encode())):
            check_clean(answer)


async def test_no_upgrade_breaks_into_an_answer(system: Running) -> None:
    usual = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    for between in BREAKS.values():
        for line in (b"Sec-WebSocket-Key: x%s", b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: veza.v1%s"):
            lines = [*usual, line.replace(b"%s", between + EVIL), "Origin: https://evil.example"]
            check_clean(await ask(system, head("GET", "/ws", *lines)))


async def test_no_file_name_breaks_into_an_answer(system: Running, ada: Person) -> None:
    room_id = await ada.room()
    path = f"/api/v1/conversations/{room_id}/attachments"
    token = f"Authorization: Bearer {ada.token}"
    names = [b'filename="a%s.txt"', b"filename*=UTF-8''a%s.txt", b'filename="a\\"%s"', b"filename=a%s"]
    for name in names:
        for between in BREAKS.values():
            disposition = b"Content-Disposition: form-data; name=file; " + name.replace(b"%s", between + EVIL)
            form = b"--b\r\n" + disposition + b"\r\nContent-Type: text/html\r\n\r\nsome text\r\n--b--\r\n"
            lines = [token, "Content-Type: multipart/form-data; boundary=b", f"Content-Length: {len(form)}"]
            uploaded = await ask(system, head("POST", path, *lines) + form)
            assert uploaded.status in (201, 400), uploaded
            check_clean(uploaded)
            if uploaded.status == 201:
                found = uploaded.body.partition(b'"id":"')[2][:36].decode()
                got = await ask(system, head("GET", f"{path}/{found}", token))
                assert (got.status, got.body) == (200, b"some text")
                assert {name for name, _ in got.headers}.isdisjoint({b"x-evil"})
                [shown] = [value for name, value in got.headers if name == b"content-disposition"]
                assert shown.startswith(b"attachment; ")
                assert not {*b"\r\n\0"} & {*shown}
