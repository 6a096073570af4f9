"""Where everything of an invoice stands on its pages. Points, from the lower left corner of an A4 sheet."""

from collections.abc import Iterable

import msgspec

from veza.documents.model import Invoice, Line, Party, format_amount
from veza.documents.text import Style, fit, plain, width, wrap

PAGE = (595.28, 841.89)

_LEFT, _RIGHT = 51.0, PAGE[0] - 51.0
_ROOM = _RIGHT - _LEFT
_TOP, _BOTTOM = PAGE[1] - 64.0, 84.0

_INK, _GREY, _HAIR, _TINT, _ACCENT = "#1B2230", "#5A6373", "#DDE2E8", "#F2F6F6", "#1C6460"
_BRAND = Style(15, _ACCENT, bold=True)
_TITLE = Style(21, _INK, bold=True)
_NUMBER = Style(9.5, _GREY)
_LABEL = Style(7, _GREY, bold=True)
_NAME = Style(9.5, _INK, bold=True)
_TEXT = Style(8.8, _INK)
_SMALL = Style(7.8, _GREY)
_SUM = Style(9, _INK)
_TOTAL = Style(12.5, _INK, bold=True)
_FOOT = Style(7.2, _GREY)

_GAP = 20.0
_PAD = 8.0
_QUANTITY, _UNIT, _AMOUNT = _RIGHT - 232, _RIGHT - 120, _RIGHT - _PAD  # right edges of the columns
_TITLE_ROOM = _QUANTITY - 52 - _LEFT - _PAD
_SUMS = _RIGHT - 236

# Not from the calendar module, which speaks the language of the process.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_KINDS = {"invoice": "Invoice", "credit_note": "Credit note"}


class Text(msgspec.Struct, frozen=True):
    """Clean text in visual order; `x` and `y` are where its baseline begins."""

    x: float
    y: float
    text: str
    style: Style


class Box(msgspec.Struct, frozen=True):
    """A filled rectangle from its lower left corner; a flat one is a rule."""

    x: float
    y: float
    width: float
    height: float
    color: str


def heading(invoice: Invoice) -> str:
    """What a document is called: its kind and number."""
    return plain(f"{_KINDS[invoice.kind]} {invoice.number}")


def pages(invoice: Invoice) -> list[list[Text | Box]]:
    """What is on each page of an invoice, in the order in which it is read."""
    sheet = _Sheet(invoice)
    _masthead(sheet, invoice)
    _parties(sheet, invoice)
    _table(sheet, invoice)
    _sums(sheet, invoice)
    sheet.finish()
    return sheet.pages


class _Sheet:
    """Pages that fill from the top: `y` is the height at which the next thing may begin."""

    def __init__(self, invoice: Invoice) -> None:
        self.invoice = invoice
        self.pages: list[list[Text | Box]] = [[]]
        self.y = _TOP
        self._strip()

    def make_room(self, height: float) -> bool:
        """Begin a new page if what comes is too high for this one, and say so."""
        if self.y - height >= _BOTTOM:
            return False
        self.pages.append([])
        self._strip()
        self.y = PAGE[1] - 46
        half = _ROOM / 2 - _GAP
        self.left(_LEFT, self.y, [fit(self.invoice.platform.name, _SMALL, half)], _SMALL)
        self.right(_RIGHT, self.y, heading(self.invoice), _SMALL, half, shrink=1.5)
        self.rule(self.y - 9, _HAIR)
        self.y -= 30
        return True

    def left(self, x: float, y: float, lines: Iterable[str], style: Style) -> float:
        """Lines of text one below the other. Returns the baseline that would be next."""
        for line in lines:
            self.pages[-1].append(Text(x, y, line, style))
            y -= style.leading
        return y

    def right(self, x: float, y: float, text: str, style: Style, room: float, *, shrink: float = 10) -> None:
        """Text that ends at `x`, made smaller up to `shrink` times before it is cut: half an amount is a lie."""
        text = fit(text, style, shrink * room)
        taken = width(text, style)
        if taken > room:
            style = Style(style.size * room / taken, style.color, style.bold)
        self.pages[-1].append(Text(x - min(taken, room), y, text, style))

    def rule(self, y: float, color: str, x: float = _LEFT, thickness: float = 0.5) -> None:
        """A line from `x` to the right margin."""
        self.pages[-1].append(Box(x, y, _RIGHT - x, thickness, color))

    def finish(self) -> None:
        """Write what needs the number of pages."""
        platform = self.invoice.platform
        facts = [part for part in (platform.name, *platform.lines, platform.email or "") if part.strip()]
        lines = wrap(" · ".join(facts), _FOOT, _ROOM - 70, 2)
        total = len(self.pages)
        for number, page in enumerate(self.pages, 1):
            place = f"{number} / {total}"
            page.append(Box(_LEFT, 58, _ROOM, 0.5, _HAIR))
            page.extend(Text(_LEFT, 44 - row * _FOOT.leading, line, _FOOT) for row, line in enumerate(lines))
            page.append(Text(_RIGHT - width(place, _FOOT), 44, place, _FOOT))

    def _strip(self) -> None:
        self.pages[-1].append(Box(0, PAGE[1] - 6, PAGE[0], 6, _ACCENT))


