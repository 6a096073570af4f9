"""The object store: any S3, spoken to through aiobotocore.

Its import takes 0.4 s, so it and the client are made when they are first needed.
"""

import asyncio
import importlib
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from veza.config import Settings
from veza.errors import Unavailable

REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
# The least that S3 takes as a part of an object, the last one apart.
PART_BYTES = 5 * 1024 * 1024
READ_BYTES = 64 * 1024


class ObjectStore:
    """One bucket. Connects to nothing until it is used; keeps a pool of connections; use it from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self._settings = settings
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()

    async def client(self) -> Any:
        """The S3 client of aiobotocore."""
        async with self._opening:
            if self._client is None:
                await asyncio.to_thread(importlib.import_module, "aiobotocore.session")
                self._client = await self._opened.enter_async_context(_make_client(self._settings))
        return self._client

    async def close(self) -> None:
        await self._opened.aclose()

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it is there. Raises Unavailable."""
        client = await self.client()
        with translated():
            try:
                await client.head_bucket(Bucket=self.bucket)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                    raise
                await client.create_bucket(Bucket=self.bucket)

    async def check(self, *, timeout: float = 2.0) -> None:
        """Raises Unavailable when the bucket cannot be reached within `timeout` seconds."""
        client = await self.client()
        with translated():
            async with asyncio.timeout(timeout):
                await client.head_bucket(Bucket=self.bucket)

    def writer(self, key: str, mime_type: str) -> "ObjectWriter":
        """Writes one object, piece by piece."""
        return ObjectWriter(self, key, mime_type)

    @asynccontextmanager
    async def read(self, key: str, first: int, last: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes `first` to `last` (both included) of an object, in pieces. Raises Unavailable, also between them,
        and for an object that is not there.
        """
        client = await self.client()
        with translated():
            answer = await client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{last}")
        async with answer["Body"] as body:
            yield _pieces(body)

    async def link(self, key: str, disposition: str, mime_type: str, seconds: int) -> str:
        """An address where anybody who has it may fetch an object for so long, with this Content-Disposition.

        Nobody is asked: whether there is such an object is not looked at.
        """
        client = await self.client()
        url: str = await client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": disposition,
                "ResponseContentType": mime_type,
            },
            ExpiresIn=seconds,
        )
        return url

    async def remove(self, key: str) -> None:
        """Remove an object, and what was uploaded of it; one that is not there is no error. Raises Unavailable."""
        client = await self.client()
        with translated():
            begun = await client.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
            for upload in begun.get("Uploads", ()):
                if upload["Key"] == key:
                    await client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload["UploadId"])
            await client.delete_object(Bucket=self.bucket, Key=key)


class ObjectWriter:
    """`write` pieces, then `finish`. Holds one part in memory. Every method raises Unavailable.

    One that is given up leaves parts behind: `ObjectStore.remove` takes them away.
    """

    def __init__(self, store: ObjectStore, key: str, mime_type: str) -> None:
        self._store = store
        self._object = {"Bucket": store.bucket, "Key": key}
        self._mime_type = mime_type
        self._part = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []

    async def write(self, piece: bytes) -> None:
        self._part += piece
        if len(self._part) >= PART_BYTES:
            await self._send_part()

    async def finish(self) -> None:
        """The object is there, whole, when this returns."""
        client = await self._store.client()
        if self._upload_id is None:
            with translated():
                await client.put_object(**self._object, Body=self._taken(), ContentType=self._mime_type)
            return
        if self._part:
            await self._send_part()
        with translated():
            await client.complete_multipart_upload(
                **self._object, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )

    async def _send_part(self) -> None:
        client = await self._store.client()
        with translated():
            if self._upload_id is None:
                begun = await client.create_multipart_upload(**self._object, ContentType=self._mime_type)
                self._upload_id = begun["UploadId"]
            number = len(self._parts) + 1
            done = await client.upload_part(
                **self._object, UploadId=self._upload_id, PartNumber=number, Body=self._taken()
            )
        self._parts.append({"PartNumber": number, "ETag": done["ETag"]})

    def _taken(self) -> io.BytesIO:
        body = io.BytesIO(self._part)
        self._part = bytearray()
        return body


async def _pieces(body: Any) -> AsyncIterator[bytes]:
    with translated():
        async for piece in body.iter_chunks(READ_BYTES):
            yield piece


@contextmanager
def translated() -> Iterator[None]:
    """What the store's client raises becomes Unavailable."""
    from aiohttp import ClientError as ConnectionFailed
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ConnectionFailed, OSError, TimeoutError) as error:
        raise Unavailable(f"The object store does not answer as it should: {type(error).__name__}.") from error


def _make_client(settings: Settings) -> Any:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(
        signature_version="s3v4",
        # The bucket in the path, not in the host name: works with any endpoint. Bodies are not signed: hashing a part
        # would hold the event loop for 10 ms.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"max_attempts": 2, "mode": "standard"},
        max_pool_connections=20,
    )
    return get_session().create_client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key,
        region_name=REGION,
        config=config,
    )


@asynccontextmanager
async def open_objects(settings: Settings) -> AsyncIterator[ObjectStore]:
    """The store that the settings name."""
    store = ObjectStore(settings)
    try:
        yield store
    finally:
        await store.close()
