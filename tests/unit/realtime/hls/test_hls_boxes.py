"""What an encoder says of its codec is read, named and written as the standards want it."""

import struct

import pytest
from hls_world import (
    AAC_44100_STEREO,
    AAC_48000_STEREO,
    Writer,
    avcc,
    boxes,
    escaped,
    find,
    h264_sps,
    picture,
    samples,
    sound,
)
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.hls import codecs
from veza.realtime.hls.boxes import NOT_SYNC, SYNC, Run, fragment, init_segment
from veza.realtime.hls.codecs import BadCodecConfig, av1, h264, hevc, opus, opus_ticks

even = st.integers(8, 2048).map(lambda half: half * 2)


def hevc_sps(width: int, height: int, *, layers: int = 0) -> bytes:
    writer = Writer()
    writer.put(0, 4), writer.put(layers, 3), writer.put(1, 1)
    writer.put(0x0160000000B000000000005D, 96)
    for _ in range(layers):
        writer.put(3, 2)
    if layers:
        writer.put(0, 2 * (8 - layers))
    for _ in range(layers):
        writer.put(1, 88), writer.put(93, 8)
    writer.ue(0), writer.ue(1)
    coded = -(-width // 8) * 8, -(-height // 8) * 8
    writer.ue(coded[0]), writer.ue(coded[1]), writer.put(1, 1)
    writer.ue(0), writer.ue((coded[0] - width) // 2), writer.ue(0), writer.ue((coded[1] - height) // 2)
    return b"\x42\x01" + escaped(writer.done())


def hvcc(sps: bytes) -> bytes:
    head = bytes.fromhex("010160000000b0000000 0000 5d f000fcfdf8f800000f")
    vps = b"\x40\x01\x0c"
    arrays = [(0xA0, vps), (0xA1, sps)]
    return (
        head
        + bytes((len(arrays),))
        + b"".join(bytes((kind,)) + struct.pack(">HH", 1, len(unit)) + unit for kind, unit in arrays)
    )


@given(even, even, st.sampled_from([66, 77, 100]), st.sampled_from([0, 1, 2]), st.booleans())
def test_the_size_of_h264(width: int, height: int, profile: int, order: int, interlaced: bool) -> None:
    if interlaced:
        height = height // 4 * 4
    track = h264(avcc(h264_sps(width, height, profile=profile, order=order, interlaced=interlaced)))
    assert (track.width, track.height) == (width, height)
    assert track.codec == f"avc1.{profile:02x}001f"


@given(even, even, st.sampled_from([0, 1, 3]))
def test_the_size_of_hevc(width: int, height: int, layers: int) -> None:
    track = hevc(hvcc(hevc_sps(width, height, layers=layers)))
    assert (track.width, track.height) == (width, height)
    assert track.codec == "hvc1.1.6.L93.B0"


X264 = "0164001effe100196764001eacd940a02ff9610000030001000003003c0f162d9601000468ef8fcbfdf8f800"
X265 = (
    "0101600000009000000000003ff000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003003f9594092"
    "10001002a42010101600000030090000003000003003fa005020171f2e595952930b9a020000003002000000303c1220001000644"
    "01c073c189"
)
SVT_AV1 = "81010c000a0b0000000cc4ff6700be0010"


def test_what_real_encoders_say_of_a_picture_of_640_by_360() -> None:
    tracks = [h264(bytes.fromhex(X264)), hevc(bytes.fromhex(X265)), av1(bytes.fromhex(SVT_AV1), 640, 360)]
    assert [track.codec for track in tracks] == ["avc1.64001e", "hvc1.1.6.L63.90", "av01.0.01M.08"]
    assert {(track.width, track.height) for track in tracks} == {(640, 360)}


def test_av1() -> None:
    track = av1(bytes.fromhex("81084c000a0b0000002d4cffb3c0ff"[:8]), 1920, 1080)
    assert track.codec == "av01.0.08M.10"
    assert (track.width, track.height) == (1920, 1080)
    init = init_segment([(1, track)])
    assert b"av01" in find(init, "ftyp")


@pytest.mark.parametrize(
    ("config", "codec", "rate", "channels"),
    [
        ("1210", "mp4a.40.2", 44_100, 2),
        ("1190", "mp4a.40.2", 48_000, 2),
        ("1188", "mp4a.40.2", 48_000, 1),
        ("121056e500", "mp4a.40.2", 44_100, 2),
        ("2b92080000", "mp4a.40.5", 22_050, 2),
        ("eb8a0800", "mp4a.40.29", 22_050, 2),
        ("17800bb80810", "mp4a.40.2", 6000, 1),
    ],
)
def test_aac(config: str, codec: str, rate: int, channels: int) -> None:
    track = codecs.aac(bytes.fromhex(config))
    assert (track.codec, track.sample_rate, track.channels) == (codec, rate, channels)
    assert track.frame_ticks == 1024
    assert bytes.fromhex(config) in track.entry


def test_opus_is_written_in_the_other_byte_order() -> None:
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 2, 312, 44_100, -256, 0)
    track = opus(head)
    assert (track.codec, track.timescale, track.channels) == ("Opus", 48_000, 2)
    assert find(track.entry[36:], "dOps") == struct.pack(">BBHIhB", 0, 2, 312, 44_100, -256, 0)
    surround = struct.pack("<8sBBHIhB", b"OpusHead", 1, 6, 312, 48_000, 0, 1) + bytes((4, 2, 0, 4, 1, 2, 3, 5))
    assert find(opus(surround).entry[36:], "dOps").endswith(bytes((4, 2, 0, 4, 1, 2, 3, 5)))


@pytest.mark.parametrize(
    ("packet", "ticks"),
    [
        ("fc00", 960),
        ("f800", 960),
        ("e000", 120),
        ("0800", 960),
        ("6000", 480),
        ("ff0300", 2880),
        ("fd00", 1920),
        ("", 0),
    ],
)
def test_the_length_of_an_opus_packet(packet: str, ticks: int) -> None:
    assert opus_ticks(bytes.fromhex(packet)) == ticks


@pytest.mark.parametrize("read", [h264, hevc, codecs.aac, opus, lambda data: av1(data, 10, 10)])
@given(data=st.data())
def test_nonsense_is_refused_and_nothing_else_happens(read: object, data: st.DataObject) -> None:
    good = [
        avcc(h264_sps(640, 360)),
        hvcc(hevc_sps(640, 360)),
        AAC_44100_STEREO,
        b"OpusHead" + bytes(11),
        b"\x81" + bytes(9),
    ]
    given_bytes = data.draw(st.binary(max_size=64) | st.sampled_from(good).flatmap(damaged))
    try:
        read(given_bytes)  # type: ignore[operator]
    except BadCodecConfig as error:
        assert error.reason  # noqa: PT017 - it need not be raised


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    changed = st.builds(
        lambda at, byte: data[:at] + bytes((byte,)) + data[at + 1 :], st.integers(0, len(data) - 1), st.integers(0, 255)
    )
    return changed | st.integers(0, len(data)).map(lambda end: data[:end])


def test_an_endless_number_in_an_sps_is_refused() -> None:
    with pytest.raises(BadCodecConfig):
        h264(avcc(b"\x67\x42\x00\x1f" + bytes(200)))
    with pytest.raises(BadCodecConfig):
        h264(avcc(h264_sps(640, 360)) + bytes(20_000))


def test_the_start_of_a_stream() -> None:
    init = init_segment([(1, picture(1920, 1080)), (2, sound(AAC_48000_STEREO))])
    assert [kind for kind, _ in boxes(init)] == ["ftyp", "moov"]
    moov = find(init, "moov")
    assert [kind for kind, _ in boxes(moov)] == ["mvhd", "trak", "trak", "mvex"]
    assert len(find(moov, "mvhd")) == 100
    assert struct.unpack(">I", find(moov, "mvhd")[-4:]) == (3,)
    video, audio = (body for kind, body in boxes(moov) if kind == "trak")
    assert len(find(video, "tkhd")) == 84
    assert struct.unpack(">II", find(video, "tkhd")[-8:]) == (1920 << 16, 1080 << 16)
    for trak, handler, header, entry in ((video, b"vide", "vmhd", "avc1"), (audio, b"soun", "smhd", "mp4a")):
        assert find(trak, "mdia", "hdlr")[8:12] == handler
        minf = find(trak, "mdia", "minf")
        assert [kind for kind, _ in boxes(minf)] == [header, "dinf", "stbl"]
        assert [kind for kind, _ in boxes(find(minf, "stbl"))] == ["stsd", "stts", "stsc", "stsz", "stco"]
        assert [kind for kind, _ in boxes(find(minf, "stbl", "stsd")[8:])] == [entry]
    avc1 = find(video, "mdia", "minf", "stbl", "stsd")[8 + 8 :]
    assert struct.unpack_from(">HH", avc1, 24) == (1920, 1080)
    assert [kind for kind, _ in boxes(avc1[78:])] == ["avcC"]
    assert [kind for kind, _ in boxes(find(moov, "mvex"))] == ["trex", "trex"]


@given(
    st.integers(0, 2**40),
    st.lists(
        st.tuples(st.integers(1, 9000), st.integers(-9000, 9000), st.booleans(), st.binary(max_size=20)), min_size=1
    ),
    st.lists(st.tuples(st.integers(1, 2000), st.binary(max_size=20))),
    st.booleans(),
)
def test_a_fragment_reads_back(
    start: int, video: list[tuple[int, int, bool, bytes]], audio: list[tuple[int, bytes]], first: bool
) -> None:
    durations, offsets, keys, data = zip(*video, strict=True)
    runs = [Run(1, start, durations, data, [SYNC if key else NOT_SYNC for key in keys], offsets)]
    if audio:
        runs.append(Run(2, start, *zip(*audio, strict=True)))
    made = fragment(7, runs, first=first)
    assert made.startswith(b"styp", 4) == first
    found = samples(made)
    assert [(s.duration, s.offset, s.key, s.data) for s in found[1]] == video
    assert [(s.duration, s.data) for s in found.get(2, [])] == audio
    assert {track[0].dts for track in found.values()} == {start}
