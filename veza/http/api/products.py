"""Products: offered by creators, found by everybody."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from veza.errors import InvalidArgument, PermissionDenied, ProductNotFound
from veza.http.context import Context
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.realtime import money
from veza.realtime.names import clean_name
from veza.storage import catalogue, products
from veza.storage.catalogue import ProductType, Sort
from veza.storage.products import DESCRIPTION_CHARS, MOST_CENTS, MOST_STOCK, TITLE_CHARS, Product, ProductStatus

resource = Resource("products", "What creators offer, and how it is found.")

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_CHARS)]
Price = Annotated[int, Meta(ge=1, le=MOST_CENTS, examples=[2999])]
# Judged by `realtime.money`; here it is only described.
Currency = Annotated[
    str, Meta(examples=["EUR"], extra_json_schema={"pattern": "^[A-Za-z]{3}$", "minLength": 3, "maxLength": 3})
]
Stock = Annotated[int, Meta(ge=0, le=MOST_STOCK)]


class NewProduct(msgspec.Struct, frozen=True):
    """`file_id` is of a file that the seller has uploaded within a day, or that another product of theirs has. Without
    a `stock` there is no end of it. `currency` is a code of ISO 4217.
    """

    title: Title
    price_cents: Price
    currency: Currency
    product_type: ProductType
    description: Description = ""
    file_id: UUID | None = None
    stock: Stock | None = None
    status: ProductStatus = ProductStatus.DRAFT


class ProductUpdate(msgspec.Struct, frozen=True):
    """What to change; what is left out stays. `file_id` null takes the file away, `stock` null its end."""

    title: Title | UnsetType = UNSET
    price_cents: Price | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    product_type: ProductType | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    file_id: UUID | UnsetType | None = UNSET
    stock: Stock | UnsetType | None = UNSET
    status: ProductStatus | UnsetType = UNSET


class Wanted(msgspec.Struct, frozen=True):
    """Which products. Those published last come first when nothing is said, and of a search those that match best."""

    limit: Limit = 20
    offset: Offset = 0
    search: Annotated[
        str,
        Meta(
            max_length=200, description="Words of the title or the description; the last may be the beginning of one."
        ),
    ] = ""
    sort: Annotated[Sort, Meta(description="In which order.")] | None = None
    product_type: Annotated[ProductType, Meta(description="Only of this type.")] | None = None
    seller_id: Annotated[UUID, Meta(description="Only of this seller.")] | None = None
    currency: Annotated[Currency, Meta(description="Only in this currency.")] | None = None
    min_price_cents: Annotated[int, Meta(ge=0, le=MOST_CENTS, description="Only at this price or above.")] | None = None
    max_price_cents: Annotated[int, Meta(ge=0, le=MOST_CENTS, description="Only at this price or below.")] | None = None


class OwnWanted(msgspec.Struct, frozen=True):
    """Which of one's own products."""

    limit: Limit = 20
    offset: Offset = 0
    status: Annotated[ProductStatus, Meta(description="Only those in this state.")] | None = None


class Products(msgspec.Struct, frozen=True):
    """In the order that was asked for."""

    products: list[Product]
    total: int


class DeletedProduct(msgspec.Struct, frozen=True):
    """What is gone."""

    id: UUID
    deleted: bool = True


@resource.get("/marketplace/products", auth=Auth.NONE, errors=(InvalidArgument,))
async def list_products(ctx: Context, query: Wanted) -> Products:
    """List what is for sale.

    A search finds at most 1000 products, the first in the order that is asked for; `total` counts no further. Where
    more match, too many to be compared, those sold most come first in place of those that match best.
    """
    narrowing = catalogue.Narrowing(
        product_type=query.product_type,
        seller_id=query.seller_id,
        currency=None if query.currency is None else money.currency(query.currency),
        min_price_cents=query.min_price_cents,
        max_price_cents=query.max_price_cents,
    )
    pool = ctx.services.pool
    ids, total = await catalogue.page(
        pool, search=query.search, sort=query.sort, narrowing=narrowing, limit=query.limit, offset=query.offset
    )
    return Products(await products.shown(pool, ids, None), total)


@resource.get("/marketplace/products/<product_id>", auth=Auth.OPTIONAL, errors=(ProductNotFound,))
async def get_product(ctx: Context, product_id: UUID) -> Product:
    """Get a product. A draft is seen by its seller alone."""
    return await products.get(ctx.services.pool, product_id, None if ctx.caller is None else ctx.caller.user_id)


@resource.post("/marketplace/products", status=201, auth=Auth.CREATOR, errors=(InvalidArgument,), idempotent=True)
async def create_product(ctx: Context, body: NewProduct) -> Product:
    """Offer something for sale."""
    return await products.create(ctx.services.pool, ctx.principal.user_id, _fields(body))


@resource.put(
    "/marketplace/products/<product_id>",
    auth=Auth.CREATOR,
    errors=(ProductNotFound, PermissionDenied, InvalidArgument),
)
async def update_product(ctx: Context, product_id: UUID, body: ProductUpdate) -> Product:
    """Change a product of one's own.

    What was ordered keeps the price it was ordered at. With `status` draft it is no longer for sale.
    """
    return await products.update(ctx.services.pool, product_id, ctx.principal.user_id, _fields(body))


@resource.delete("/marketplace/products/<product_id>", errors=(ProductNotFound, PermissionDenied))
async def delete_product(ctx: Context, product_id: UUID) -> DeletedProduct:
    """Delete a product of one's own. Who bought it can still download its file."""
    await products.delete(ctx.services.pool, product_id, ctx.principal.user_id)
    return DeletedProduct(product_id)


@resource.get("/sell/products")
async def list_own_products(ctx: Context, query: OwnWanted) -> Products:
    """List one's own products, drafts too, newest first."""
    found, total = await products.of_seller(
        ctx.services.pool, ctx.principal.user_id, query.status, query.limit, query.offset
    )
    return Products(found, total)


def _fields(body: NewProduct | ProductUpdate) -> dict[str, Any]:
    """The fields that were given, by name, as they are stored. Raises InvalidArgument."""
    given = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}
    if "title" in given:
        given["title"] = clean_name(given["title"], TITLE_CHARS, "title")
    if "currency" in given:
        given["currency"] = money.currency(given["currency"])
    return given
