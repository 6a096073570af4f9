"""Right-to-left scripts for a page that knows left to right only.

Arabic letters take the form their neighbours ask for, and a line is put into the order in which the eye meets it.
This is the part of the Unicode bidirectional algorithm that names and titles need; explicit directions in the text
are not honoured, for with them a name could dress up as another.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

_RTL = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")
_LAM_ALEF = re.compile("ل([آأإا])")
# A stretched line and the zero width joiner have no forms of their own, but letters reach out to them.
_CONNECTORS = frozenset("\u0640\u200d")
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


def shape(text: str) -> str:
    """Arabic letters in the forms in which they join each other; anything else stays as it is."""
    if not _RTL.search(text):
        return text
    ligatures, forms = _arabic()
    text = _LAM_ALEF.sub(lambda found: ligatures.get(found[0], found[0]), text)
    letters = [index for index, char in enumerate(text) if unicodedata.category(char) != "Mn"]
    shaped = list(text)
    for place, index in enumerate(letters):
        char = text[index]
        if char not in forms:
            continue
        before = text[letters[place - 1]] if place else ""
        after = text[letters[place + 1]] if place + 1 < len(letters) else ""
        joins = (_reaches(before, "initial") and _reaches(char, "final")) * 2
        joins += _reaches(char, "initial") and _reaches(after, "final")
        shaped[index] = forms[char].get(("isolated", "initial", "final", "medial")[joins], char)
    return "".join(shaped)


def is_rtl(text: str) -> bool:
    """Whether a text as a whole runs from right to left: its first letter with a direction does."""
    if not _RTL.search(text):
        return False
    return next((kind != "L" for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")), False)


def visual(line: str, rtl: bool = False) -> str:
    """A line's characters from left to right as they are seen, in a text that as a whole is `rtl` or not."""
    if not rtl and not _RTL.search(line):
        return line
    clusters = list(_clusters(line))
    levels = _levels(clusters, int(rtl))
    shown = [part.translate(_MIRRORED) if level % 2 else part for part, level in zip(clusters, levels, strict=True)]
    for threshold in (2, 1):
        start = 0
        while start < len(shown):
            end = start
            while end < len(shown) and levels[end] >= threshold:
                end += 1
            shown[start:end] = reversed(shown[start:end])
            levels[start:end] = reversed(levels[start:end])
            start = end + 1
    return "".join(shown)


def _levels(clusters: list[str], base: int) -> list[int]:
    """The embedding level of each cluster: even ones are read from the left, odd ones from the right."""
    kinds = [_kind(cluster) for cluster in clusters]
    levels: list[int | None] = []
    strong = "R" if base else "L"
    for index, kind in enumerate(kinds):
        if kind in "LR":
            strong = kind
        number = kind == "N" or (kind == "S" and kinds[index - 1 : index] == ["N"] == kinds[index + 1 : index + 2])
        if kind == "R":
            levels.append(1)
        elif kind == "L":
            levels.append(2 * base)
        elif number:
            levels.append(2 if strong == "R" else 2 * base)
        else:
            levels.append(None)
    _pair(clusters, levels, base)
    return [_neutral(levels, index, base) if level is None else level for index, level in enumerate(levels)]


def _neutral(levels: list[int | None], index: int, base: int) -> int:
    """What has no direction takes that of both neighbours when they agree, otherwise that of the text."""
    before = next((known for known in reversed(levels[:index]) if known is not None), base)
    after = next((known for known in levels[index:] if known is not None), base)
    # In text from the left, numbers beside words from the right count as part of them.
    if base:
        return 2 if before == after == 2 else 1
    return 1 if before and after else 0


def _pair(clusters: list[str], levels: list[int | None], base: int) -> None:
    """Brackets that belong together look the same way, and what stands beside them heeds it."""
    opened: list[int] = []
    for index, cluster in enumerate(clusters):
        if cluster in "([{":
            opened.append(index)
        elif cluster in ")]}" and opened:
            start = opened.pop()
            one, other = _neutral(levels, start, base), _neutral(levels, index, base)
            levels[start] = levels[index] = one if one == other else base


def _kind(cluster: str) -> str:
    match unicodedata.bidirectional(cluster[0]):
        case "L":
            return "L"
        case "R" | "AL":
            return "R"
        case "EN" | "AN":
            return "N"
        case "CS" | "ES":
            return "S"
        case _:
            return "-"


def _clusters(line: str) -> Iterator[str]:
    """Characters with the marks that sit on them, which stay behind their base when the order turns."""
    start = 0
    for index in range(1, len(line)):
        if unicodedata.category(line[index]) != "Mn":
            yield line[start:index]
            start = index
    if line:
        yield line[start:]


def _reaches(char: str, form: str) -> bool:
    return char in _CONNECTORS or form in _arabic()[1].get(char, ())


@cache
def _arabic() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The ligatures of lam and alef, and for each letter its forms, as Unicode's own tables tell them."""
    ligatures: dict[str, str] = {}
    forms: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFDFB), *range(0xFE70, 0xFEFD)):
        tag, *parts = unicodedata.decomposition(chr(code)).split() or ("",)
        letters = "".join(chr(int(part, 16)) for part in parts)
        if len(letters) == 1:
            forms.setdefault(letters, {}).setdefault(tag.strip("<>"), chr(code))
        elif _LAM_ALEF.fullmatch(letters) and tag == "<isolated>":
            ligatures[letters] = chr(code)
            # Unicode puts the form that joins a letter before it right behind.
            forms[chr(code)] = {"isolated": chr(code), "final": chr(code + 1)}
    return ligatures, forms
