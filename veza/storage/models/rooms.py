"""Rooms, and who owns which partition of them."""

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault

from veza.storage.models.accounts import User
from veza.storage.models.base import Model


class Room(Model):
    """A conversation. `direct_key` is `<smaller uuid>:<larger uuid>` of a direct room, unique. Events before
    `first_seq` are gone by its retention.
    """

    id = fields.UUIDField(primary_key=True)
    type = fields.TextField()
    name = fields.TextField(null=True)
    owner: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="owned_rooms", on_delete=fields.RESTRICT
    )
    direct_key = fields.TextField(null=True)
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))
    deleted_at = fields.DatetimeField(null=True)
    first_seq = fields.BigIntField(db_default=1)
    retention_days = fields.IntField(null=True)

    class Meta:
        table = "rooms"
        table_description = "Conversations"


class PartitionOwner(Model):
    """The truth about ownership: a commit counts only under the epoch that stands here."""

    partition = fields.IntField(primary_key=True, generated=False)
    epoch = fields.BigIntField(db_default=0)
    owner = fields.TextField(null=True)

    class Meta:
        table = "partition_owner"
        table_description = "Who owns which partition"
