"""Everything bad that the main job can be handed: one clear error, the same at every door.

Each row is tried on the command line and over HTTP. Either way there is one stable code, a
`denied` or `failed` entry, no half-written object, and nothing of what was handed in inside the
message.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from governance import leases
from governance.actions.datasets import Declared
from governance.intake import Incoming, take_in
from governance.models import Dataset, DatasetVersion, StoredObject
from governance.models.datasets import DatasetState
from governance.scoping import across_tenants, tenant_scope
from tests.factories import training as training_factory
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]

MARK = "Wang-Xiaoming-13800138000"  # what no message, entry or log line may hold
GOOD = f"name,note\n{MARK},x\nb,y\n"

FILES: list[tuple[str, bytes, str, str]] = [
    ("ragged rows", f"a,b\n1,2\n{MARK},2,3\n".encode(), "csv", "table.ragged_row"),
    ("undecodable bytes", f"a,b\n{MARK},\n".encode() + b"\xff\xfe\x81,2\n", "csv", "table.*"),
    ("NUL bytes", f"name,b\nabc,def\n{MARK},q\0q\n".encode(), "csv", "table.nul_byte"),
    ("duplicate headers", b"name,name\n1,2\n", "csv", "table.duplicate_header"),
    ("an empty file", b"", "csv", "table.empty"),
    ("a header alone", b"a,b\n", "csv", "table.no_rows"),
    ("a zip renamed", b"PK\x03\x04" + MARK.encode() * 9, "parquet", "table.format_mismatch"),
    ("no Parquet at all", MARK.encode() * 9, "parquet", "table.format_mismatch"),
    ("one bad line", f'{{"a": 1}}\n{{"a": {MARK}\n'.encode(), "jsonl", "table.bad_json"),
]


@pytest.fixture
def house() -> House:
    return make_house()


def staff(house: House, role: str) -> Client:
    """A signed-in browser of one of the house's people."""
    client = Client(raise_request_exception=False)
    client.force_login(house.user(getattr(house, role)))
    return client


