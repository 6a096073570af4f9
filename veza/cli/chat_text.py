"""Text for a terminal: styled pieces, as wide as they look, and nothing in them that the terminal would obey."""

import re
import unicodedata
import zlib
from datetime import datetime

from veza.client import Person

# (style, text) pairs, as prompt_toolkit has them; plain output takes the text only.
Line = list[tuple[str, str]]

DIM = "fg:ansibrightblack"
BOLD = "bold"
ERROR = "fg:ansired"
ALERT = "bold fg:ansiyellow"
MENTION = "bold reverse"
_SENDER_COLOURS = ("ansicyan", "ansigreen", "ansiyellow", "ansimagenta", "ansiblue", "ansibrightcyan", "ansibrightred")

_SEEN = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
# C1 controls act like ESC sequences in some terminals; bidi overrides let text pose as other text.
_UNSEEN = [*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_HARMLESS = _SEEN | dict.fromkeys(_UNSEEN, "\ufffd")
_HARMLESS_LINES = {code: shown for code, shown in _HARMLESS.items() if code != ord("\n")} | {ord("\t"): "    "}

_JOINER = "\u200d"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def harmless(text: str) -> str:
    """One line of foreign text: control characters are shown, not obeyed."""
    return text.translate(_HARMLESS)


def harmless_lines(text: str) -> list[str]:
    """Foreign text, line by line."""
    return text.translate(_HARMLESS_LINES).split("\n")


def plain(line: Line) -> str:
    return "".join(text for _, text in line)


def width(text: str) -> int:
    """How many columns a text takes: wide letters and emoji two, marks and joiners none."""
    columns = 0
    joined = False
    for char in text:
        if char == _JOINER:
            joined = True
        elif joined:
            joined = False  # drawn into the one before
        elif unicodedata.category(char) not in ("Mn", "Me", "Cf"):
            columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return columns


def short(text: str, columns: int) -> str:
    """As much of a text as fits, cut between letters and not inside one."""
    if width(text) <= columns:
        return text
    kept = text
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    while kept and (kept[-1] == _JOINER or _continues(text[len(kept)])):
        kept = kept[:-1]
    return f"{kept}…"


def _continues(char: str) -> bool:
    """Whether it belongs to the letter before it."""
    return char == _JOINER or unicodedata.category(char) in ("Mn", "Me")


def same_name(one: str, other: str) -> bool:
    """Whether two names are equal to a reader: whatever their case, and however their accents are written."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def colour(name: str) -> str:
    """The same for a name everywhere."""
    return f"bold fg:{_SENDER_COLOURS[zlib.crc32(name.encode()) % len(_SENDER_COLOURS)]}"


def note(text: str, style: str = DIM) -> Line:
    return [(style, f"      · {text}")]


def clock(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%H:%M") if moment is not None else "     "


def when(moment: datetime | None) -> str:
    """A day and a time; for an end that is None, that there is none."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment is not None else "lifted"


def name_of(person: Person | None) -> str:
    return harmless(person.username) if person is not None else "(somebody gone)"


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1000:
        return f"{count} B"
    power, unit = next((p, u) for p, u in ((3, "kB"), (6, "MB"), (9, "GB")) if count < 999.5 * 10**p or u == "GB")
    return f"{count / 10**power:.3g} {unit}"


def seconds(text: str) -> int | None:
    """`10m` and the like in seconds; None when it is no time."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.lower())
    return int(found[1]) * _UNITS[found[2]] if found else None
