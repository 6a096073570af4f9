"""The REST side, by subject."""

from collections.abc import Callable

from veza.client.attachments import AttachmentCalls
from veza.client.conversations import ConversationCalls
from veza.client.live import LiveCalls
from veza.client.live_moderation import LiveModerationCalls
from veza.client.models import Notification
from veza.client.moderation import ModerationCalls
from veza.client.notifications import NotificationCalls
from veza.client.transport import Transport


class Calls:
    """What `Client` shows as attributes of its own, and rooms use."""

    def __init__(self, transport: Transport, on_notification: Callable[[Notification], None] | None) -> None:
        self.conversations = ConversationCalls(transport)
        self.moderation = ModerationCalls(transport)
        self.attachments = AttachmentCalls(transport)
        self.live = LiveCalls(transport)
        self.live_moderation = LiveModerationCalls(transport)
        self.notifications = NotificationCalls(transport, on_notification)
