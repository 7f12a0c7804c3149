from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0010_inputs_of_windows"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="devicelease",
            options={"verbose_name": "device", "verbose_name_plural": "devices"},
        ),
        migrations.AlterField(
            model_name="examination",
            name="state",
            field=models.CharField(
                choices=[
                    ("queued", "queued"),
                    ("finished", "finished"),
                    ("failed", "failed"),
                    ("cancelled", "cancelled"),
                ],
                default="queued",
                max_length=20,
                verbose_name="state",
            ),
        ),
    ]
