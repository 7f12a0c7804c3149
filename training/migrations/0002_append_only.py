from django.db import migrations

from audit.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]

    operations = [
        append_only("training_budgetentry", unique=["id", ("run_id", "attempt", "sequence")]),
    ]
