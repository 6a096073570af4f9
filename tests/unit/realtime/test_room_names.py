"""Which names a room may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import InvalidArgument
from veza.realtime.names import NAME_CHARS, clean_name


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "Zażółć gęślą",
        "👩\u200d🎤",  # joined by U+200D
        "❤\ufe0f‍🔥",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # a flag, spelled with tags
        "می\u200cخواهم",  # Persian, with a non-joiner
        "שלום\u200f!",  # with a mark of direction
        "নমস্কার",
        "a\u00a0b",
        "\U0001fadf",  # an emoji newer than the Unicode of this Python
        "x" * NAME_CHARS,
    ],
)
def test_names_of_all_scripts_and_emoji(name: str) -> None:
    assert clean_name(f" {name}\n") == name


@pytest.mark.parametrize(
    "name",
    ["", "  ", "x" * (NAME_CHARS + 1), "a\nb", "a\tb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "a\ud800b"],
)
def test_names_of_no_fit_length_or_line(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        clean_name(name)
    assert [field for field, _ in refused.value.details] == ["name"]


@pytest.mark.parametrize("char", [chr(number) for number in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))])
def test_names_that_turn_the_text_around_them(char: str) -> None:
    with pytest.raises(InvalidArgument):
        clean_name(f"a{char}b")


@given(st.text("\u00a0\u00ad\u034f\u115f\u1160\u200b\u200d\u2060\u2800\u3000\u3164\ufe0f\ufeff\uffa0", min_size=1))
def test_names_that_show_nothing(name: str) -> None:
    with pytest.raises(InvalidArgument):
        clean_name(name)
