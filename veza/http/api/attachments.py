"""Attachments of messages: uploaded to a room, sent with a message, read by the room's members."""

from uuid import UUID

import msgspec
from sanic.response import HTTPResponse

from veza.errors import AttachmentNotFound, FeatureDisabled, NotAMember, RoomNotFound, TooMuchUnsent
from veza.http import downloads
from veza.http.context import Context
from veza.http.downloads import Download
from veza.http.features import ATTACHMENTS
from veza.http.file_kinds import ATTACHMENT_LIMITS, MIB
from veza.http.routing import Resource
from veza.http.uploads import UPLOADS, File
from veza.ids import new_id
from veza.storage import attachments, rooms

resource = Resource("attachments", "Files in conversations.")


class UploadedAttachment(msgspec.Struct, frozen=True):
    """A file that a message may carry: give its id in `attachments` of `send_message` within a day."""

    id: UUID
    name: str
    mime_type: str
    size_bytes: int
    sha256: str


@resource.post(
    "/conversations/<conversation_id>/attachments",
    status=201,
    errors=(RoomNotFound, NotAMember, FeatureDisabled, TooMuchUnsent),
    upload=File,
    limit=UPLOADS,
)
async def upload_attachment(ctx: Context, conversation_id: UUID) -> UploadedAttachment:
    """Upload a file to a conversation.

    Its type is told by its content: an image has at most 10 MiB, audio 200 MiB, anything else 25 MiB. What a person
    has uploaded and no message carries yet takes, together, at most what the platform's setting says (256 MiB).
    """
    ctx.services.switches.require(ATTACHMENTS)
    pool, me = ctx.services.pool, ctx.principal.user_id
    await rooms.require_member(pool, conversation_id, me)
    allowed = ctx.services.settings.max_unsent_mib_per_user * MIB
    left = allowed - await attachments.unsent_bytes(pool, me)
    async with ctx.services.uploads.received(ctx, "attachments", ATTACHMENT_LIMITS, left=left) as file:
        made = attachments.Attachment(
            id=new_id(),
            room_id=conversation_id,
            user_id=me,
            message_id=None,
            name=file.name,
            mime_type=file.mime_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            object_key=file.object_key,
        )
        await attachments.add(pool, made, allowed)
    return UploadedAttachment(made.id, made.name, made.mime_type, made.size_bytes, made.sha256.hex())


@resource.get(
    "/conversations/<conversation_id>/attachments/<attachment_id>",
    errors=(RoomNotFound, NotAMember, AttachmentNotFound),
    produces="*/*",
    download=True,
)
async def download_attachment(ctx: Context, conversation_id: UUID, attachment_id: UUID) -> HTTPResponse:
    """Download a file of a conversation, or a range of it."""
    pool = ctx.services.pool
    await rooms.require_member(pool, conversation_id, ctx.principal.user_id)
    found = await attachments.get(pool, conversation_id, attachment_id)
    if found.message_id is None and found.user_id != ctx.principal.user_id:
        # Not sent yet: nobody else has been shown it.
        raise AttachmentNotFound
    download = Download(found.object_key, found.name, found.mime_type, found.size_bytes, found.sha256)
    return await downloads.send(ctx, download)