def _masthead(sheet: _Sheet, invoice: Invoice) -> None:
    half = _ROOM / 2 - _GAP
    sheet.left(_LEFT, sheet.y, [fit(invoice.platform.name, _BRAND, half)], _BRAND)
    sheet.right(_RIGHT, sheet.y, _KINDS[invoice.kind], _TITLE, half)
    sheet.right(_RIGHT, sheet.y - 17, invoice.number, _NUMBER, half, shrink=1.5)
    sheet.y -= 40
    sheet.rule(sheet.y, _HAIR)
    sheet.y -= 18
    issued = invoice.issued_utc
    facts = [
        ("ISSUED", f"{issued.day} {_MONTHS[issued.month - 1]} {issued.year}", 100.0),
        ("ORDER", str(invoice.order_id), 208.0),
        ("CORRECTS INVOICE", invoice.refers_to, 92.0),
        ("PAID BY" if invoice.kind == "invoice" else "REFUNDED BY", invoice.paid_by, 93.0),
    ]
    x, lowest = _LEFT, sheet.y
    for label, value, room in facts:
        if value:
            lines = wrap(value, _TEXT, room - 10, 3)
            sheet.left(x, sheet.y, [label], _LABEL)
            lowest = min(lowest, sheet.left(x, sheet.y - 13, lines, _TEXT))
            x += room
    sheet.y = lowest
    sheet.rule(sheet.y, _HAIR)
    sheet.y -= 20


def _parties(sheet: _Sheet, invoice: Invoice) -> None:
    """Three beside each other: who issued it, who bought, and the sellers, for whom there may be more rows."""
    cells = [
        ("ISSUED BY", invoice.platform),
        ("BILLED TO" if invoice.kind == "invoice" else "CREDITED TO", invoice.buyer),
    ]
    cells += [("SOLD BY", seller) for seller in invoice.sellers]
    room = (_ROOM - 2 * _GAP) / 3
    for first in range(0, len(cells), 3):
        row = [(label, _party(party, room)) for label, party in cells[first : first + 3]]
        height = 13 + max(sum(style.leading for _, style in lines) for _, lines in row)
        sheet.make_room(height)
        for column, (label, lines) in enumerate(row):
            x = _LEFT + column * (room + _GAP)
            y = sheet.left(x, sheet.y, [label], _LABEL) - 4
            for line, style in lines:
                y = sheet.left(x, y, [line], style)
        sheet.y -= height + 10
    sheet.y -= 4


def _party(party: Party, room: float) -> list[tuple[str, Style]]:
    """At most so many lines that any row of parties fits on a page."""
    lines = [(line, _NAME) for line in wrap(party.name, _NAME, room, 3)]
    for text in (*party.lines[:8], party.email or ""):
        if text.strip():
            lines += [(line, _SMALL) for line in wrap(text, _SMALL, room, 2)]
    return lines


def _table(sheet: _Sheet, invoice: Invoice) -> None:
    sheet.make_room(70)
    _columns(sheet)
    for number, line in enumerate(invoice.lines, 1):
        # The sums never stand alone on a page.
        _row(sheet, invoice, line, _sums_height(invoice) if number == len(invoice.lines) else 0)


def _columns(sheet: _Sheet) -> None:
    sheet.pages[-1].append(Box(_LEFT, sheet.y - 20, _ROOM, 20, _TINT))
    y = sheet.y - 12.5
    sheet.left(_LEFT + _PAD, y, ["DESCRIPTION"], _LABEL)
    for x, label in ((_QUANTITY, "QTY"), (_UNIT, "UNIT PRICE"), (_AMOUNT, "AMOUNT")):
        sheet.right(x, y, label, _LABEL, 100)
    sheet.y -= 20


def _row(sheet: _Sheet, invoice: Invoice, line: Line, beneath: float) -> None:
    titles = wrap(line.title, _TEXT, _TITLE_ROOM, 8)
    sellers = wrap(line.seller, _SMALL, _TITLE_ROOM, 2) if line.seller.strip() else []
    height = 12 + len(titles) * _TEXT.leading + len(sellers) * _SMALL.leading
    if sheet.make_room(height + beneath):
        _columns(sheet)
    y = sheet.y - 6 - _TEXT.size
    sheet.left(_LEFT + _PAD, sheet.left(_LEFT + _PAD, y, titles, _TEXT), sellers, _SMALL)
    sheet.right(_QUANTITY, y, f"{line.quantity:,}", _TEXT, 40)
    sheet.right(_UNIT, y, _shown(invoice, line.unit_cents), _TEXT, 104)
    sheet.right(_AMOUNT, y, _shown(invoice, line.amount_cents), _TEXT, 104)
    sheet.y -= height
    sheet.rule(sheet.y, _HAIR)


def _sums(sheet: _Sheet, invoice: Invoice) -> None:
    """The sums on the right and what there is to say on the left, never torn apart."""
    sheet.make_room(_sums_height(invoice))
    y = sheet.y - 22
    sheet.left(_LEFT + _PAD, y, _notes(invoice), _SMALL)
    for label, cents, style in (
        ("Subtotal", invoice.subtotal_cents, _SUM),
        ("of which platform fee", invoice.fee_cents, _SMALL),
        ("Tax", invoice.tax_cents, _SUM),
    ):
        sheet.left(_SUMS, y, [label], Style(style.size, _GREY))
        sheet.right(_AMOUNT, y, _shown(invoice, cents), style, 110)
        y -= 16
    sheet.rule(y + 4, _ACCENT, _SUMS, 1.2)
    y -= 14
    sheet.left(_SUMS, y, ["Total"], _TOTAL)
    sheet.right(_AMOUNT, y, _shown(invoice, invoice.total_cents), _TOTAL, 176)


def _notes(invoice: Invoice) -> list[str]:
    return wrap(invoice.tax_note, _SMALL, _SUMS - _LEFT - _PAD - 2 * _GAP, 8)


def _sums_height(invoice: Invoice) -> float:
    return max(100.0, 30 + len(_notes(invoice)) * _SMALL.leading)


def _shown(invoice: Invoice, cents: int) -> str:
    return format_amount(-cents if invoice.kind == "credit_note" else cents, invoice.currency)
