"""AMF0: what is written is read, golden values of the specification, and any bytes."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from veza.realtime.rtmp import amf
from veza.realtime.rtmp.amf import Date, EcmaArray, Value
from veza.realtime.rtmp.errors import RtmpError

numbers = st.floats(allow_nan=False)
leaves = (
    st.none()
    | st.just(UNSET)
    | st.booleans()
    | numbers
    | st.text(max_size=20)
    | st.builds(Date, numbers, st.integers(-1440, 1440))
)
names = st.text(max_size=8)


def containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4).flatmap(
        lambda found: st.sampled_from([found, EcmaArray(found)])
    )


values = st.recursive(leaves, containers, max_leaves=12)


@given(st.lists(values, max_size=5))
def test_round_trip(given_values: list[Value]) -> None:
    found = amf.decode(amf.encode(*given_values))
    assert found == given_values
    assert [type(value) for value in found] == [type(value) for value in given_values]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("003ff0000000000000", 1.0),
        ("0100", False),
        ("0102", True),
        ("0200046c697665", "live"),
        ("03000361707002000130000009", {"app": "0"}),
        ("05", None),
        ("06", UNSET),
        ("080000000100016105000009", EcmaArray(a=None)),
        ("08000000010001610100", EcmaArray(a=False)),
        ("0a00000002050101", [None, True]),
        ("0b00000000000000000000", Date(0.0)),
        ("0c000000026162", "ab"),
        ("030000010100016105000009", {"": True, "a": None}),
    ],
)
def test_golden(written: str, value: Value) -> None:
    assert amf.decode(bytes.fromhex(written)) == [value]


def test_a_command_of_the_specification() -> None:
    """createStream (7.2.1.3): name, transaction, null."""
    assert amf.encode("createStream", 2, None) == b"\x02\x00\x0ccreateStream\x00\x40\x00" + bytes(6) + b"\x05"


def test_long_strings_have_a_longer_length() -> None:
    assert amf.encode("x" * 65_535)[:3] == b"\x02\xff\xff"
    assert amf.encode("x" * 65_536)[:5] == b"\x0c\x00\x01\x00\x00"


def test_not_a_number_is_read() -> None:
    (found,) = amf.decode(amf.encode(math.nan))
    assert isinstance(found, float)
    assert math.isnan(found)


def test_text_that_is_not_utf8_is_read_all_the_same() -> None:
    assert amf.decode(b"\x02\x00\x02\xe9t") == ["�t"]
    assert amf.encode("\ud800") == b"\x02\x00\x01?"


@pytest.mark.parametrize("marker", [4, 7, 13, 14, 15, 16, 17, 255])
def test_other_types_are_refused(marker: int) -> None:
    with pytest.raises(RtmpError):
        amf.decode(bytes((marker, 0, 0, 0)))


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\xff\xff\xff\xff",
        b"\x0c\xff\xff\xff\xffx",
        b"\x0a\x00\x00\x00\x01" * 20 + b"\x05",
        b"\x03\x00\x01a" * 20,
        b"\x05" * 5000,
        b"\x0a\x00\x00\x13\x88" + b"\x05" * 5000,
        b"\x05" * (amf.MAX_BYTES + 1),
        b"\x00",
        b"\x02\x00",
        b"\x03\x00\x01a",
        b"\x08\x00\x00\x00\x01\x00\x01a\x05\x00\x00",
    ],
)
def test_too_much_too_deep_or_cut(data: bytes) -> None:
    with pytest.raises(RtmpError):
        amf.decode(data)


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"\x03\0\1a", b"\x0a\0\0\0\2", b"\x08\0\0\0\0", b"\x00", b"\x05", b"\0\0\x09"])).map(
        b"".join
    )
)
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(RtmpError):
        amf.decode(data)


def test_a_name_that_is_too_long_to_write() -> None:
    with pytest.raises(RtmpError):
        amf.encode({"x" * 65_536: None})
