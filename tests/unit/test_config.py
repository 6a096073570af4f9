"""Settings: defaults, origins, refusals, secrets."""

import os
import pickle
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from veza.config import Rendition, load_secrets, load_settings, masked
from veza.errors import ConfigError

PRODUCTION = {
    "APP_ENV": "production",
    "APP_DOMAIN": "veza.test",
    "DATABASE_URL": "postgresql://veza:pw@db.test/veza",
    "REDIS_URL": "redis://cache.test",
    "S3_ENDPOINT_URL": "https://s3.test",
    "AWS_ACCESS_KEY_ID": "AKIA0123456789",
    "AWS_SECRET_ACCESS_KEY": "0123456789abcdefghij",
    "JWT_SECRET": "kV8qZ2mB5nX7cR1tY4wP9sD3fG6hJ0aL",
    "STRIPE_SECRET_KEY": "sk_live_0123456789",
    "HYPERSWITCH_BASE_URL": "https://pay.test",
    "HYPERSWITCH_API_KEY": "0123456789",
    "HYPERSWITCH_WEBHOOK_SECRET": "uT3rE6wQ9yI2oP5aS8dF1gH4jK7lZ0xC",
}


def load(env: dict[str, str], tmp_path: Path, **options: bool):
    return load_settings({"VEZA_DATA_DIR": str(tmp_path / "data"), **env}, None, **options)


