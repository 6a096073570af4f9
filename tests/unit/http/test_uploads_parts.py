"""What uploads and downloads are made of, without a server: forms in pieces, types, names, ranges."""

import gzip
import io
import struct
import wave
import zlib
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import InvalidArgument
from veza.http.downloads import disposition, read_range
from veza.http.errors import RangeNotSatisfiable, UnsupportedMediaType
from veza.http.file_kinds import FileKind, kind_of
from veza.http.multipart import FormReader, Part
from veza.http.uploads import clean_name, type_of

BOUNDARY = "----limit"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """The bytes of a form of (name, file name, data)."""
    written = b""
    for name, file_name, data in parts:
        suffix = "" if file_name is None else f'; filename="{file_name}"'
        written += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{suffix}\r\n\r\n'.encode()
        written += data + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def read(body: bytes, sizes: list[int]) -> tuple[list[tuple[Part, bytes]], bool]:
    """The parts of a form that comes in pieces of these sizes, the last one repeated."""
    reader = FormReader(f"multipart/form-data; boundary={BOUNDARY}")
    found: list[tuple[Part, bytes]] = []
    start = 0
    while start < len(body):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        for event in reader.feed(body[start : start + size]):
            if isinstance(event, Part):
                found.append((event, b""))
            else:
                head, data = found.pop()
                found.append((head, data + event))
        start += size
    return found, reader.complete


# What looks like a boundary, and what begins like one, is data as well.
CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode(), b"\0", b"data"])
    | st.binary(max_size=40)
).map(b"".join)


@given(st.lists(CONTENT.filter(lambda c: f"--{BOUNDARY}".encode() not in c), min_size=1, max_size=4), st.data())
def test_a_form_is_the_same_however_it_is_cut(contents: list[bytes], data: st.DataObject) -> None:
    parts = [(f"p{n}", "näme.bin" if n % 2 else None, content) for n, content in enumerate(contents)]
    body = form(*parts)
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=30))
    found, complete = read(body, sizes)
    assert complete
    assert [(head.name, head.file_name, content) for head, content in found] == parts


@given(st.integers(1, 200))
def test_a_form_that_breaks_off_is_not_complete(cut: int) -> None:
    body = form(("file", "a", b"x" * 100))
    assert not read(body[: -(cut + 3)] or b"-", [7])[1]


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        b"--other\r\n\r\n",
        f"--{BOUNDARY}\r\n\r\ndata".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\ndata".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition: attachment; name=file\r\n\r\ndata".encode(),
        f"--{BOUNDARY}\r\nX: {'y' * 100_000}\r\n\r\ndata".encode(),
        f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 1000,
    ],
)
def test_what_is_no_form_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read(body, [1000])


@pytest.mark.parametrize("content_type", [None, "", "application/json", "multipart/mixed; boundary=x", "text/plain"])
def test_another_media_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        FormReader(content_type)


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 5000}"])
def test_a_form_needs_a_boundary(boundary: str) -> None:
    with pytest.raises(InvalidArgument):
        FormReader(f"multipart/form-data{boundary}")


def test_a_name_in_the_forbidden_form_is_understood() -> None:
    head = "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''na%C3%AFve.txt"
    body = f"--{BOUNDARY}\r\n{head}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode()
    assert read(body, [1000])[0] == [(Part("file", "naïve.txt"), b"x")]


# -- types -------------------------------------------------------------------------------------------------------


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b"")
    )


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"\0\0" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected", "kind"),
    [
        (png(), "image/png", FileKind.IMAGE),
        (wav(), "audio/x-wav", FileKind.AUDIO),
        (b"%PDF-1.7\n", "application/pdf", FileKind.DOCUMENT),
        (gzip.compress(b"x"), "application/gzip", FileKind.DOCUMENT),
        ("Grüße,\tWelt 👩‍🎤\r\n".encode(), "text/plain", FileKind.DOCUMENT),
        (b"<script>alert(1)</script>", "text/plain", FileKind.DOCUMENT),
        # A character that stands across the end of what is looked at.
        (("x" + "é" * 5000).encode(), "text/plain", FileKind.DOCUMENT),
        (b"\0\x01\x02\x03", "application/octet-stream", FileKind.DOCUMENT),
        (b"\xc3", "application/octet-stream", FileKind.DOCUMENT),
    ],
)
def test_a_type_is_told_by_the_content(content: bytes, expected: str, kind: FileKind) -> None:
    assert type_of(content) == expected
    assert kind_of(expected) is kind


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        (None, "file"),
        ("", "file"),
        ("..", "file"),
        ("a/../../etc/passwd", "passwd"),
        ("C:\\music\\take 1.wav", "take 1.wav"),
        ("/", "file"),
        (" x.txt ", "x.txt"),
        ("a\0b\r\nc\x7f.txt", "abc.txt"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("Ame\u0301lie.flac", "Amélie.flac"),
        (".profile", ".profile"),
        ("x" * 300 + ".flac", "x" * 250 + ".flac"),
        ("x" * 300, "x" * 255),
        ("." + "x" * 300, "." + "x" * 254),
    ],
)
def test_a_name_is_cleaned(given_name: str | None, kept: str) -> None:
    assert clean_name(given_name) == kept


@given(st.text())
def test_any_name_can_be_kept_and_sent(given_name: str) -> None:
    name = clean_name(given_name)
    assert 1 <= len(name) <= 255
    assert name.isprintable()
    assert "/" not in name
    assert "\\" not in name
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
    del message["Content-Disposition"]
    message["Content-Disposition"] = header.replace(header[header.index("filename=") : header.index("filename*")], "")
    assert message.get_filename() == name


# -- ranges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 0)),
        ("bytes=2-", (2, 9)),
        ("bytes=2-100", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-30", (0, 9)),
        (" Bytes = 1 - 2 ", (1, 2)),
        # What is no range, or more than one, asks for nothing that we do: the whole is sent.
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=--1", None),
        ("bytes=٣-٤", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert read_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0", f"bytes={10**18}-"])
def test_ranges_outside_of_the_content(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        read_range(header, 10)
    assert caught.value.args[1] == 10
