"""The table of kinds of files, and what is said about a file before it is uploaded."""

import filetype
import pytest

from veza.http.file_kinds import (
    ATTACHMENT_LIMITS,
    GIB,
    KINDS,
    MIB,
    TYPE_OF_EXTENSION,
    FileKind,
    canonical,
    judge,
)


def test_sizes() -> None:
    assert {kind: limits.max_bytes // MIB for kind, limits in KINDS.items()} == {
        FileKind.AUDIO: 200,
        FileKind.IMAGE: 10,
        FileKind.DOCUMENT: 25,
        FileKind.CLOUD: 500,
    }
    assert KINDS[FileKind.CLOUD].max_bytes_in_parts == 5 * GIB
    assert FileKind.CLOUD not in ATTACHMENT_LIMITS


def test_types_are_named_as_the_content_tells_them() -> None:
    told = {kind.mime for kind in filetype.types} | {"text/plain"}
    assert set(TYPE_OF_EXTENSION.values()) <= told
    for limits in KINDS.values():
        assert set(limits.mime_types) == {TYPE_OF_EXTENSION[ending] for ending in limits.extensions}


@pytest.mark.parametrize(
    ("name", "mime", "kind", "detected"),
    [
        ("aria.mp3", None, "audio", "audio/mpeg"),
        ("ARIA.FLAC", "audio/flac", "audio", "audio/x-flac"),
        ("take 1.2.wav", "audio/wav; codecs=1", None, "audio/x-wav"),
        (None, "Audio/MP3", "audio", "audio/mpeg"),
        ("cover.jpeg", "image/jpg", "image", "image/jpeg"),
        ("invoice.pdf", "application/octet-stream", "document", "application/pdf"),
        ("notes.md", "text/markdown", "document", "text/plain"),
        ("stems.zip", "application/zip", "cloud", "application/zip"),
        ("no-ending", None, "cloud", None),
    ],
)
def test_fits(name: str | None, mime: str | None, kind: str | None, detected: str | None) -> None:
    verdict = judge(name, mime, FileKind(kind) if kind else None)
    assert (verdict.valid, verdict.detected, verdict.reason) == (True, detected, None)


@pytest.mark.parametrize(
    ("name", "mime", "kind", "reason"),
    [
        ("aria.mp3", "image/png", None, "audio/mpeg"),
        ("aria.mp3", "image/png", "cloud", "audio/mpeg"),
        ("aria.mp3", None, "image", "no image"),
        ("setup.exe", "application/x-msdownload", None, "cloud only"),
        ("setup.exe", None, None, "does not tell"),
        ("setup.exe", "application/octet-stream", "audio", "no audio"),
        ("mp3", None, "audio", "does not tell"),
        ("aria.mp3.exe", None, "audio", "does not tell"),
    ],
)
def test_does_not_fit(name: str | None, mime: str | None, kind: str | None, reason: str) -> None:
    verdict = judge(name, mime, FileKind(kind) if kind else None)
    assert not verdict.valid
    assert reason in (verdict.reason or "")


def test_one_name_a_type() -> None:
    assert canonical(" Audio/X-M4A ; a=b") == "audio/mp4"
    assert canonical("video/mp4") == "video/mp4"
