"""Who may publish: streams' shards are asked, told when a source has gone, and obeyed when one must go."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec

from veza.actors.ingest.listener import Feed
from veza.actors.ingest.pipelines import Pipelines
from veza.actors.shard_links import ShardLinks
from veza.errors import Conflict, Unauthenticated, Unavailable, VezaError
from veza.realtime import stream_commands as s
from veza.storage import stream_keys, streams
from veza.storage.database import FAILURES
from veza.storage.stream_keys import StreamSecrets

log = logging.getLogger(__name__)


class _Source(msgspec.Struct, frozen=True):
    """One that publishes, and by whose key."""

    id: UUID
    stream_id: UUID
    user_id: UUID
    key_hash: bytes


class ShardDesk:
    """A `listener.Desk`. `cut(source_id, reason)` closes a source's connection.

    A source stays known from when its shard let it in until it has gone; that it has is told until a shard heard it.
    """

    def __init__(
        self,
        name: str,
        pool: Any,
        links: ShardLinks,
        *,
        secrets: StreamSecrets,
        pipelines: Pipelines,
        cut: Callable[[UUID, str], object],
    ) -> None:
        self._name = name
        self._pool = pool
        self._secrets = secrets
        self._links = links
        self._pipelines = pipelines
        self._cut = cut
        self._sources: dict[UUID, _Source] = {}
        self._admitting: dict[UUID, asyncio.Event] = {}  # by source; set when it is known whether it may
        self._unclaimed: set[UUID] = set()  # sources whose shard may not know them
        self._gone: dict[UUID, tuple[UUID, bool]] = {}  # sources that a shard has to hear of: stream, clean
        self._claiming: set[UUID] = set()  # sources whose shard is being asked
        self._telling: set[UUID] = set()  # sources whose shard is being told that they have gone
        self.all_told = asyncio.Event()  # no source has gone of which no shard has heard
        self.all_told.set()

    # -- admission -------------------------------------------------------------------------------------------

    async def admit(self, key: str, source_id: UUID) -> Feed:
        """Raises Unauthenticated for a key that is nobody's, what the shard refuses with, and Unavailable."""
        try:
            user_id = await stream_keys.user_of_key(self._pool, self._secrets, key)
            if user_id is None:
                raise Unauthenticated("This stream key is not valid.")
            with self._admission(source_id):
                return await self._publish(user_id, source_id, self._secrets.hash(key))
        except FAILURES as error:
            raise Unavailable("Streams cannot be taken right now; try again shortly.") from error

    @contextmanager
    def _admission(self, source_id: UUID) -> Iterator[None]:
        known = self._admitting[source_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._admitting[source_id]
            known.set()

    @property
    def admitting(self) -> bool:
        """Whether somebody who has a key is being let in."""
        return bool(self._admitting)

    async def admitted(self) -> None:
        """Wait until all who are being let in now are in, or are not."""
        for known in list(self._admitting.values()):
            await known.wait()

    async def _publish(self, user_id: UUID, source_id: UUID, key_hash: bytes) -> Feed:
        stream_id = await streams.newest_open_or_create(self._pool, user_id)
        try:
            return await self._claimed(_Source(source_id, stream_id, user_id, key_hash))
        except Conflict:
            # It ended meanwhile; if that was not the reason the next answer is the same.
            other = await streams.newest_open_or_create(self._pool, user_id)
            if other == stream_id:
                raise
        return await self._claimed(_Source(source_id, other, user_id, key_hash))

    async def _claimed(self, source: _Source) -> Feed:
        try:
            answer = await self._links.ask(lambda ref: self._claim(source, ref), source.stream_id)
        except Unavailable:
            # It may have been let in all the same.
            self._tell_gone(source.id, source.stream_id, clean=False)
            raise
        return self._open(source, msgspec.convert(answer, s.Published))

    def _open(self, source: _Source, published: s.Published) -> Feed:
        try:
            feed = self._pipelines.feed(published, lambda clean: self._ended(source, clean))
        except (OSError, Unavailable) as error:
            log.exception("stream cannot be written", extra={"stream": source.stream_id})
            self._tell_gone(source.id, source.stream_id, clean=False)
            raise Unavailable("The stream cannot be written right now.") from error
        self._sources[source.id] = source
        return feed

    def _claim(self, source: _Source, ref: int) -> s.PublishSource:
        return s.PublishSource(ref, source.stream_id, source.id, self._name, source.key_hash)

    # -- sources that have gone ------------------------------------------------------------------------------

    async def sign_off(self) -> None:
        """To be called before anybody is let in: what is said to come from here are streams that were taken over, and
        their sources' connections ended with the Ingest that had them. A shard that read of them only now would wait
        for us to tell. Raises FAILURES.
        """
        for stream_id, source_id in await streams.fed_by(self._pool, self._name):
            self._tell_gone(source_id, stream_id, clean=False)

    def _ended(self, source: _Source, clean: bool) -> None:
        self._sources.pop(source.id, None)
        self._unclaimed.discard(source.id)
        self._tell_gone(source.id, source.stream_id, clean=clean)

    def _tell_gone(self, source_id: UUID, stream_id: UUID, *, clean: bool) -> None:
        self._gone[source_id] = stream_id, clean
        self._telling.add(source_id)
        self.all_told.clear()

        def handle(answer: Any) -> None:
            self._telling.discard(source_id)
            # While no shard can be asked it is told again; one that refuses knows no such stream.
            if not isinstance(answer, Unavailable):
                self._gone.pop(source_id, None)
                if not self._gone:
                    self.all_told.set()
                self._pipelines.look()

        self._links.request(lambda ref: s.SourceGone(ref, stream_id, source_id, clean), stream_id, handle)

    @property
    def untold(self) -> int:
        """How many have gone of which no shard has heard yet."""
        return len(self._gone)

    # -- sources that may have to go -------------------------------------------------------------------------

    def moved(self, partitions: set[int]) -> None:
        """Shards that own these now may not know of our sources."""
        self._doubt(lambda source: self._links.router.partition(source.stream_id) in partitions)

    def lagged(self, shard: str) -> None:
        """This shard may have taken us for dead."""
        self._doubt(lambda source: self._links.router.owner(source.stream_id) == shard)

    def _doubt(self, doubtful: Callable[[_Source], bool]) -> None:
        for source in list(self._sources.values()):
            if doubtful(source):
                self._unclaimed.add(source.id)
                self._reclaim(source)

    def _reclaim(self, source: _Source) -> None:
        self._claiming.add(source.id)

        def handle(answer: Any) -> None:
            self._claiming.discard(source.id)
            if isinstance(answer, Unavailable):
                return  # again with the next `retry`
            self._unclaimed.discard(source.id)
            if isinstance(answer, VezaError):
                self._cut(source.id, answer.message)

        self._links.request(lambda ref: self._claim(source, ref), source.stream_id, handle)

    def retry(self) -> None:
        """Say again what no shard has heard. To be called now and then."""
        for source_id in self._unclaimed - self._claiming:
            self._reclaim(self._sources[source_id])
        for source_id in self._gone.keys() - self._telling:
            stream_id, clean = self._gone[source_id]
            self._tell_gone(source_id, stream_id, clean=clean)

    async def check_keys(self, user_id: UUID | None = None) -> None:
        """Cut whoever may not publish any more, of one user or of all. Raises FAILURES."""
        users = {source.user_id for source in self._sources.values()}
        for each in users if user_id is None else users & {user_id}:
            valid = await stream_keys.hash_of(self._pool, each)
            for source in [found for found in self._sources.values() if found.user_id == each]:
                if source.key_hash != valid:
                    self._cut(source.id, "its key is not valid any more")
