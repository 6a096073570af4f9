"""What a room, or whatever else has a name to show, may be called."""

import unicodedata

from veza.errors import InvalidArgument

NAME_CHARS = 50

# What a name must not hold, as Unicode categories: control characters, line and paragraph ends, halves of pairs.
_UNFIT = frozenset({"Cc", "Zl", "Zp", "Cs"})
# Embeddings, overrides and isolates of direction turn the text around a name, too.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What shows nothing by itself: categories, and letters and signs that are drawn as a space. A code point that is not
# assigned yet counts as seen: it is next year's emoji.
_UNSEEN = frozenset({"Cf", "Mn", "Me", "Zs"})
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def clean_name(name: str, most: int = NAME_CHARS, field: str = "name") -> str:
    """A name as stored: 1 to `most` characters, trimmed, one line, with something to see. Raises InvalidArgument.

    Joiners and other format characters stay: emoji, flags and many scripts are written with them.
    """
    name = name.strip()
    if not 1 <= len(name) <= most:
        raise InvalidArgument(f"A {field} has 1 to {most} characters.", ((field, f"1 to {most} characters"),))
    if any(char in _BIDI or unicodedata.category(char) in _UNFIT for char in name):
        raise InvalidArgument(f"A {field} has no control characters.", ((field, "no control characters"),))
    if all(char in _BLANK or unicodedata.category(char) in _UNSEEN for char in name):
        raise InvalidArgument(f"A {field} has something to see.", ((field, "a visible character"),))
    return name
