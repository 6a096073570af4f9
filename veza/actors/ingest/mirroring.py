"""What a gateway of another node is sent when it begins to play a stream: the files that its playlist names."""

import asyncio
import contextlib
from pathlib import Path

from veza.actors.gateway_links import GatewayLinks
from veza.actors.ingest.recorder import STATE
from veza.realtime import stream_commands as s


async def send_files(directory: Path, playback_id: str, gateway: str, links: GatewayLinks) -> None:
    """Oldest first, one at a time: its outbox would not hold them all. Raises OSError."""
    for path in await asyncio.to_thread(_files, directory):
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            continue  # its time was over meanwhile
        links.tell(gateway, s.MediaFile(playback_id, path.name, data))
        await links.flushed_to(gateway)


def _files(directory: Path) -> list[Path]:
    found = []
    for path in directory.iterdir() if directory.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # its time was over meanwhile
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found) if _is_shown(path.name)]


def _is_shown(name: str) -> bool:
    return name != STATE and not name.startswith(".")
