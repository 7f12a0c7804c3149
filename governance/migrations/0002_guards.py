from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from audit.triggers import append_only
from governance.guards import install_sql

# An approval names its proposal's true proposer and payload, and nobody fills two roles of one.
UNTRUE = (
    'NOT EXISTS (SELECT 1 FROM "governance_proposal" AS asked WHERE asked."id" = NEW."proposal_id"'
    ' AND asked."proposer_id" = NEW."proposer_id" AND asked."payload_hash" = NEW."payload_hash")'
    ' OR EXISTS (SELECT 1 FROM "governance_approval" AS given'
    ' WHERE given."proposal_id" = NEW."proposal_id" AND given."approver_id" = NEW."approver_id"'
    ' AND given."role" <> NEW."role")'
)


def install(_apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in install_sql(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("governance", "0001_initial")]

    operations = [
        append_only("governance_approval", unique=["id"], insert_unless=UNTRUE),
        append_only("governance_columnplanversion", unique=["id", ("dataset_id", "number")]),
        append_only("governance_datasetversion", unique=["id", ("dataset_id", "number")]),
        migrations.RunPython(install, migrations.RunPython.noop),
    ]
