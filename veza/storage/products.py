"""Products: what creators offer. A deleted one is seen by nobody, but what was sold of it stays."""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, PermissionDenied, ProductNotFound
from veza.ids import new_id
from veza.realtime.events import Person
from veza.storage import loose_objects, product_files
from veza.storage.catalogue import ProductType
from veza.storage.database import Connection, sql, transaction
from veza.storage.product_files import ProductFile, StoredFile

MOST_CENTS = 99_999_999
MOST_STOCK = 1_000_000
TITLE_CHARS = 200
DESCRIPTION_CHARS = 5000
# Where its cover is to be had, at the address that answered.
COVER_URL = "/api/v1/marketplace/products/{}/cover"


class ProductStatus(enum.StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"


class Product(msgspec.Struct, frozen=True):
    """`file` is shown to the seller alone, `has_file` to all. Without a `stock` there is no end of it. A draft that
    never was published has no `published_at`.
    """

    id: UUID
    seller: Person
    title: str
    description: str
    price_cents: int
    currency: str
    product_type: ProductType
    file: ProductFile | None
    has_file: bool
    stock: int | None
    status: ProductStatus
    cover_url: str | None
    sold_count: int
    rating_average: float
    rating_count: int
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None


class Standing(msgspec.Struct, frozen=True):
    """What decides who sees a product."""

    seller_id: UUID
    status: ProductStatus
    deleted: bool

    def seen_by(self, viewer_id: UUID | None) -> bool:
        return not self.deleted and (self.status is ProductStatus.PUBLISHED or self.seller_id == viewer_id)


async def standing(connection: Connection, product_id: UUID) -> Standing:
    """Raises ProductNotFound for one that never was."""
    row = await connection.fetchrow(
        "SELECT seller_id, status, deleted_at IS NOT NULL AS deleted FROM products WHERE id = $1", product_id
    )
    if row is None:
        raise ProductNotFound
    return Standing(row["seller_id"], ProductStatus(row["status"]), row["deleted"])


async def require_visible(connection: Connection, product_id: UUID, viewer_id: UUID | None) -> Standing:
    """Raises ProductNotFound for who cannot see it."""
    found = await standing(connection, product_id)
    if not found.seen_by(viewer_id):
        raise ProductNotFound
    return found


async def require_own(connection: Connection, product_id: UUID, seller_id: UUID) -> None:
    """Raises ProductNotFound for who cannot see it, PermissionDenied for who sees it and does not sell it."""
    if (await require_visible(connection, product_id, seller_id)).seller_id != seller_id:
        raise PermissionDenied("Only its seller may do that.")


async def shown(connection: Connection, product_ids: Sequence[UUID], viewer_id: UUID | None) -> list[Product]:
    """Products as somebody sees them, in the order of the ids; what is deleted is left out."""
    rows = await connection.fetch(sql("read_products"), list(product_ids))
    return [_product(row, viewer_id) for row in rows]


async def get(connection: Connection, product_id: UUID, viewer_id: UUID | None) -> Product:
    """Raises ProductNotFound for who cannot see it."""
    for product in await shown(connection, [product_id], viewer_id):
        if product.status is ProductStatus.PUBLISHED or product.seller.id == viewer_id:
            return product
    raise ProductNotFound


async def of_seller(
    connection: Connection, seller_id: UUID, status: ProductStatus | None, limit: int, offset: int
) -> tuple[list[Product], int]:
    """Part of somebody's products with a status (None: all), newest first, and how many those are."""
    where = "seller_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR status = $2)"
    rows = await connection.fetch(
        f"SELECT id FROM products WHERE {where} ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4",  # noqa: S608
        seller_id,
        status,
        limit,
        offset,
    )
    total = await connection.fetchval(f"SELECT count(*) FROM products WHERE {where}", seller_id, status)  # noqa: S608
    return await shown(connection, [row["id"] for row in rows], seller_id), total


async def create(pool: Any, seller_id: UUID, fields: Mapping[str, Any]) -> Product:
    """Offer something; `fields` are by name. Raises InvalidArgument for a file that is not theirs."""
    product_id = new_id()
    async with transaction(pool) as connection:
        await _check_file(connection, seller_id, fields)
        await connection.execute(
            """
            INSERT INTO products (id, seller_id, title, description, price_cents, currency, product_type, file_id,
                                  stock, status, published_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $10 = 'published' THEN now() END)
            """,
            product_id,
            seller_id,
            *(fields[name] for name in _COLUMNS),
        )
        return await get(connection, product_id, seller_id)


# What a seller says of a product.
_COLUMNS = ("title", "description", "price_cents", "currency", "product_type", "file_id", "stock", "status")


async def update(pool: Any, product_id: UUID, seller_id: UUID, changes: Mapping[str, Any]) -> Product:
    """Change these fields. Orders that were made keep what they were made at.

    Raises what `require_own` does, and InvalidArgument for a file that is not theirs.
    """
    async with transaction(pool) as connection:
        await require_own(connection, product_id, seller_id)
        await _check_file(connection, seller_id, changes)
        names = [name for name in _COLUMNS if name in changes]
        settings = "".join(f", {name} = ${place}" for place, name in enumerate(names, 2))
        if changes.get("status") == ProductStatus.PUBLISHED:
            # Whoever takes it back and publishes it again is not new by that.
            settings += ", published_at = coalesce(published_at, now())"
        await _change(connection, product_id, settings, *(changes[name] for name in names))
        return await get(connection, product_id, seller_id)


async def delete(pool: Any, product_id: UUID, seller_id: UUID) -> None:
    """Take a product out of sight for good. Raises what `require_own` does."""
    async with transaction(pool) as connection:
        await require_own(connection, product_id, seller_id)
        await _change(connection, product_id, ", deleted_at = now()")


async def set_cover(pool: Any, product_id: UUID, seller_id: UUID, cover: StoredFile | None) -> Product:
    """Give a product an uploaded image, or none; the object of the one before goes (trigger).

    Raises what `require_own` does, and Unavailable when the upload was given up meanwhile.
    """
    async with transaction(pool) as connection:
        await require_own(connection, product_id, seller_id)
        if cover is not None:
            await loose_objects.claim(connection, cover.object_key)
        await _change(
            connection,
            product_id,
            ", cover_object_key = $2, cover_mime_type = $3, cover_size_bytes = $4, cover_sha256 = $5",
            cover and cover.object_key,
            cover and cover.mime_type,
            cover and cover.size_bytes,
            cover and cover.sha256,
        )
        return await get(connection, product_id, seller_id)


async def cover_of(connection: Connection, product_id: UUID) -> StoredFile | None:
    """The image of a product."""
    row = await connection.fetchrow(
        """
        SELECT cover_object_key AS object_key, 'cover' AS name, cover_mime_type AS mime_type,
               cover_size_bytes AS size_bytes, cover_sha256 AS sha256
        FROM products WHERE id = $1 AND cover_object_key IS NOT NULL
        """,
        product_id,
    )
    return None if row is None else StoredFile(**row)


async def purchase_of(connection: Connection, product_id: UUID, buyer_id: UUID) -> UUID | None:
    """The first order by which somebody has paid for a product and not been given it back."""
    found: UUID | None = await connection.fetchval(
        """
        SELECT o.id
        FROM order_items i JOIN orders o ON o.id = i.order_id
        WHERE i.product_id = $1 AND o.buyer_id = $2 AND o.status IN ('paid', 'partially_refunded')
          AND NOT EXISTS (
              SELECT FROM refund_items ri JOIN refunds r ON r.id = ri.refund_id WHERE ri.item_id = i.id AND ri.active
          )
        ORDER BY o.paid_at, o.id
        LIMIT 1
        """,
        product_id,
        buyer_id,
    )
    return found


async def _change(connection: Connection, product_id: UUID, settings: str, *values: object) -> None:
    done = await connection.execute(
        f"UPDATE products SET updated_at = now(){settings} WHERE id = $1 AND deleted_at IS NULL",  # noqa: S608
        product_id,
        *values,
    )
    if done == "UPDATE 0":
        # Deleted since it was looked at.
        raise ProductNotFound


async def _check_file(connection: Connection, seller_id: UUID, fields: Mapping[str, Any]) -> None:
    file_id = fields.get("file_id")
    if file_id is not None and not await product_files.usable(connection, file_id, seller_id):
        raise InvalidArgument("There is no such file of yours.", (("file_id", "uploaded by yourself within a day"),))


def _product(row: Any, viewer_id: UUID | None) -> Product:
    mine = row["seller_id"] == viewer_id
    file = None
    if mine and row["file_id"] is not None:
        file = ProductFile(row["file_id"], row["file_name"], row["file_size_bytes"], row["file_mime_type"])
    return Product(
        id=row["id"],
        seller=Person(row["seller_id"], row["seller_name"]),
        title=row["title"],
        description=row["description"],
        price_cents=row["price_cents"],
        currency=row["currency"],
        product_type=ProductType(row["product_type"]),
        file=file,
        has_file=row["file_id"] is not None,
        stock=row["stock"],
        status=ProductStatus(row["status"]),
        cover_url=COVER_URL.format(row["id"]) if row["has_cover"] else None,
        sold_count=row["sold_count"],
        rating_average=float(row["rating_average"]),
        rating_count=row["rating_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        published_at=row["published_at"],
    )
