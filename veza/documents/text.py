"""Text as it is set: any Unicode in the shipped fonts, measured, wrapped and cut to a width.

DejaVu Sans has the alphabets, Droid Sans Fallback the scripts of East Asia. What neither has is shown as a box.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import msgspec
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from veza.documents.bidi import is_rtl, shape, visual

# More than any place on a page can show, so that the cost of a text is bounded.
LONGEST = 3000

_FOLDER = Path(__file__).with_name("fonts")
_REGULAR = ("DejaVuSans", "DroidSansFallback")
_BOLD = ("DejaVuSans-Bold", *_REGULAR)
_BOX = "□"
_ELLIPSIS = "…"
# They choose between glyphs that we do not have two of, and have none themselves.
_SELECTORS = re.compile(r"[\u034f\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_TARGET = re.compile(r"(?<=> <)([0-9A-F]{4,6})(?=>)")


class Style(msgspec.Struct, frozen=True):
    """How a text looks; `leading` is from one baseline to the next."""

    size: float
    color: str
    bold: bool = False

    @property
    def leading(self) -> float:
        return self.size * 1.38


def plain(text: str) -> str:
    """One line of valid Unicode: spaces are single, and what has no look of its own is gone or shown as a box."""
    text = _SELECTORS.sub("", unicodedata.normalize("NFC", text[:LONGEST]))
    return " ".join("".join(map(_visible, text)).split())


def clean(text: str) -> str:
    """A plain text with its letters joined, as it is measured."""
    return plain(shape(unicodedata.normalize("NFC", text[:LONGEST])))


def width(text: str, style: Style) -> float:
    """How wide a clean text is, in points."""
    return sum(_glyph(char, style.bold)[2] for char in text) * style.size


def fit(text: str, style: Style, room: float) -> str:
    """A text on one line, in visual order, cut with an ellipsis where it does not fit."""
    text = clean(text)
    first, *rest = _pieces(text, style, room)
    return visual(_shorten(first, style, room) if rest else first, is_rtl(text))


def wrap(text: str, style: Style, room: float, most: int) -> list[str]:
    """A text on one to `most` lines, each in visual order, cut with an ellipsis where it does not fit."""
    text = clean(text)
    rtl = is_rtl(text)
    lines: list[str] = []
    line = ""
    for piece in (piece for atom in _atoms(text) for piece in _pieces(atom, style, room)):
        if line and width((line + piece).rstrip(), style) > room:
            lines.append(line)
            line = ""
            if len(lines) > most:
                break
        line += piece
    lines.append(line)
    if len(lines) > most:
        lines[most - 1 :] = [_shorten(lines[most - 1], style, room)]
    return [visual(line.rstrip(), rtl) for line in lines]


def runs(text: str, bold: bool) -> Iterator[tuple[str, str]]:
    """A clean text as pieces of one font each: its name and what it shows."""
    glyphs = [_glyph(char, bold) for char in text]
    for font, group in groupby(glyphs, key=lambda glyph: glyph[1]):
        yield font, "".join(glyph[0] for glyph in group)


def _visible(char: str) -> str:
    match unicodedata.category(char):
        case "Cf" if unicodedata.bidirectional(char) != "AN":  # the marks of Arabic numbers can be seen
            return ""
        case "Cc" | "Cs" if not char.isspace():
            return _BOX
        case _:
            return char


def _atoms(text: str) -> Iterator[str]:
    """Where a line may end: behind a space, and between the characters of scripts that have none."""
    start = 0
    for index in range(1, len(text)):
        before, after = text[index - 1], text[index]
        if before == " " or ((_is_wide(before) or _is_wide(after)) and _may_part(before, after)):
            yield text[start:index]
            start = index
    yield text[start:]


@lru_cache(maxsize=4096)
def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in ("W", "F")


def _may_part(before: str, after: str) -> bool:
    """Brackets and quotes stay with what they enclose; marks, long vowels and spaces with what they follow."""
    closing = unicodedata.category(after) in ("Pe", "Pf", "Po", "Lm", "Mn", "Mc", "Zs")
    return not closing and unicodedata.category(before) not in ("Ps", "Pi")


def _pieces(atom: str, style: Style, room: float) -> list[str]:
    """A word or more, cut where the line ends if it is too long for one."""
    if width(atom.rstrip(), style) <= room:
        return [atom]
    pieces = [""]
    used = 0.0
    for char in atom:
        step = width(char, style)
        if pieces[-1] and used + step > room and char != " " and unicodedata.category(char) != "Mn":
            pieces.append("")
            used = 0.0
        pieces[-1] += char
        used += step
    return pieces


def _shorten(line: str, style: Style, room: float) -> str:
    line = line.rstrip()
    while line and width(line + _ELLIPSIS, style) > room:
        line = line[:-1].rstrip()
    return line + _ELLIPSIS


@lru_cache(maxsize=16384)
def _glyph(char: str, bold: bool) -> tuple[str, str, float]:
    """What is shown for a character, in which font, and how wide it is at a size of one point."""
    for shown in (char, unicodedata.normalize("NFKC", char), _BOX):
        for name in _BOLD if bold else _REGULAR:
            face = _fonts()[name].face
            if len(shown) == 1 and ord(shown) in face.charToGlyph:
                return shown, name, float(face.getCharWidth(ord(shown))) / 1000
    raise AssertionError("the box is in every font")


@cache
def _fonts() -> dict[str, TTFont]:
    fonts = {name: _Font(name, str(_FOLDER / f"{name}.ttf")) for name in _BOLD}
    for font in fonts.values():
        pdfmetrics.registerFont(font)
    return fonts


class _Font(TTFont):  # type: ignore[misc]  # reportlab has no types
    """A font whose text is found again when it is searched for or copied."""

    def addObjects(self, doc: object) -> None:  # noqa: N802  # the name is reportlab's
        """Add the font, and say of each glyph which characters it stands for.

        reportlab writes characters beyond U+FFFF as no reader expects, and the joined forms of Arabic as themselves.
        """
        super().addObjects(doc)
        for key, stream in vars(doc)["idToObject"].items():
            if str(key).startswith("toUnicodeCMap:"):
                stream.content = _TARGET.sub(lambda found: _utf16(int(found[1], 16)), stream.content)


def _utf16(code: int) -> str:
    char = chr(code)
    if 0xFB50 <= code <= 0xFDFF or 0xFE70 <= code <= 0xFEFC:
        char = unicodedata.normalize("NFKC", char)
    return char.encode("utf-16-be").hex().upper()