def command(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """The error that a command ends with: its code, detail and exit status."""
    with pytest.raises(SystemExit) as ended:
        call_command(*[str(word) for word in words], "--json")
    told: dict[str, Any] = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    return told | {"exit": ended.value.code}


def post_file(client: Client, content: bytes, form: str, **fields: Any) -> Any:
    return client.post(
        "/api/v1/datasets",
        {
            "name": "people",
            "purposes": ["credit-risk-scoring"],
            "format": form,
            **fields,
            "file": SimpleUploadedFile(f"people.{form}", content),
        },
    )


def ends(code: str, expected: str) -> bool:
    return code == expected or (expected.endswith("*") and code.startswith(expected[:-1]))


@pytest.fixture(autouse=True)
def _nothing_of_it_is_kept(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert MARK not in caplog.text
    with across_tenants(reason="looking for what must not be there"):
        for entry in AuditEntry.objects.all():
            assert MARK.encode() not in bytes(entry.body)
        for dataset in Dataset.objects.all():
            assert MARK not in json.dumps([dataset.error_detail, dataset.entity_counts])
    for path in Path(settings.PORTCULLIS_HOME).rglob("*"):
        assert path.is_dir() or MARK.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("content", "form", "code"), [f[1:] for f in FILES], ids=[f[0] for f in FILES]
)
def test_a_bad_file(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    content: bytes, form: str, code: str,
) -> None:  # fmt: skip
    file = tmp_path / f"people.{form}"
    file.write_bytes(content)
    told = command(
        capsys, "ingest", file, "--name", "cli", "--purpose", "credit-risk-scoring",
        "--as", "house-steward",
    )  # fmt: skip
    assert told["exit"] == 2
    assert ends(told["code"], code), told
    assert MARK not in json.dumps(told)

    with leases.doing_it_here():
        answer = post_file(staff(house, "steward"), content, form)
    if answer.status_code == 202:
        leases.run_here(f"dataset:{answer.json()['id']}")
        answer = staff(house, "steward").get("/api/v1/datasets/people")
        assert answer.json()["state"] == DatasetState.FAILED
        http = answer.json()["error_code"]
    else:
        http = answer.json()["code"]
    assert http == told["code"]
    assert MARK not in answer.content.decode()
    stopped = AuditEntry.objects.filter(event="dataset.ingest_stopped")
    assert {entry.outcome for entry in stopped} <= {"failed"}
    assert stopped.exists() or AuditEntry.objects.filter(outcome="failed").exists()


class LongLine:
    """A file of one line of 200 MB, which never stands in memory."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"a,b\n"
        for _ in range(200):
            yield b"x" * (1 << 20)


def test_a_line_of_200_megabytes(house: House) -> None:
    with tenant_scope(house.id), leases.doing_it_here():
        dataset = take_in(
            house.steward, house.tenant, [Incoming(LongLine(), "csv")],
            Declared("long", ("credit-risk-scoring",)),
        )  # fmt: skip
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
    assert (dataset.state, dataset.error_code) == (DatasetState.FAILED, "table.line_too_long")


def test_an_unknown_purpose(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(GOOD)
    told = command(
        capsys, "ingest", file, "--name", "cli", "--purpose", "marketing", "--as", "house-steward"
    )
    answer = post_file(staff(house, "steward"), GOOD.encode(), "csv", purposes=["marketing"])
    assert (told["exit"], answer.status_code) == (3, 403)
    assert told["code"] == answer.json()["code"] == "purpose.unknown"
    assert AuditEntry.objects.filter(event="dataset.uploaded", outcome="denied").count() == 2
    with across_tenants(reason="looking for leftovers"):
        assert not Dataset.objects.exists()
        assert not StoredObject.objects.exists()


Ask = dict[str, str]
RUNS: list[tuple[str, Ask, int, int, str]] = [
    ("a target that is not there", {"target": "nobody"}, 2, 422, "run.target_missing"),
    ("an unknown purpose", {"purpose": "marketing"}, 3, 403, "purpose.not_granted"),
    ("ε = 0", {"epsilon": "0"}, 2, 422, "run.epsilon_invalid"),
    ("ε < 0", {"epsilon": "-1"}, 2, 422, "run.epsilon_invalid"),
    ("ε is no number", {"epsilon": "nan"}, 2, 422, "run.epsilon_invalid"),
    ("ε has no end", {"epsilon": "inf"}, 2, 422, "run.epsilon_invalid"),
    ("ε over the cap", {"epsilon": "99"}, 3, 403, "budget.over_cap"),
]


@pytest.mark.parametrize(
    ("asked", "exit_code", "status", "code"), [r[1:] for r in RUNS], ids=[r[0] for r in RUNS]
)
def test_a_run_that_cannot_be(
    house: House, capsys: pytest.CaptureFixture[str],
    asked: Ask, exit_code: int, status: int, code: str,
) -> None:  # fmt: skip
    with tenant_scope(house.id):
        version = training_factory.make_version(house)
        name = version.dataset.name
    body = {"dataset": name, "target": "income", "purpose": "credit-risk-scoring",
            "epsilon": "1", **asked}  # fmt: skip
    words = [word for key, value in body.items() for word in (f"--{key}", value)]
    if body["epsilon"] == "-1":  # argparse would take it for an option
        words = [f"--{key}={value}" for key, value in body.items()]
    told = command(capsys, "train", "--as", "house-engineer", *words)
    answer = staff(house, "engineer").post("/api/v1/runs", body, content_type="application/json")
    assert (told["exit"], told["code"]) == (exit_code, code)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    refused = AuditEntry.objects.filter(event="run.requested").exclude(outcome="done")
    assert refused.count() == 2


def test_another_tenants_dataset(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    rival = make_house("rival")
    with tenant_scope(house.id):
        version = training_factory.make_version(house)
    for which in (str(version.dataset_id), version.dataset.name):
        told = command(
            capsys, "train", "--as", "rival-engineer", "--dataset", which, "--target", "income",
            "--purpose", "credit-risk-scoring", "--epsilon", "1",
        )  # fmt: skip
        answer = staff(rival, "steward").get(f"/api/v1/datasets/{which}")
        assert (told["exit"], answer.status_code) == (2, 404)
        assert told["code"] == answer.json()["code"] == "not_found"
    assert AuditEntry.objects.filter(event="access.refused", outcome="denied").count() == 4
    with tenant_scope(rival.id):
        assert not DatasetVersion.objects.exists()
