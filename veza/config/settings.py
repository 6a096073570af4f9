"""The settings themselves: their types, and the variable each is read from."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from veza.config import values
from veza.config.renditions import Rendition

Environment = Literal["development", "test", "production"]
Origin = Literal["default", "environment", ".env", "generated", "embedded"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field a variable; durations are seconds, rates are events a second unless named otherwise."""

    app_env: Environment
    app_domain: str
    host: str
    port: int
    database_url: str
    redis_url: str
    s3_endpoint_url: str
    s3_bucket: str
    aws_access_key_id: str
    aws_secret_access_key: str
    jwt_secret: str
    stripe_secret_key: str
    stripe_api_base: str
    hyperswitch_base_url: str
    hyperswitch_api_key: str
    hyperswitch_webhook_secret: str
    platform_fee_rate: Decimal
    transfer_retry_enabled: bool
    transfer_retry_base_seconds: float
    refund_window_days: int
    rate_limit_global: int
    rate_limit_per_ip: int
    chat_messages_per_minute: int
    chat_message_burst: int
    chat_away_seconds: float
    chat_warnings_before_mute: int
    chat_warning_mute_seconds: int
    live_grace_seconds: float
    live_take_over: bool
    live_renditions: tuple[Rendition, ...]
    ffmpeg: str
    trusted_proxies: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    security_contact: str
    data_dir: Path
    gateways: int
    room_shards: int
    stream_shards: int
    transfer_processors: int
    max_sockets_per_user: int
    max_unsent_mib_per_user: int
    audit_retention_months: int
    rtmp_port: int
    ray_address: str
    log_level: str
    log_format: Literal["text", "json"]
    origins: dict[str, Origin] = {}

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def live_dir(self) -> Path:
        """Where a node keeps the files of live streams."""
        return self.data_dir / "live"

    @property
    def recordings_dir(self) -> Path:
        """Where a node keeps what is recorded until the object store has it. Of the same disk as `live_dir`."""
        return self.data_dir / "recordings"

    def origin(self, name: str) -> Origin:
        """Where the value of the field `name` came from."""
        return self.origins.get(name, "default")


class Variable(msgspec.Struct, frozen=True):
    """A setting's place in the environment."""

    name: str
    parse: Callable[[str], Any]
    default: str
    secret: bool = False

    @property
    def field(self) -> str:
        return self.name.removeprefix("VEZA_").lower()


VARIABLES: tuple[Variable, ...] = (
    Variable("APP_ENV", values.choice("development", "test", "production"), "development"),
    Variable("APP_DOMAIN", values.domain, "localhost"),
    Variable("HOST", values.host, "127.0.0.1"),
    Variable("PORT", values.whole(1, 65535), "8080"),
    Variable("DATABASE_URL", values.url("postgres", "postgresql"), "", secret=True),
    Variable("REDIS_URL", values.url("redis", "rediss", "unix"), "", secret=True),
    Variable("S3_ENDPOINT_URL", values.url("http", "https"), ""),
    Variable("S3_BUCKET", values.bucket, "veza"),
    Variable("AWS_ACCESS_KEY_ID", values.text, "", secret=True),
    Variable("AWS_SECRET_ACCESS_KEY", values.text, "", secret=True),
    Variable("JWT_SECRET", values.text, "", secret=True),
    Variable("STRIPE_SECRET_KEY", values.text, "", secret=True),
    Variable("STRIPE_API_BASE", values.url("http", "https"), ""),
    Variable("HYPERSWITCH_BASE_URL", values.url("http", "https"), ""),
    Variable("HYPERSWITCH_API_KEY", values.text, "", secret=True),
    Variable("HYPERSWITCH_WEBHOOK_SECRET", values.text, "", secret=True),
    Variable("PLATFORM_FEE_RATE", values.rate, "0.10"),
    Variable("TRANSFER_RETRY_ENABLED", values.flag, "true"),
    Variable("TRANSFER_RETRY_BASE_SECONDS", values.seconds(0.01, 86400), "60"),
    Variable("REFUND_WINDOW_DAYS", values.whole(0, 3650), "14"),
    Variable("RATE_LIMIT_GLOBAL", values.whole(1, 10**9), "1000"),
    Variable("RATE_LIMIT_PER_IP", values.whole(1, 10**9), "100"),
    Variable("CHAT_MESSAGES_PER_MINUTE", values.whole(1, 10**9), "60"),
    Variable("CHAT_MESSAGE_BURST", values.whole(1, 10**9), "10"),
    Variable("CHAT_AWAY_SECONDS", values.seconds(1, 86400), "300"),
    # The third warning in a room, the sixth, … mutes there; 0: none does.
    Variable("CHAT_WARNINGS_BEFORE_MUTE", values.whole(0, 1000), "3"),
    Variable("CHAT_WARNING_MUTE_SECONDS", values.whole(1, 10**8), "3600"),
    Variable("LIVE_GRACE_SECONDS", values.seconds(0, 86400), "60"),
    Variable("LIVE_TAKE_OVER", values.flag, "true"),
    Variable("LIVE_RENDITIONS", values.renditions, ""),
    Variable("FFMPEG", values.text, "ffmpeg"),
    Variable("TRUSTED_PROXIES", values.networks, ""),
    Variable("ALLOWED_ORIGINS", values.web_origins, ""),
    Variable("SECURITY_CONTACT", values.contact, ""),
    Variable("VEZA_DATA_DIR", values.directory, ".veza"),
    # Two, so that the death of one leaves the port answered.
    Variable("VEZA_GATEWAYS", values.whole(1, 64), "2"),
    Variable("VEZA_ROOM_SHARDS", values.whole(1, 256), "2"),
    Variable("VEZA_STREAM_SHARDS", values.whole(1, 256), "1"),
    Variable("VEZA_TRANSFER_PROCESSORS", values.whole(1, 64), "1"),
    Variable("VEZA_MAX_SOCKETS_PER_USER", values.whole(1, 10**6), "64"),
    Variable("VEZA_MAX_UNSENT_MIB_PER_USER", values.whole(1, 10**6), "256"),
    Variable("VEZA_AUDIT_RETENTION_MONTHS", values.whole(1, 1200), "13"),
    Variable("RTMP_PORT", values.whole(1, 65535), "1935"),
    Variable("RAY_ADDRESS", values.text, ""),
    Variable("LOG_LEVEL", values.choice("debug", "info", "warning", "error"), "info"),
    Variable("LOG_FORMAT", values.choice("text", "json"), "text"),
)
