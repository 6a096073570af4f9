"""What products deliver and how they look: files and covers, uploaded by sellers; downloads, by who has paid."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from sanic.response import HTTPResponse

from veza.errors import NotFound, PermissionDenied, ProductNotFound, TooMuchUnsent, Unavailable
from veza.http import downloads
from veza.http.context import Context
from veza.http.downloads import Download
from veza.http.file_kinds import COVER_LIMITS, GOODS_LIMITS, goods_kind_of, listed_kind_of
from veza.http.routing import Auth, Resource
from veza.http.uploads import UPLOADS, File, Upload
from veza.ids import new_id
from veza.storage import product_files, products
from veza.storage.product_files import StoredFile
from veza.storage.products import Product

resource = Resource("product files", "What products deliver, and their covers.")

# A link is followed at once; who comes back later asks for another.
LINK_SECONDS = 900


class UploadedFile(msgspec.Struct, frozen=True):
    """A file that a product may deliver: give its id as `file_id` of one within a day."""

    id: UUID
    name: str
    mime_type: str
    size_bytes: int
    sha256: str


class DownloadLink(msgspec.Struct, frozen=True):
    """`url` needs no token until `expires_at`."""

    url: str
    expires_at: datetime
    name: str
    size_bytes: int
    mime_type: str
    sha256: str


@resource.post("/marketplace/files", status=201, auth=Auth.CREATOR, errors=(TooMuchUnsent,), upload=File, limit=UPLOADS)
async def upload_file(ctx: Context) -> UploadedFile:
    """Upload what a product is to deliver.

    Its type is told by its content: audio has at most 200 MiB, an image 10 MiB, a ZIP archive 500 MiB, anything else
    25 MiB. What a seller has uploaded and no product delivers takes at most 1 GiB together.
    """
    pool, me = ctx.services.pool, ctx.principal.user_id
    left = product_files.MOST_UNUSED_BYTES - await product_files.unused_bytes(pool, me)
    receiving = ctx.services.uploads.received(ctx, "products", GOODS_LIMITS, left=left, kind=goods_kind_of)
    async with receiving as file:
        file_id = new_id()
        await product_files.add(pool, file_id, me, _stored(file))
    return UploadedFile(file_id, file.name, file.mime_type, file.size_bytes, file.sha256.hex())


@resource.put(
    "/marketplace/products/<product_id>/cover",
    auth=Auth.CREATOR,
    errors=(ProductNotFound, PermissionDenied),
    upload=File,
    limit=UPLOADS,
)
async def set_cover(ctx: Context, product_id: UUID) -> Product:
    """Give a product of one's own a cover: a JPEG, PNG, WebP or GIF of at most 10 MiB."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    await products.require_own(pool, product_id, me)
    async with ctx.services.uploads.received(ctx, "covers", COVER_LIMITS, kind=listed_kind_of) as file:
        return await products.set_cover(pool, product_id, me, _stored(file))


@resource.get(
    "/marketplace/products/<product_id>/cover",
    auth=Auth.OPTIONAL,
    errors=(ProductNotFound, NotFound),
    produces="*/*",
    download=True,
)
async def get_cover(ctx: Context, product_id: UUID) -> HTTPResponse:
    """Get a product's cover. That of a draft is seen by its seller alone."""
    pool = ctx.services.pool
    found = await products.require_visible(pool, product_id, None if ctx.caller is None else ctx.caller.user_id)
    cover = await products.cover_of(pool, product_id)
    if cover is None:
        raise NotFound("This product has no cover.")
    download = Download(cover.object_key, cover.name, cover.mime_type, cover.size_bytes, cover.sha256)
    return await downloads.send(ctx, download, shown=True, public=found.seen_by(None))


@resource.delete("/marketplace/products/<product_id>/cover", errors=(ProductNotFound, PermissionDenied))
async def delete_cover(ctx: Context, product_id: UUID) -> Product:
    """Take the cover of a product of one's own away, if it has one."""
    return await products.set_cover(ctx.services.pool, product_id, ctx.principal.user_id, None)


@resource.get(
    "/marketplace/products/<product_id>/download", errors=(ProductNotFound, NotFound, PermissionDenied, Unavailable)
)
async def download_product(ctx: Context, product_id: UUID) -> DownloadLink:
    """Get a link to a product's file, for who has paid for it and for its seller.

    The link is good for 15 minutes. Also what was deleted since can be downloaded by who has paid for it; what was
    refunded cannot.
    """
    pool, me = ctx.services.pool, ctx.principal.user_id
    product = await products.standing(pool, product_id)
    mine = product.seller_id == me and not product.deleted
    if not mine and await products.purchase_of(pool, product_id, me) is None:
        if not product.seen_by(me):
            raise ProductNotFound
        raise PermissionDenied("Only who bought it may download it.")
    file = await product_files.of_product(pool, product_id)
    if file is None:
        raise NotFound("This product has no file.")
    if ctx.services.objects is None:
        raise Unavailable
    # Told a little early rather than late.
    expires_at = datetime.now(UTC) + timedelta(seconds=LINK_SECONDS)
    url = await ctx.services.objects.link(
        file.object_key, downloads.disposition(file.name), file.mime_type, LINK_SECONDS
    )
    return DownloadLink(url, expires_at, file.name, file.size_bytes, file.mime_type, file.sha256.hex())


def _stored(upload: Upload) -> StoredFile:
    return StoredFile(upload.object_key, upload.name, upload.mime_type, upload.size_bytes, upload.sha256)
