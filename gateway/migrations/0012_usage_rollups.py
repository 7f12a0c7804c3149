import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from audit.triggers import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0011_batches"),
        ("governance", "0006_proposal_kinds"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageRound",
            fields=[
                ("first_index", models.BigIntegerField(primary_key=True, serialize=False)),
                ("last_index", models.BigIntegerField(unique=True)),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("last_index__gte", models.F("first_index"))),
                        name="usage_round_is_forward",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageRollup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sku", models.CharField(max_length=20, verbose_name="what")),
                ("hour", models.DateTimeField(verbose_name="hour")),
                ("first_index", models.BigIntegerField(verbose_name="first place in the log")),
                ("last_index", models.BigIntegerField(verbose_name="last place in the log")),
                ("calls", models.BigIntegerField(verbose_name="calls")),
                ("units", models.BigIntegerField(verbose_name="units")),
                ("charged", models.BigIntegerField(verbose_name="units charged")),
                (
                    "license",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rollups",
                        to="gateway.license",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="governance.tenant",
                    ),
                ),
                (
                    "round",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rollups",
                        to="gateway.usageround",
                    ),
                ),
            ],
            options={
                "verbose_name": "usage by the hour",
                "verbose_name_plural": "usage by the hour",
                "ordering": ["-hour", "-id"],
                "indexes": [models.Index(fields=["license", "hour"], name="rollup_of_license")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("round", "license", "sku", "hour"), name="usage_rolled_up_once"
                    )
                ],
            },
        ),
        append_only("gateway_usageround", unique=["first_index", "last_index"]),
        append_only(
            "gateway_usagerollup", unique=["id", ("round_id", "license_id", "sku", "hour")]
        ),
    ]
