"""The last look before rows leave: what it finds is never written, under any name."""

import json
from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from governance import exporting
from governance.errors import RefusedError
from governance.exporting import export
from governance.models import DatasetVersion
from governance.scoping import tenant_scope
from governance.tables.writing import ParquetChunkWriter, chunk_writer
from governance.vault import ObjectWriter
from tests.factories.datasets import sealed
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]
LEAK = "11010518991231004X"


@pytest.fixture
def house() -> House:
    return make_house()


def leaking(house: House) -> DatasetVersion:
    """A version that should not be: its free column holds an identity number."""
    good = DatasetVersion.objects.get(dataset=sealed(house))
    names = [column["name"] for column in good.columns]
    with ObjectWriter(house.tenant, "version") as writer:
        parquet = ParquetChunkWriter(writer, names)
        parquet.write({name: [LEAK if name == "income" else "x"] for name in names})
        parquet.close()
        stored = writer.finish()
    stored.save(force_insert=True)
    return DatasetVersion.objects.create(
        tenant=house.tenant, dataset=good.dataset, number=2, stored=stored, plan=good.plan, rows=1,
        columns=good.columns, detector=good.detector, digest="0" * 64,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_leak_is_refused_before_a_byte_of_it_is_written(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    written: list[Any] = []

    def watched(*args: Any, **options: Any) -> Any:
        writer = chunk_writer(*args, **options)
        monkeypatch.setattr(writer, "write", written.append)
        return writer

    monkeypatch.setattr(exporting, "chunk_writer", watched)
    with tenant_scope(house.id):
        version = leaking(house)
        with pytest.raises(RefusedError) as caught:
            export(house.steward, version, tmp_path / f"rows.{suffix}")
    assert caught.value.stable_code == "release.leaks"
    assert written == []
    assert [left.name for left in tmp_path.iterdir()] == ["home"]  # no part, no file
    entry = AuditEntry.objects.get(event="dataset.version_exported")
    assert (entry.outcome, LEAK.encode() in bytes(entry.body)) == ("denied", False)


@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("height.cm,amount\n1,2\n3,4\n", {"height.cm": "1", "amount": "2"}),
        ('{"height": {"cm": 1}, "amount": 2}\n', {"height": {"cm": "1"}, "amount": "2"}),
    ],
)
def test_only_what_came_nested_leaves_nested(
    house: House, tmp_path: Path, file: str, first: dict[str, object]
) -> None:
    dataset = sealed(house, file, declarations={}, subject_column="")
    out = tmp_path / "rows.jsonl"
    with tenant_scope(house.id):
        export(house.steward, dataset.versions.get(), out)
    assert json.loads(out.read_text().splitlines()[0]) == first
