"""People who sell, buy and look around, and what they do over REST."""

import io
import zipfile
from typing import Any
from uuid import UUID

import httpx
from gateways import Gateway
from people import registered

from veza.ids import new_id

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
FLAC = b"fLaC" + b"\0" * 100


def pack() -> bytes:
    """A ZIP archive."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("kick.wav", b"RIFF" + bytes(5000))
    return written.getvalue()


class Someone:
    def __init__(self, shop: Gateway, grant: dict[str, Any]) -> None:
        self._shop = shop
        self.id = UUID(grant["user"]["id"])
        self.username: str = grant["user"]["username"]
        self.token: str = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._shop.call(method, path, token=self.token, **options)

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The `data` of an answer with that status."""
        response = await self.ask(method, path, **options)
        assert response.status_code == status, response.text
        return response.json()["data"]

    async def offered(self, **changed: Any) -> dict[str, Any]:
        """A new product, published unless said otherwise."""
        found: dict[str, Any] = await self.call("POST", "/marketplace/products", 201, json=offer(**changed))
        return found

    async def uploaded(self, content: bytes = FLAC, name: str = "aria.flac") -> dict[str, Any]:
        found: dict[str, Any] = await self.call("POST", "/marketplace/files", 201, files={"file": (name, content)})
        return found


def offer(**changed: Any) -> dict[str, Any]:
    """The body of a new product."""
    body = {"title": "Aria", "price_cents": 2999, "currency": "EUR", "product_type": "track", "status": "published"}
    return {**body, **changed}


async def seller(shop: Gateway) -> Someone:
    found = Someone(shop, await registered(shop))
    await found.call("POST", "/users/me/creator")
    return found


async def bought(pool: Any, buyer: Someone, *product_ids: str, status: str = "paid") -> list[UUID]:
    """The ids of the items of a new order."""
    order_id = new_id()
    await pool.execute(
        """
        INSERT INTO orders (id, buyer_id, status, currency, total_cents, fee_cents, payment_method,
                            expires_at, paid_at)
        VALUES ($1, $2, $3, 'EUR', 2999, 300, 'card', now(),
                CASE WHEN $3 IN ('paid', 'partially_refunded', 'refunded') THEN now() END)
        """,
        order_id,
        buyer.id,
        status,
    )
    items = [new_id() for _ in product_ids]
    for position, (item, product_id) in enumerate(zip(items, product_ids, strict=True)):
        await pool.execute(
            """
            INSERT INTO order_items (id, order_id, position, product_id, seller_id, title, product_type, unit_cents,
                                     quantity)
            SELECT $1, $2, $3, id, seller_id, title, product_type, price_cents, 1 FROM products WHERE id = $4
            """,
            item,
            order_id,
            position,
            UUID(product_id),
        )
    return items


async def refunded(pool: Any, item_id: UUID) -> UUID:
    """The id of a refund that is under way."""
    refund_id = new_id()
    await pool.execute(
        """
        INSERT INTO refunds (id, order_id, kind, amount_cents, reason)
        SELECT $1, order_id, 'refund', 1, 'broken' FROM order_items WHERE id = $2
        """,
        refund_id,
        item_id,
    )
    await pool.execute("INSERT INTO refund_items (refund_id, item_id) VALUES ($1, $2)", refund_id, item_id)
    return refund_id
