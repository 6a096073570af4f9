"""Searches of the audit log by how requests were answered."""

from tortoise import migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("veza", "0006_api_keys")]

    operations = [ops.RunSQL("CREATE INDEX audit_log_status ON audit_log (status, created_at DESC, id DESC)")]
