"""Reviews of products, by who has bought them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, PermissionDenied, ProductNotFound
from veza.http.context import Context
from veza.http.params import Paging
from veza.http.routing import Auth, Resource
from veza.storage import products, reviews
from veza.storage.reviews import COMMENT_CHARS, Review

resource = Resource("reviews", "What buyers think of products.")


class NewReview(msgspec.Struct, frozen=True):
    """From 1 to 5, the more the better."""

    rating: Annotated[int, Meta(ge=1, le=5, examples=[5])]
    comment: Annotated[str, Meta(max_length=COMMENT_CHARS, examples=["Amazing track!"])] = ""


class Reviews(msgspec.Struct, frozen=True):
    """Newest first."""

    reviews: list[Review]
    total: int


@resource.get("/marketplace/products/<product_id>/reviews", auth=Auth.NONE, errors=(ProductNotFound,))
async def list_reviews(ctx: Context, product_id: UUID, query: Paging) -> Reviews:
    """List the reviews of a product that is for sale."""
    pool = ctx.services.pool
    await products.require_visible(pool, product_id, None)
    found, total = await reviews.page(pool, product_id, query.limit, query.offset)
    return Reviews(found, total)


@resource.post(
    "/marketplace/products/<product_id>/reviews", status=201, errors=(ProductNotFound, PermissionDenied, Conflict)
)
async def create_review(ctx: Context, product_id: UUID, body: NewReview) -> Review:
    """Review a product that one has paid for and not given back, once."""
    return await reviews.create(ctx.services.pool, product_id, ctx.principal.user_id, body.rating, body.comment.strip())
