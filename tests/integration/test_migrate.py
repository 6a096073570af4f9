"""Migrations, against a real server."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tortoise.context import TortoiseContext
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.schema_editor import AsyncpgSchemaEditor
from tortoise.transactions import in_transaction

from veza.errors import StartupError, Unavailable
from veza.storage import migrations
from veza.storage.database import connect_arguments
from veza.storage.migrate import migrate, tortoise_config
from veza.storage.models import ControlEntry, PartitionOwner, RefreshToken, Room, Session, User

CHECKS = {
    "announcements_content_check",
    "announcements_time_check",
    "announcements_title_check",
    "announcements_type_check",
    "feature_flags_name_check",
    "maintenance_message_check",
    "maintenance_one_check",
    "partition_owner_epoch_check",
    "partition_owner_partition_check",
    "refresh_tokens_hash_check",
    "reports_action_check",
    "reports_content_type_check",
    "reports_outcome_check",
    "reports_own_check",
    "reports_reason_check",
    "reports_status_check",
    "room_events_message_seq_check",
    "room_events_seq_check",
    "room_members_last_read_check",
    "room_members_role_check",
    "rooms_direct_key_check",
    "rooms_name_check",
    "rooms_type_check",
    "sessions_expiry_check",
    "users_ban_check",
    "users_email_check",
    "users_profile_check",
    "users_role_check",
    "users_username_check",
}
UNIQUE_INDEXES = {
    "reports_pending_key",
    "room_events_client_msg_id_key",
    "room_events_id_key",
    "rooms_direct_key_key",
    "users_email_key",
    "users_username_key",
}

STEPS = len(list(Path(migrations.__file__).parent.glob("0*.py")))


async def column(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(**connect_arguments(url))
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_three_at_once_all_succeed_and_one_works(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(3)))
    assert sorted(applied) == [0, 0, STEPS]
    assert await migrate(empty_database_url) == 0


async def test_every_object_exists(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    checks = await column(empty_database_url, "SELECT conname::text FROM pg_constraint WHERE contype = 'c'")
    assert set(checks) >= CHECKS
    unique = await column(
        empty_database_url,
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND NOT indisprimary "
        "AND indrelid::regclass::text NOT LIKE 'pg_%'",
    )
    assert set(unique) >= UNIQUE_INDEXES
    partitions = await column(empty_database_url, "SELECT partition FROM partition_owner ORDER BY 1")
    assert partitions == list(range(512))
    indexes = await column(
        empty_database_url, "SELECT indexname::text FROM pg_indexes WHERE tablename = 'room_events' ORDER BY 1"
    )
    assert indexes == [
        "room_events_client_msg_id_key",
        "room_events_id_key",
        "room_events_pinned",
        "room_events_pkey",
        "room_events_search",
        "room_events_thread",
    ]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO users (id, username, email, password_hash, role) "
            "VALUES (gen_random_uuid(), 'name', 'a@b.example', '', 'emperor')",
            "users_role_check",
        ),
        (
            "INSERT INTO room_events "
            "VALUES (gen_random_uuid(), 0, gen_random_uuid(), 'message', NULL, NULL, '{}', now())",
            "room_events_seq_check",
        ),
        (
            "INSERT INTO room_events "
            "VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'reaction_added', NULL, NULL, '{}', now())",
            "room_events_message_seq_check",
        ),
        ("INSERT INTO partition_owner (partition) VALUES (512)", "partition_owner_partition_check"),
        (
            "INSERT INTO rooms (id, type, direct_key, owner_id) "
            "VALUES (gen_random_uuid(), 'group', 'key', gen_random_uuid())",
            "rooms_direct_key_check",
        ),
    ],
)
async def test_the_database_refuses_what_makes_no_sense(pool: Any, statement: str, constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await pool.execute(statement)
    assert caught.value.constraint_name == constraint


async def test_models_describe_the_tables(database_url: str) -> None:
    config = tortoise_config(database_url)
    async with TortoiseContext() as context:
        await context.init(config=config)
        for model in (ControlEntry, RefreshToken, Room, Session, User):
            assert await model.all().count() == 0
        assert await PartitionOwner.filter(epoch=0, owner=None).count() == 512
        pending = await MigrationAutodetector(context.apps, config["apps"]).changes()
    # Anything here is a change of the models that lacks its migration.
    assert [operation.describe() for writer in pending for operation in writer.operations] == []


async def test_events_of_before_learn_of_the_newest_message_ahead_of_them(empty_database_url: str) -> None:
    """History finds messages by it, in rooms that are older than the step, too."""
    config = tortoise_config(empty_database_url)
    async with TortoiseContext() as context:
        await context.init(config=config)
        async with in_transaction("default") as connection:
            executor = MigrationExecutor(connection, config["apps"])
            await executor.recorder.ensure_schema(AsyncpgSchemaEditor(connection, atomic=False))
            await executor.migrate([MigrationTarget("veza", "0002_messages")])
    await column(
        empty_database_url,
        """
        INSERT INTO room_events (room_id, seq, id, kind, body, created_at)
        SELECT room, seq, gen_random_uuid(), CASE kind WHEN 'm' THEN 'message' ELSE 'reaction_added' END, '{}', now()
        FROM (SELECT gen_random_uuid(), log FROM unnest(ARRAY['rmrrmmr', 'rr', 'mr']) AS log) r (room, log),
             string_to_table(log, NULL) WITH ORDINALITY AS k (kind, seq)
        """,
    )
    await migrate(empty_database_url)
    known = await column(
        empty_database_url, "SELECT array_agg(message_seq ORDER BY seq) FROM room_events GROUP BY room_id"
    )
    assert sorted(known, key=str) == [[0, 0], [0, None, 2, 2, None, None, 6], [None, 1]]


async def test_a_database_of_a_newer_version_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    await column(
        empty_database_url,
        "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('veza', '9999_later', now()) RETURNING 1",
    )
    with pytest.raises(StartupError, match="9999_later"):
        await migrate(empty_database_url)


async def test_a_failed_step_changes_nothing(empty_database_url: str) -> None:
    await column(empty_database_url, "CREATE TABLE room_events (id int)")
    with pytest.raises(StartupError, match="nothing was changed"):
        await migrate(empty_database_url)
    tables = await column(
        empty_database_url,
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    assert tables == ["room_events"]


async def test_an_unreachable_server_is_unavailable(tmp_path: Any) -> None:
    with pytest.raises(Unavailable):
        await migrate(f"postgres://veza@/veza?host={tmp_path}")
