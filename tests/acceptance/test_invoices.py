"""Invoices and credit notes: whose they are, what is on them, and their numbers."""

import asyncio
from io import BytesIO

import pytest
from pypdf import PdfReader
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running, refused

pytestmark = pytest.mark.usefixtures("balanced")


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    return await market.offer(seller)


async def pdf(person: Person, path: str) -> bytes:
    answer = await person.ask("GET", f"marketplace/orders/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"].startswith("private")
    assert answer.content.startswith(b"%PDF-")
    return answer.content


def text_of(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


async def test_an_invoice_says_what_was_bought(people: People, buyer: Person) -> None:
    shop = await people.register()
    await shop.call("PUT", "users/me", json={"display_name": "Κύμα Records 夜"})
    await shop.call("POST", "users/me/creator")
    product = await market.offer(shop, 61700, title="Night <b>Tape</b> & 夜想曲", currency="JPY")
    order = await market.buy(buyer, (product, 2))
    content = await pdf(buyer, f"{order['id']}/invoice")
    text = text_of(content)
    for part in ("Night <b>Tape</b> & 夜想曲", "Κύμα Records 夜", "123,400 JPY", buyer.username, order["id"]):
        assert part in text, text
    # However the names change, it stays what was issued.
    await shop.call("PUT", "users/me", json={"display_name": "Other"})
    await shop.call("PUT", f"marketplace/products/{product}", json={"title": "Other", "price_cents": 1})
    await buyer.call("PUT", "users/me", json={"display_name": "Somebody"})
    assert await pdf(buyer, f"{order['id']}/invoice") == content
    assert await pdf(buyer, f"{order['id']}/invoice") == content


async def test_an_invoice_is_the_buyers(
    buyer: Person, seller: Person, eve: Person, admin: Person, product: str, system: Running
) -> None:
    order = await market.buy(buyer, product)
    done = await market.refunded(buyer, order["id"])
    for path in (f"{order['id']}/invoice", f"{order['id']}/refunds/{done['id']}/credit-note"):
        refused(await system.http.get(f"marketplace/orders/{path}"), 401)
        for stranger in (seller, eve, admin):
            refused(await stranger.ask("GET", f"marketplace/orders/{path}"), 404)
        assert (await buyer.ask("HEAD", f"marketplace/orders/{path}")).status_code == 200
        await pdf(buyer, path)
    # A refund of another order by way of one's own.
    other = await market.buy(eve, product)
    refused(await eve.ask("GET", f"marketplace/orders/{other['id']}/refunds/{done['id']}/credit-note"), 404)


async def test_what_was_not_paid_has_none(buyer: Person, product: str) -> None:
    order = await market.order(buyer, product, method="card_declined")
    refused(await buyer.ask("GET", f"marketplace/orders/{order['id']}/invoice"), 404)
    await market.order_is(buyer, order["id"], "failed")
    refused(await buyer.ask("GET", f"marketplace/orders/{order['id']}/invoice"), 404)


async def test_a_credit_note_corrects_its_invoice(buyer: Person, seller: Person, product: str, books: Books) -> None:
    other = await market.offer(seller, 500, title="Ballad")
    order = await market.buy(buyer, product, other)
    invoice = await pdf(buyer, f"{order['id']}/invoice")
    done = await market.refunded(buyer, order["id"], items=[other])
    content = await pdf(buyer, f"{order['id']}/refunds/{done['id']}/credit-note")
    assert content == await pdf(buyer, f"{order['id']}/refunds/{done['id']}/credit-note")
    text = text_of(content)
    assert "Ballad" in text
    assert "Aria" not in text
    assert "−5.00 EUR" in text
    [number] = await books.rows(
        "SELECT content->>'number' FROM invoices WHERE order_id = $1::text::uuid AND refund_id IS NULL", order["id"]
    )
    assert number[0] in text
    assert number[0] in text_of(invoice)
    # The invoice itself stays.
    assert await pdf(buyer, f"{order['id']}/invoice") == invoice


async def test_a_refund_that_failed_has_no_credit_note(buyer: Person, product: str) -> None:
    order = await market.buy(buyer, product, method="card_refund_declined")
    refund_id = await market.refund(buyer, order["id"])
    await market.refund_is(buyer, order["id"], refund_id, "failed")
    refused(await buyer.ask("GET", f"marketplace/orders/{order['id']}/refunds/{refund_id}/credit-note"), 404)


async def test_numbers_have_no_gap(people: People, product: str, books: Books) -> None:
    """Many at once, some of which fail and some of which go back."""
    crowd = await asyncio.gather(*(people.register() for _ in range(8)))

    async def live(one: Person, method: str) -> None:
        order = await market.order(one, product, method=method)
        await market.order_is(one, order["id"], "failed" if method == "card_declined" else "paid")
        if method == "card_duplicate":
            await market.refunded(one, order["id"])

    methods = ("card", "card_declined", "card_duplicate", "card")
    for _ in range(2):
        await asyncio.gather(*(live(one, method) for one in crowd for method in methods))
    rows = await books.rows("SELECT year, count(*), min(number), max(number) FROM invoices GROUP BY year")
    for year, count, least, most in rows:
        assert (least, most) == (1, count), f"{year} has {count} invoices, from {least} to {most}"
    assert sum(count for _, count, _, _ in rows) >= 64
    bought = "SELECT count(*) FROM orders WHERE paid_at IS NOT NULL"
    given = "SELECT count(*) FROM refunds WHERE kind = 'refund' AND status = 'succeeded'"
    assert sum(count for _, count, _, _ in rows) == await books.value(bought) + await books.value(given)
