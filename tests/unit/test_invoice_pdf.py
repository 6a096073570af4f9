"""Invoices as PDF: everything is on them, in any script, and they are always the same bytes."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pypdf import PdfReader

from veza.documents import bidi, layout
from veza.documents.invoice import Invoice, Line, Party, format_amount, render
from veza.documents.text import Style, width, wrap

KYMA = Party("Κύμα Records", "studio@kyma.example", ("Athens",))
YAMADA = Party("山田太郎スタジオ", "taro@example.jp", ("東京都渋谷区",))
INVOICE = Invoice(
    number="VZ-2025-000123",
    kind="invoice",
    issued_at=datetime(2025, 3, 12, 14, 5, 9, tzinfo=UTC),
    order_id=UUID("0190a5e4-7b1c-7d3e-9f00-1234567890ab"),
    currency="EUR",
    buyer=Party("Nguyễn Thị Ánh Tuyết", "anh@example.com", ("48 Karl-Marx-Straße", "Берлин")),
    sellers=(KYMA, YAMADA),
    lines=(
        Line("Night Tape 🎵 <b>stems</b> &amp; co", "Κύμα Records", 2, 61700),
        Line("夜想曲", "山田太郎スタジオ", 1, 56),
    ),
    fee_cents=12345,
    tax_cents=1,
    tax_note="Article 293 B.",
    platform=Party("Veza", "billing@veza.example", ("12 rue des Lilas", "75011 Paris")),
    paid_by="Visa 4242",
)
# All of Unicode, also what no text should have: halves of characters, and characters that control.
anything = st.text(st.characters(exclude_categories=()), max_size=60)
parties = st.builds(Party, anything, st.none() | anything, st.lists(anything, max_size=12).map(tuple))
invoices = st.builds(
    Invoice,
    number=anything,
    kind=st.sampled_from(["invoice", "credit_note"]),
    issued_at=st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)),  # noqa: DTZ001  # Hypothesis adds the zone
    order_id=st.uuids(),
    currency=st.sampled_from(["EUR", "JPY", "KWD", "usd"]) | anything,
    buyer=parties,
    sellers=st.lists(parties, max_size=5).map(tuple),
    lines=st.lists(st.builds(Line, anything, anything, st.integers(0, 2**31), st.integers(0, 2**63)), max_size=12).map(
        tuple
    ),
    fee_cents=st.integers(0, 2**63),
    tax_cents=st.integers(0, 2**63),
    tax_note=anything,
    refers_to=st.none() | anything,
    paid_by=st.none() | anything,
    platform=parties,
)


def texts(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(pdf), strict=True).pages]


def test_everything_is_on_it() -> None:
    [text] = texts(render(INVOICE))
    for part in (
        *("Invoice", "VZ-2025-000123", "12 March 2025", "0190a5e4-7b1c-7d3e-9f00-1234567890ab", "Visa 4242"),
        *("Nguyễn Thị Ánh Tuyết", "anh@example.com", "48 Karl-Marx-Straße", "Берлин"),
        *("Κύμα Records", "studio@kyma.example", "山田太郎スタジオ", "東京都渋谷区"),
        *("Veza · 12 rue des Lilas · 75011 Paris · billing@veza.example", "1 / 1"),
        *("夜想曲", "2 617.00 EUR 1,234.00 EUR", "1 0.56 EUR 0.56 EUR", "Article 293 B."),
        *("Subtotal 1,234.56 EUR", "of which platform fee 123.45 EUR", "Tax 0.01 EUR", "Total 1,234.57 EUR"),
    ):
        assert part in text
    assert INVOICE.total_cents == 123457


def test_markup_is_text_and_what_no_font_has_is_a_box() -> None:
    [text] = texts(render(INVOICE))
    assert "Night Tape □ <b>stems</b> &amp; co" in text


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Tâm tư ở đây", "Tâm tư ở đây"),
        ("Ta\u0302m", "Tâm"),
        ("Ελλάδα Україна Łódź", "Ελλάδα Україна Łódź"),
        ("한국어 노래", "한국어 노래"),
        ("a \x00b\x1f\ud800", "a □b □"),  # \x1f is a space in the eyes of Unicode
        ("rock\n\tand\u2028roll", "rock and roll"),
        ("👩\u200d🎤", "□□"),
        ("😀", "😀"),
        ("\u202egnp.exe", "gnp.exe"),
        ("مرحبا", "مرحبا"),
        ("שלום", "שלום"),
    ],
)
def test_any_script_is_shown_and_found_again(title: str, shown: str) -> None:
    [text] = texts(render(replace(INVOICE, lines=(Line(title, "Seller", 1, 1),))))
    assert f"\n{shown}\nSeller\n" in text


def test_it_describes_itself() -> None:
    reader = PdfReader(BytesIO(render(replace(INVOICE, platform=Party("Veza Ελλάδα\ud800")))))
    found = reader.metadata
    assert found is not None
    assert (found.title, found.author) == ("Invoice VZ-2025-000123", "Veza Ελλάδα□")
    assert found.subject == "Order 0190a5e4-7b1c-7d3e-9f00-1234567890ab"
    assert found.creation_date == found.modification_date == INVOICE.issued_at
    assert all(abs(float(have) - want) < 1 for have, want in zip(reader.pages[0].mediabox[2:], (595, 842), strict=True))


def test_equal_invoices_are_the_same_bytes_in_any_process() -> None:
    pdf = render(INVOICE)
    assert render(replace(INVOICE)) == pdf
    assert render(replace(INVOICE, number="other")) != pdf
    assert render(INVOICE) == pdf
    program = (
        "import sys, msgspec; from veza.documents.invoice import Invoice, render;"
        "sys.stdout.buffer.write(render(msgspec.json.decode(sys.stdin.buffer.read(), type=Invoice)))"
    )
    facts = msgspec.json.encode(INVOICE)
    command = [sys.executable, "-W", "error", "-c", program]
    for seed, clock, zone in (("1", "1", "UTC"), ("2", "", "Asia/Tokyo")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": clock, "TZ": zone}
        done = subprocess.run(command, input=facts, env=env, check=True, capture_output=True)
        assert done.stdout == pdf


def test_other_facts_are_another_document() -> None:
    one, other = (PdfReader(BytesIO(render(replace(INVOICE, fee_cents=fee)))) for fee in (1, 2))
    assert one.trailer["/ID"] != other.trailer["/ID"]


def test_the_date_is_that_of_utc() -> None:
    late = datetime(2025, 3, 12, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert "13 March 2025" in texts(render(replace(INVOICE, issued_at=late)))[0]


def test_five_hundred_lines_go_over_pages() -> None:
    lines = tuple(Line(f"Track {n:03d} of the box", "Κύμα Records", n % 3 + 1, 100 + n) for n in range(500))
    found = texts(render(replace(INVOICE, lines=lines)))
    assert 10 < len(found) < 40
    for number, text in enumerate(found, 1):
        assert f"{number} / {len(found)}" in text
        assert "DESCRIPTION QTY UNIT PRICE AMOUNT" in text
        assert "VZ-2025-000123" in text
    whole = "\n".join(found)
    places = [whole.index(line.title) for line in lines]
    assert places == sorted(places)
    assert all(whole.count(line.title) == 1 for line in lines)
    assert whole.count("Total ") == 1


@pytest.mark.parametrize("count", range(24))
def test_the_sums_never_stand_alone(count: int) -> None:
    last = texts(render(replace(INVOICE, lines=(Line("Track", "Seller", 1, 1),) * count)))[-1]
    assert "Total " in last
    assert "Track" in last or not count


def test_a_credit_note_shows_what_goes_back() -> None:
    note = replace(INVOICE, kind="credit_note", number="VZ-2025-000124", refers_to="VZ-2025-000123")
    [text] = texts(render(note))
    for part in ("Credit note", "VZ-2025-000124", "CORRECTS INVOICE\nVZ-2025-000123", "−1,234.00 EUR"):
        assert part in text
    assert "Total −1,234.57 EUR" in text
    assert note.total_cents == 123457


def test_what_cannot_be_is_refused() -> None:
    for quantity, cents in ((-1, 1), (1, -1)):
        with pytest.raises(ValueError, match="no line"):
            Line("a", "b", quantity, cents)
    for field in ("fee_cents", "tax_cents"):
        with pytest.raises(ValueError, match="no fee"):
            replace(INVOICE, **{field: -1})
    with pytest.raises(ValueError, match="time zone"):
        replace(INVOICE, issued_at=datetime(2025, 3, 12))  # noqa: DTZ001  # what is refused


@pytest.mark.parametrize(
    ("cents", "currency", "shown"),
    [
        (123456, "EUR", "1,234.56 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (-50, "eur", "−0.50 EUR"),
        (1234, "JPY", "1,234 JPY"),
        (-1, "JPY", "−1 JPY"),
        (1234567, "KWD", "1,234.567 KWD"),
        (12, "CLF", "0.0012 CLF"),
        (2**63, "USD", "92,233,720,368,547,758.08 USD"),
    ],
)
def test_amounts_are_written_as_their_currency_is(cents: int, currency: str, shown: str) -> None:
    assert format_amount(cents, currency) == shown


@given(
    st.integers(-(2**70), 2**70),
    st.sampled_from([("EUR", 2), ("JPY", 0), ("TND", 3), ("XAF", 0), ("CLF", 4), ("ZZZ", 2)]),
)
def test_an_amount_reads_back(cents: int, currency: tuple[str, int]) -> None:
    code, decimals = currency
    number, unit = format_amount(cents, code).split(" ")
    assert unit == code
    assert Decimal(number.replace("−", "-").replace(",", "")) == Decimal(cents).scaleb(-decimals)
    assert len(number.partition(".")[2]) == decimals


def assert_in_frame(invoice: Invoice) -> None:
    pages = layout.pages(invoice)
    for item in (item for page in pages for item in page if isinstance(item, layout.Text)):
        assert item.x > 50
        assert item.x + width(item.text, item.style) < layout.PAGE[0] - 50
        assert 30 < item.y < layout.PAGE[1] - 40
    assert len(texts(render(invoice))) == len(pages) < 8


@given(invoices)
@settings(deadline=None, max_examples=60)
def test_any_text_makes_a_pdf_within_its_frame(invoice: Invoice) -> None:
    assert_in_frame(invoice)


@pytest.mark.parametrize("char", ["x", "W", "夜", "م", "🎵", "e\u0301", "a ", "<", "\ud800"])
def test_endless_texts_are_cut(char: str) -> None:
    long = char * 20_000
    party = Party(long, long, (long,) * 30)
    endless = replace(
        INVOICE,
        **dict.fromkeys(("number", "tax_note", "refers_to", "paid_by", "currency"), long),
        buyer=party,
        platform=party,
        sellers=(party,),
        lines=(Line(long, long, 10**12, 10**12),) * 3,
    )
    assert_in_frame(endless)


@given(anything, st.floats(60, 400), st.integers(1, 4))
def test_wrapping_keeps_to_its_room(text: str, room: float, most: int) -> None:
    style = Style(9, "#000000")
    lines = wrap(text, style, room, most)
    assert 1 <= len(lines) <= most
    assert all(width(line, style) <= room + 1e-6 for line in lines)


def test_lines_end_between_words_and_between_ideographs() -> None:
    style = Style(10, "#000000")
    assert wrap("one two three four", style, 60, 9) == ["one two", "three four"]
    assert wrap("夜想曲、夜想曲", style, 30.1, 9) == ["夜想", "曲、夜", "想曲"]
    assert wrap("one two three four", style, 60, 1) == ["one two…"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Blue (live) 12", "Blue (live) 12"),
        ("שלום", "םולש"),
        ("Hi שלום עולם!", "Hi םלוע םולש!"),
        ("שלום (live) 12,5!", "!12,5 (live) םולש"),
        ("אב [גד] x", "x [דג] בא"),
        ("a שלום 12 b", "a 12 םולש b"),
        ("אָב", "באָ"),
    ],
)
def test_lines_are_in_the_order_in_which_they_are_seen(text: str, seen: str) -> None:
    assert bidi.visual(text, bidi.is_rtl(text)) == seen


def test_arabic_letters_join() -> None:
    assert bidi.shape("سلام") == "\ufeb3\ufefc\ufee1"
    assert bidi.shape("بَبب ب") == "\ufe91\u064e\ufe92\ufe90 \ufe8f"
    assert bidi.shape("می\u200cخ") == "\ufee3\ufbfd\u200c\ufea5"
