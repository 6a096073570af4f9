"""The object store: any S3, spoken to through aiobotocore, which is imported where it is used (0.4 s)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from veza.config import Settings
from veza.errors import Unavailable

REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30


class ObjectStore:
    """One bucket. The client keeps a pool of connections; use it from one event loop."""

    def __init__(self, client: Any, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it is there. Raises Unavailable."""
        with _translated():
            try:
                await self.client.head_bucket(Bucket=self.bucket)
            except self.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                    raise
                await self.client.create_bucket(Bucket=self.bucket)

    async def check(self, *, timeout: float = 2.0) -> None:
        """Raises Unavailable when the bucket cannot be reached within `timeout` seconds."""
        with _translated():
            async with asyncio.timeout(timeout):
                await self.client.head_bucket(Bucket=self.bucket)


@contextmanager
def _translated() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"The object store does not answer as it should: {type(error).__name__}.") from error


@asynccontextmanager
async def open_objects(settings: Settings) -> AsyncIterator[ObjectStore]:
    """The store that the settings name. Opening it connects to nothing."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(
        signature_version="s3v4",
        # The bucket in the path, not in the host name: works with any endpoint.
        s3={"addressing_style": "path"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"max_attempts": 2, "mode": "standard"},
        max_pool_connections=20,
    )
    client = get_session().create_client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key,
        region_name=REGION,
        config=config,
    )
    async with client as opened:
        yield ObjectStore(opened, settings.s3_bucket)
