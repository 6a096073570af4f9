"""Boxes of fragmented MP4: what starts a stream (`init_segment`) and what goes on with it (`fragment`).

ISO/IEC 14496-12 (ISO base media file format), whose clauses are named at the boxes; the shape of a segment as RFC
8216bis, section 3.1.2 wants it. A fragment is made by some `struct.pack` and one join: the frames are copied once.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from veza.realtime.hls.codecs import Track, box, full_box

Data = bytes | memoryview

# The ids of tracks in every stream of ours.
VIDEO_ID = 1
AUDIO_ID = 2

# Sample flags (8.8.3.1): a frame that needs no other, and one that does and is no place to begin.
SYNC = 0x02000000
NOT_SYNC = 0x01010000

_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
# 8.8.8: data offset, and for each sample duration and size; for pictures flags and composition offset as well.
_TRUN_AUDIO = 0x000301
_TRUN_VIDEO = 0x000F01
# 8.8.7: data offsets count from the start of the moof box.
_BASE_IS_MOOF = 0x020000
_U32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one track that follow one another. `flags` and `offsets` are there for video only."""

    track_id: int
    start: int
    durations: Sequence[int]
    data: Sequence[Data]
    flags: Sequence[int] = ()
    offsets: Sequence[int] = ()


def init_segment(tracks: Sequence[tuple[int, Track]]) -> bytes:
    """ftyp and moov without samples (4.3, 8.2.1); tracks come with their ids."""
    brands = b"".join((b"iso5", b"iso6", b"mp41"))
    if any(track.codec.startswith("av01") for _, track in tracks):
        brands += b"av01"  # AV1 in ISOBMFF, section 2.1
    ftyp = box(b"ftyp", b"iso6", struct.pack(">I", 1), brands)
    # 8.2.2: times 0, timescale 1000, length unknown, normal rate and volume.
    head = struct.pack(">4IIH10x", 0, 0, 1000, 0, 0x10000, 0x0100)
    mvhd = full_box(b"mvhd", 0, 0, head, _UNITY, struct.pack(">24xI", AUDIO_ID + 1))
    mvex = box(b"mvex", *(_trex(track_id, track) for track_id, track in tracks))
    return ftyp + box(b"moov", mvhd, *(_trak(track_id, track) for track_id, track in tracks), mvex)


def fragment(number: int, runs: Sequence[Run], *, first: bool) -> bytes:
    """One moof and its mdat (8.8.4, 8.1.1), after a styp when it is the first of a segment (8.16.2)."""
    sizes = [list(map(len, run.data)) for run in runs]
    tables = [_table(run, size) for run, size in zip(runs, sizes, strict=True)]
    # moof and mfhd, and for each traf: its header, tfhd, tfdt, and trun with its count and offset.
    moof_size = 24 + sum(64 + len(table) for table in tables)
    pieces = [_STYP] if first else []
    pieces.append(struct.pack(">I4sI4sII", moof_size, b"moof", 16, b"mfhd", 0, number & _U32))
    offset = moof_size + 8
    for run, size, table in zip(runs, sizes, tables, strict=True):
        rows = len(table)
        video = bool(run.flags)
        pieces.append(
            _TRAF.pack(
                *(64 + rows, b"traf"),
                *(16, b"tfhd", _BASE_IS_MOOF, run.track_id),
                *(20, b"tfdt", 0x01000000, run.start),
                *(20 + rows, b"trun", 0x01000000 | (_TRUN_VIDEO if video else _TRUN_AUDIO), len(size), offset),
            )
        )
        pieces.append(table)
        offset += sum(size)
    pieces.append(struct.pack(">I4s", offset - moof_size, b"mdat"))
    return b"".join(chain(pieces, *(run.data for run in runs)))


_STYP = box(b"styp", b"msdh", struct.pack(">I", 0), b"msdh", b"iso6")
# 8.8.6 traf, 8.8.7 tfhd, 8.8.12 tfdt (version 1), 8.8.8 trun (version 1: composition offsets may be negative).
_TRAF = struct.Struct(">I4s I4sII I4sIQ I4sIII")


def _table(run: Run, sizes: list[int]) -> bytes:
    width = 4 if run.flags else 2
    rows = [0] * (width * len(sizes))
    rows[0::width] = run.durations
    rows[1::width] = sizes
    if run.flags:
        rows[2::width] = run.flags
        rows[3::width] = [offset & _U32 for offset in run.offsets]
    return struct.pack(f">{len(rows)}I", *rows)


def _trak(track_id: int, track: Track) -> bytes:
    volume = 0 if track.is_video else 0x0100
    # 8.3.2, flags: enabled, in the presentation.
    tkhd = full_box(
        b"tkhd",
        0,
        3,
        struct.pack(">5I8xHHHH", 0, 0, track_id, 0, 0, 0, 0, volume, 0),
        _UNITY,
        struct.pack(">II", track.width << 16, track.height << 16),
    )
    # 8.4.2: language "und".
    mdhd = full_box(b"mdhd", 0, 0, struct.pack(">4IHH", 0, 0, track.timescale, 0, 0x55C4, 0))
    # 8.4.3
    kind, name = (b"vide", b"video\0") if track.is_video else (b"soun", b"sound\0")
    hdlr = full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, kind), name)
    # 12.1.2, 12.2.2
    header = full_box(b"vmhd", 0, 1, bytes(8)) if track.is_video else full_box(b"smhd", 0, 0, bytes(4))
    # 8.7.2: the data is in this file.
    dinf = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    # 8.5.2 and the empty tables of 8.6.1.2, 8.7.4, 8.7.3, 8.7.5
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), track.entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", header, dinf, stbl)))


def _trex(track_id: int, track: Track) -> bytes:
    """8.8.3: what a sample is when its fragment does not say."""
    return full_box(b"trex", 0, 0, struct.pack(">5I", track_id, 1, 0, 0, NOT_SYNC if track.is_video else SYNC))
