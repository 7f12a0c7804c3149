from django.db import migrations

from audit.triggers import append_only

# A pending leaf may go once the same leaf stands in the log, and may not come back.
SEQUENCED = (
    'EXISTS (SELECT 1 FROM "audit_leaf" AS standing WHERE standing."entry_id" = OLD."entry_id"'
    ' AND standing."leaf_hash" = OLD."leaf_hash")'
)
KNOWN = 'EXISTS (SELECT 1 FROM "audit_leaf" AS standing WHERE standing."entry_id" = NEW."entry_id")'


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        append_only("audit_auditentry", unique=["id"]),
        append_only(
            "audit_pendingleaf", unique=["entry_id"], delete_when=SEQUENCED, insert_unless=KNOWN
        ),
        append_only("audit_leaf", unique=["index", "entry_id"]),
        append_only("audit_tile", unique=["id", ("level", "index")]),
        append_only("audit_checkpoint", unique=["size"]),
        append_only("audit_privatefact", unique=["id", ("entry_id", "field")]),
    ]
