"""Invoices and credit notes as PDF: one document, always the same bytes."""

import hashlib
from io import BytesIO
from threading import Lock
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas

from veza.documents import layout
from veza.documents.model import Invoice, Line, Party, format_amount
from veza.documents.text import plain, runs

__all__ = ["Invoice", "Line", "Party", "format_amount", "render"]

# A font is read with one position in its file, and there is one of each.
_drawing = Lock()


def render(invoice: Invoice) -> bytes:
    """An invoice as PDF. Equal invoices give equal bytes, in any process, so nothing needs to be kept."""
    with _drawing:
        out = BytesIO()
        canvas = Canvas(out, pagesize=layout.PAGE, pageCompression=1, invariant=1, lang="en")
        _describe(canvas, invoice)
        for page in layout.pages(invoice):
            for item in page:
                _draw(canvas, item)
            canvas.showPage()
        canvas.save()
        return out.getvalue()


def _draw(canvas: Any, item: layout.Text | layout.Box) -> None:
    if isinstance(item, layout.Box):
        canvas.setFillColor(HexColor(item.color))
        canvas.rect(item.x, item.y, item.width, item.height, stroke=0, fill=1)
        return
    canvas.setFillColor(HexColor(item.style.color))
    text = canvas.beginText(item.x, item.y)
    for font, part in runs(item.text, item.style.bold):
        text.setFont(font, item.style.size)
        text.textOut(part)
    canvas.drawText(text)


def _describe(canvas: Any, invoice: Invoice) -> None:
    platform = plain(invoice.platform.name)
    canvas.setTitle(layout.heading(invoice))
    canvas.setAuthor(platform)
    canvas.setCreator(platform)
    canvas.setSubject(f"Order {invoice.order_id}")
    # reportlab takes both from the clock, or when told not to, from the environment.
    issued = invoice.issued_utc
    stamp = canvas._doc._timeStamp
    stamp.YMDhms, stamp.dhh, stamp.dmm = tuple(issued.timetuple())[:6], 0, 0
    identity = hashlib.sha256(repr(invoice).encode()).hexdigest()[:32]
    canvas._doc._ID = f"[<{identity}><{identity}>]\n".encode()
