"""The kinds of files that may be uploaded: one table, for every route that takes files and for whoever asks."""

import enum
from collections.abc import Mapping

import msgspec

MIB = 1024 * 1024
GIB = 1024 * MIB


class FileKind(enum.StrEnum):
    AUDIO = "audio"
    IMAGE = "image"
    DOCUMENT = "document"
    CLOUD = "cloud"


class KindLimits(msgspec.Struct, frozen=True):
    """What a kind takes. Without `mime_types` it takes every type. `max_bytes` is of one request; a file of up to
    `max_bytes_in_parts` may come in several. `quota_bytes` is what one user may keep.
    """

    max_bytes: int
    mime_types: tuple[str, ...]
    extensions: tuple[str, ...]
    max_bytes_in_parts: int | None = None
    quota_bytes: int | None = None


# By the ending of a name: the media type as a file's own content tells it (`uploads.type_of`).
_AUDIO = {
    "mp3": "audio/mpeg",
    "flac": "audio/x-flac",
    "wav": "audio/x-wav",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "aif": "audio/x-aiff",
    "aiff": "audio/x-aiff",
    "m4a": "audio/mp4",
}
_IMAGE = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
}
_DOCUMENT = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/plain",
    "csv": "text/plain",
    "rtf": "application/rtf",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}
TYPE_OF_EXTENSION: Mapping[str, str] = {**_AUDIO, **_IMAGE, **_DOCUMENT}

# What else clients call the same types.
_ALIASES = {
    "audio/mp3": "audio/mpeg",
    "audio/flac": "audio/x-flac",
    "audio/wav": "audio/x-wav",
    "audio/wave": "audio/x-wav",
    "audio/vnd.wave": "audio/x-wav",
    "application/ogg": "audio/ogg",
    "audio/vorbis": "audio/ogg",
    "audio/opus": "audio/ogg",
    "audio/aiff": "audio/x-aiff",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "image/jpg": "image/jpeg",
    "application/x-pdf": "application/pdf",
    "text/rtf": "application/rtf",
    "text/markdown": "text/plain",
    "text/x-markdown": "text/plain",
    "text/csv": "text/plain",
}


def _limits(max_bytes: int, types: Mapping[str, str]) -> KindLimits:
    return KindLimits(max_bytes, tuple(dict.fromkeys(types.values())), tuple(types))


KINDS: Mapping[FileKind, KindLimits] = {
    FileKind.AUDIO: _limits(200 * MIB, _AUDIO),
    FileKind.IMAGE: _limits(10 * MIB, _IMAGE),
    FileKind.DOCUMENT: _limits(25 * MIB, _DOCUMENT),
    FileKind.CLOUD: KindLimits(500 * MIB, (), (), max_bytes_in_parts=5 * GIB, quota_bytes=5 * GIB),
}
# Bytes that an attachment of a message may have: any type goes, and what is neither audio nor image is a document.
ATTACHMENT_LIMITS: Mapping[FileKind, int] = {
    kind: KINDS[kind].max_bytes for kind in (FileKind.AUDIO, FileKind.IMAGE, FileKind.DOCUMENT)
}


# What products deliver: also packs of samples, as one archive.
ARCHIVES = frozenset({"application/zip"})
GOODS_LIMITS: Mapping[FileKind, int] = {**ATTACHMENT_LIMITS, FileKind.CLOUD: KINDS[FileKind.CLOUD].max_bytes}
COVER_LIMITS: Mapping[FileKind, int] = {FileKind.IMAGE: KINDS[FileKind.IMAGE].max_bytes}


def kind_of(mime_type: str) -> FileKind:
    """The kind that decides how large a file of this type may be, where every type goes."""
    area = mime_type.partition("/")[0]
    return FileKind(area) if area in ("audio", "image") else FileKind.DOCUMENT


def goods_kind_of(mime_type: str) -> FileKind:
    """The same, for what products deliver."""
    return FileKind.CLOUD if mime_type in ARCHIVES else kind_of(mime_type)


def listed_kind_of(mime_type: str) -> FileKind | None:
    """The kind that lists this type; None for what none does."""
    return next((kind for kind, limits in KINDS.items() if mime_type in limits.mime_types), None)


def canonical(mime_type: str) -> str:
    """The one name we use for a media type, without its parameters."""
    plain = mime_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a file could be uploaded, as far as its name and type tell. `detected` is its media type, `reason` why
    not.
    """

    valid: bool
    detected: str | None = None
    reason: str | None = None


def judge(file_name: str | None, mime_type: str | None, kind: FileKind | None) -> Verdict:
    """What can be said before the content is there, whose own bytes decide. Without a `kind` any will do."""
    by_name = TYPE_OF_EXTENSION.get(_ending(file_name)) if file_name else None
    by_type = canonical(mime_type) if mime_type else None
    # What a browser says of a file it does not know says nothing.
    if by_type == "application/octet-stream":
        by_type = by_name or by_type
    detected = by_name or by_type
    if by_name and by_type and by_name != by_type:
        return Verdict(False, detected, f"The name is that of {by_name}, but the type is {by_type}.")
    if kind is FileKind.CLOUD:
        return Verdict(True, detected)
    if detected is None:
        return Verdict(False, None, "The name does not tell a type that can be uploaded.")
    fitting = [each for each, limits in KINDS.items() if detected in limits.mime_types]
    if kind is None:
        return Verdict(True, detected) if fitting else Verdict(False, detected, f"{detected} goes to the cloud only.")
    return Verdict(True, detected) if kind in fitting else Verdict(False, detected, f"{detected} is no {kind.value}.")


def _ending(file_name: str) -> str:
    return file_name.rpartition(".")[2].lower() if "." in file_name else ""
