from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from audit.triggers import append_only


def move_sources(apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What came in before there were batches becomes the first batch of its dataset, in one part.

    Its row groups are not cut here: a dataset that was sealed keeps its version, any other is read
    anew before it goes on.
    """
    dataset_rows = apps.get_model("governance", "Dataset")._base_manager  # noqa: SLF001  # a migration reads every tenant's rows
    batches = apps.get_model("governance", "Batch")._base_manager  # noqa: SLF001  # as above
    parts = apps.get_model("governance", "Part")._base_manager  # noqa: SLF001  # as above
    for dataset in dataset_rows.exclude(source=None).iterator():
        batch = batches.create(
            tenant_id=dataset.tenant_id,
            dataset=dataset,
            number=1,
            rows=dataset.rows,
            received_by_id=dataset.uploaded_by_id,
        )
        batches.filter(pk=batch.pk).update(received_at=dataset.created_at)
        parts.create(
            tenant_id=dataset.tenant_id,
            batch=batch,
            number=1,
            stored_id=dataset.source_id,
            declared_format=dataset.declared_format,
            encoding_override=dataset.encoding_override,
            format=dataset.format,
            encoding=dataset.encoding,
            rows=dataset.rows,
        )


class Migration(migrations.Migration):
    dependencies = [("governance", "0003_ingest_at_scale")]

    operations = [
        migrations.RunPython(move_sources, migrations.RunPython.noop),
        migrations.RemoveField("dataset", "source"),
        migrations.RemoveField("dataset", "declared_format"),
        migrations.RemoveField("dataset", "encoding_override"),
        append_only("governance_rowgroup", unique=["id", ("batch_id", "reading", "number")]),
        append_only("governance_sealedgroup", unique=["id", ("group_id", "plan_id")]),
        append_only("governance_datarelease", unique=["id"]),
        append_only("governance_recognitionrules", unique=["id", ("tenant_id", "number")]),
        append_only("governance_qualitycontract", unique=["id", ("dataset_id", "number")]),
    ]