def refusal(env: dict[str, str], tmp_path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(env, tmp_path)
    message = caught.value.message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    assert (settings.app_env, settings.port, settings.database_url) == ("development", 8080, "")
    assert settings.platform_fee_rate == Decimal("0.10")
    assert (settings.chat_messages_per_minute, settings.chat_message_burst) == (60, 10)
    assert settings.room_shards >= 2
    assert settings.origin("database_url") == "embedded"
    assert settings.origin("jwt_secret") == "generated"
    assert settings.origin("port") == "default"


def test_environment_goes_before_the_file_and_empty_counts_as_unset(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=9001\nRTMP_PORT=9002 # beside it\nLOG_LEVEL='debug'\nexport S3_BUCKET=songs\n")
    env = {"PORT": "9003", "LOG_LEVEL": "", "VEZA_DATA_DIR": str(tmp_path / "data")}
    settings = load_settings(env, dotenv)
    assert (settings.port, settings.rtmp_port, settings.log_level) == (9003, 9002, "debug")
    assert settings.s3_bucket == "songs"
    assert settings.origin("port") == "environment"
    assert settings.origin("log_level") == ".env"


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=9001\n'what\n")
    with pytest.raises(ConfigError, match=r"Line 2 of .*\.env"):
        load_settings({"VEZA_DATA_DIR": str(tmp_path)}, dotenv)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "1e3"),
        ("HOST", "not a host"),
        ("APP_ENV", "staging"),
        ("APP_DOMAIN", "https://veza.test"),
        ("DATABASE_URL", "mysql://db/veza"),
        ("DATABASE_URL", "postgresql://db:port/veza"),
        ("REDIS_URL", "localhost:6379"),
        ("S3_ENDPOINT_URL", "s3.test"),
        ("S3_BUCKET", "No"),
        ("PLATFORM_FEE_RATE", "1"),
        ("PLATFORM_FEE_RATE", "NaN"),
        ("PLATFORM_FEE_RATE", "ten"),
        ("TRANSFER_RETRY_ENABLED", "maybe"),
        ("TRANSFER_RETRY_BASE_SECONDS", "nan"),
        ("RATE_LIMIT_PER_IP", "-1"),
        ("TRUSTED_PROXIES", "10.0.0.0/40"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://a.test/path"),
        ("SECURITY_CONTACT", "somebody"),
        ("SECURITY_CONTACT", "http://veza.test/report"),
        ("SECURITY_CONTACT", "mailto:a@b.test\nExpires: never"),
        ("LIVE_RENDITIONS", "720"),
        ("LIVE_RENDITIONS", "720:2500"),
        ("LIVE_RENDITIONS", "720p:2500k"),
        ("LIVE_RENDITIONS", "720:2.5k"),
        ("LIVE_RENDITIONS", "٧٢٠:2500k,"),
        ("LIVE_RENDITIONS", "143:2500k"),
        ("LIVE_RENDITIONS", "2161:2500k"),
        ("LIVE_RENDITIONS", "720:99k"),
        ("LIVE_RENDITIONS", "720:20001k"),
        ("LIVE_RENDITIONS", "720:2500k,720:1000k"),
        ("LIVE_RENDITIONS", "1080:5000k,720:2500k,480:1000k,360:700k,240:400k,144:200k"),
        ("VEZA_GATEWAYS", "0"),
        ("VEZA_ROOM_SHARDS", "257"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("JWT_SECRET", "short"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(name: str, value: str, tmp_path: Path) -> None:
    assert refusal({name: value}, tmp_path).startswith(name)


def test_a_refused_secret_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in refusal({"DATABASE_URL": "mysql://u:hunter2@db/x"}, tmp_path)
    assert "hunter2" not in refusal({"JWT_SECRET": "hunter2"}, tmp_path)


def test_lists_are_parsed(tmp_path: Path) -> None:
    env = {"TRUSTED_PROXIES": "10.1.2.3/8, ::1", "ALLOWED_ORIGINS": "https://A.test, http://localhost:3000"}
    settings = load(env, tmp_path)
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.allowed_origins == ("https://a.test", "http://localhost:3000")


def test_renditions_are_parsed(tmp_path: Path) -> None:
    settings = load({"LIVE_RENDITIONS": "480:1000k, 720 : 2500k,"}, tmp_path)
    assert settings.live_renditions == (Rendition(720, 2_500_000), Rendition(480, 1_000_000))
    assert [rendition.name for rendition in settings.live_renditions] == ["r720", "r480"]
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
    shown = {name: value for name, value, _ in masked(settings)}
    assert (shown["LIVE_RENDITIONS"], shown["FFMPEG"]) == ("720:2500k,480:1000k", "ffmpeg")
    assert load({}, tmp_path).live_renditions == ()
    bounds = load({"LIVE_RENDITIONS": "2160:20000k,144:100k"}, tmp_path).live_renditions
    assert bounds == (Rendition(2160, 20_000_000), Rendition(144, 100_000))


def test_production_starts_with_everything_set(tmp_path: Path) -> None:
    settings = load(PRODUCTION, tmp_path)
    assert settings.production
    assert "generated" not in settings.origins.values()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"APP_ENV", "APP_DOMAIN"}))
def test_production_refuses_what_is_missing(name: str, tmp_path: Path) -> None:
    assert refusal({**PRODUCTION, name: ""}, tmp_path).startswith(name)


@pytest.mark.parametrize("name", ["JWT_SECRET", "HYPERSWITCH_WEBHOOK_SECRET"])
@pytest.mark.parametrize("value", ["x" * 31, "a" * 64, "changeme-0123456789-abcdefghijklmnop"])
def test_production_refuses_weak_secrets(name: str, value: str, tmp_path: Path) -> None:
    assert refusal({**PRODUCTION, name: value}, tmp_path).startswith(name)


def test_secrets_are_random_kept_and_private(tmp_path: Path) -> None:
    first, again = load({}, tmp_path / "a"), load({}, tmp_path / "a")
    other = load({}, tmp_path / "b")
    assert first.jwt_secret == again.jwt_secret != other.jwt_secret
    assert len(first.jwt_secret) >= 32
    kept = tmp_path / "a" / "data" / "secrets.json"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert load_secrets(kept.parent).redis_password


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    load({}, tmp_path, keep_secrets=False)
    assert not (tmp_path / "data").exists()


def test_damaged_secrets_are_not_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "data" / "secrets.json"
    kept.parent.mkdir()
    kept.write_text("{")
    assert "is damaged" in refusal({}, tmp_path)
    assert kept.read_text() == "{"


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert refusal({}, tmp_path).startswith("VEZA_DATA_DIR")


def test_printed_settings_hide_secrets(tmp_path: Path) -> None:
    settings = load({"DATABASE_URL": "postgresql://u:hunter2@db.test/veza", "STRIPE_SECRET_KEY": "sk_1"}, tmp_path)
    shown = {name: value for name, value, _ in masked(settings)}
    assert shown["DATABASE_URL"] == "postgresql://u:********@db.test/veza"
    printed = "\n".join(shown.values())
    for secret in ("hunter2", "sk_1", settings.jwt_secret, settings.hyperswitch_webhook_secret):
        assert secret not in printed


def test_settings_travel_to_actors(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
