"""What every gateway must learn at once."""

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault

from veza.storage.models.base import Model


class ControlEntry(Model):
    """One event for the gateways; swept after a day."""

    id = fields.BigIntField(primary_key=True)
    kind = fields.TextField()
    subject = fields.TextField()
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"), db_index=True)

    class Meta:
        table = "control_log"
        table_description = "Events for every gateway"
