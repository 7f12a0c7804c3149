from django.db import migrations

from audit.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_initial")]

    operations = [
        append_only("gateway_usageevent", unique=["id", ("tenant_id", "request_id", "sku")]),
        append_only("gateway_prediction", unique=["id", "entry_id", ("tenant_id", "request_id")]),
    ]
