"""What may be named as a source, who may read it, files of a folder, and fetches by a worker."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from audit.models import AuditEntry
from governance import leases
from governance.actions.datasets import Declared
from governance.actions.people import revoke_role
from governance.errors import GovernanceError
from governance.models import Dataset, Fetch, Job, RoleBinding, StoredObject, Tenant
from governance.models.fetches import FetchState
from governance.models.jobs import JobState
from governance.scoping import tenant_scope
from governance.sources import fetching, folder
from governance.sources.config import SourceError, checked, source_named, sources_of
from tests.factories.datasets import PEOPLE_CSV, sealed
from tests.factories.people import House, make_house


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("inbox", "ftp://host/x", "begins with"),
        ("inbox", "https://host/x", "begins with"),
        ("inbox", "/srv/inbox", "begins with"),
        ("inbox", {"tenants": []}, "needs a url"),
        ("inbox", {"url": "folder:///srv", "tenants": "acme"}, "tenants as a list"),
        ("inbox", 3, "needs a url"),
        ("in box", "folder:///srv", "letters"),
        ("", "folder:///srv", "letters"),
        ("db", "postgresql://user:hunter2@host:port/x", "is none"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused_without_its_password(
    name: str, spec: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        checked(name, spec)
    assert "hunter2" not in str(refused.value)


def test_a_source_never_shows_its_address() -> None:
    source = checked("db", "postgresql://user:hunter2@host/x")
    assert "hunter2" not in f"{source!r} {source}"


@pytest.mark.django_db
def test_a_source_is_the_houses_unless_tenants_are_named(settings: Any) -> None:
    house, rival = make_house().tenant, make_house("rival").tenant
    settings.SOURCES = {
        "ours": "folder:///srv/ours",
        "theirs": {"url": "folder:///srv/theirs", "tenants": ["rival"]},
    }
    named = {
        tenant.slug: [source.name for source in sources_of(tenant)] for tenant in (house, rival)
    }
    assert named == {"house": ["ours"], "rival": ["theirs"]}
    assert source_named("ours", house).kind == "folder"
    for tenant, name in ((house, "theirs"), (rival, "ours"), (house, "none")):
        assert _refused(tenant, name) == "source.unknown"


def _refused(tenant: Tenant, name: str) -> str:
    with pytest.raises(SourceError) as refused:
        source_named(name, tenant)
    return refused.value.stable_code


FILES: Mapping[str, bytes] = {
    "b.csv": b"name\nb\n",
    "a.csv": b"name\na\n",
    "deep/er/c.csv": b"name\nc\n",
    ".hidden": b"secret",
    "deep/.git/d.csv": b"secret",
}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder of files, and beside it one that is not to be read."""
    root = tmp_path / "inbox"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (tmp_path / "outside.csv").write_bytes(b"secret")
    (root / "link.csv").symlink_to(tmp_path / "outside.csv")
    return root


@pytest.mark.parametrize(
    ("selection", "read"),
    [
        ("", [b"name\na\n", b"name\nb\n", b"name\nc\n"]),
        ("/", [b"name\na\n", b"name\nb\n", b"name\nc\n"]),
        ("deep", [b"name\nc\n"]),
        ("a.csv", [b"name\na\n"]),
        ("deep/../b.csv", [b"name\nb\n"]),
    ],
)
def test_a_folders_files_come_in_order(inbox: Path, selection: str, read: list[bytes]) -> None:
    source = checked("inbox", f"folder://{inbox}")
    assert [b"".join(pieces) for pieces in folder.files(source, selection)] == read


@pytest.mark.parametrize(
    ("selection", "code"),
    [
        ("..", "source.outside"),
        ("../outside.csv", "source.outside"),
        ("link.csv", "source.outside"),
        ("deep/../../outside.csv", "source.outside"),
        ("nothing", "source.nothing_there"),
        ("a\0b", "source.unreadable"),
    ],
)
def test_a_path_stays_inside_its_folder(inbox: Path, selection: str, code: str) -> None:
    source = checked("inbox", f"folder://{inbox}")
    with pytest.raises(SourceError) as refused:
        folder.files(source, selection)
    assert refused.value.stable_code == code


def test_a_file_that_goes_while_it_is_read_is_an_error_that_names_nothing(inbox: Path) -> None:
    source = checked("inbox", f"folder://{inbox}")
    pieces = folder.files(source, "a.csv")[0]
    (inbox / "a.csv").unlink()
    with pytest.raises(SourceError, match="cannot be read") as refused:
        next(pieces)
    assert "a.csv" not in str(refused.value)


DECLARED = Declared(name="people", purposes=("credit-risk-scoring",))


@pytest.fixture
def house(settings: Any, tmp_path: Path) -> House:
    """A house with a folder of two files as a source."""
    root = tmp_path / "people"
    root.mkdir()
    header, *rows = PEOPLE_CSV.splitlines(keepends=True)
    (root / "1.csv").write_text("".join([header, *rows[:2]]))
    (root / "2.csv").write_text("".join([header, *rows[2:]]))
    settings.SOURCES = {"inbox": f"folder://{root}"}
    return make_house()


def asked(house: House, selection: str = "", **more: Any) -> Fetch:
    """A fetch by the steward, waiting."""
    more = more or {"declared": DECLARED}
    with tenant_scope(house.id), leases.doing_it_here():
        return fetching.ask(house.steward, house.tenant, "inbox", selection, **more)


def job_of(fetch: Fetch) -> Job:
    """The fetch's one job."""
    return Job._base_manager.get(subject=fetch.reference)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("home")
class TestFetch:
    """What a worker does of it."""

    def test_files_of_a_source_make_one_dataset(self, house: House) -> None:
        fetch = asked(house)
        leases.run_here(fetch.reference)
        fetch.refresh_from_db()
        assert (fetch.state, fetch.error_code, job_of(fetch).state) == (
            FetchState.FETCHED, "", JobState.DONE
        )  # fmt: skip
        with tenant_scope(house.id):
            dataset = Dataset.objects.get(name="people")
            batch = dataset.batches.get()
            assert (fetch.dataset_id, batch.source, batch.parts.count()) == (
                dataset.pk, "inbox", 2
            )  # fmt: skip
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert (dataset.state, dataset.rows) == ("proposed", 5)

    def test_a_batch_of_a_source_is_appended(self, house: House) -> None:
        dataset = sealed(house)
        fetch = asked(house, "2.csv", dataset=dataset)
        leases.run_here(fetch.reference)
        leases.run_here(dataset.reference)
        dataset.refresh_from_db()
        assert (dataset.state, dataset.rows) == ("sealed", 8)

    def test_the_selection_rests_sealed_and_is_in_no_entry(self, house: House, home: Path) -> None:
        asked(house, "SELECT * FROM people WHERE name = '王小明'")
        for path in home.rglob("*"):
            assert not path.is_file() or "王小明".encode() not in path.read_bytes()
        assert not [e for e in AuditEntry.objects.all() if "王小明".encode() in bytes(e.body)]

    def test_what_the_source_refuses_ends_it_with_its_code(self, house: House) -> None:
        fetch = asked(house, "../../etc")
        leases.run_here(fetch.reference)
        fetch.refresh_from_db()
        assert (fetch.state, fetch.error_code, fetch.dataset) == (
            FetchState.FAILED, "source.outside", None
        )  # fmt: skip
        assert job_of(fetch).state == JobState.FAILED
        entry = AuditEntry.objects.get(event="dataset.fetch_stopped")
        facts = json.loads(bytes(entry.body))["facts"]
        assert (entry.outcome, facts["code"]) == ("failed", "source.outside")

    def test_whose_right_is_gone_meanwhile_fetches_nothing(self, house: House) -> None:
        fetch = asked(house)
        with tenant_scope(house.id):
            binding = RoleBinding.objects.get(user_id=house.steward.user_id)
            revoke_role(house.officer, binding)
        before = StoredObject._base_manager.count()
        leases.run_here(fetch.reference)
        fetch.refresh_from_db()
        assert (fetch.state, fetch.dataset) == (FetchState.FAILED, None)
        assert StoredObject._base_manager.count() == before

    def test_a_worker_that_lost_its_lease_takes_nothing_in(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch = asked(house)
        read = fetching._FILES["folder"]

        def slow(*arguments: Any) -> Any:
            # While this one reads, the lease runs out and another claims the job.
            Job._base_manager.filter(pk=job_of(fetch).pk).update(fence=9)
            return read(*arguments)

        monkeypatch.setitem(fetching._FILES, "folder", slow)
        leases.run_here(fetch.reference)
        with tenant_scope(house.id):
            assert not Dataset.objects.exists()
        monkeypatch.undo()
        Job._base_manager.filter(pk=job_of(fetch).pk).update(fence=1, state=JobState.WAITING)
        leases.run_here(fetch.reference)
        with tenant_scope(house.id):
            assert Dataset.objects.count() == 1

    @pytest.mark.usefixtures("house")
    def test_another_tenants_source_is_unknown(self) -> None:
        rival = make_house("rival")
        with tenant_scope(rival.id), pytest.raises(GovernanceError) as refused:
            fetching.ask(rival.steward, rival.tenant, "inbox", "", declared=DECLARED)
        assert refused.value.stable_code == "source.unknown"
        assert not StoredObject._base_manager.filter(tenant=rival.tenant).exists()

    def test_no_batch_is_asked_for_a_dataset_of_another_tenant(self, house: House) -> None:
        theirs = sealed(make_house("rival"))
        with pytest.raises(GovernanceError) as refused:
            asked(house, dataset=theirs)
        assert refused.value.stable_code == "not_found"
        assert not Fetch._base_manager.exists()

    @pytest.mark.parametrize("selection", ["a\0b", "x" * 20_001])
    def test_a_selection_that_is_none_is_refused(self, house: House, selection: str) -> None:
        with pytest.raises(GovernanceError) as refused:
            asked(house, selection)
        assert refused.value.stable_code == "source.selection_invalid"

    @pytest.mark.usefixtures("house")
    def test_the_command_fetches_and_profiles(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command(
            "ingest", "--from", "inbox", "--name", "people", "--purpose", "credit-risk-scoring",
            "--as", "house-steward", "--json",
        )  # fmt: skip
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["rows"]) == ("awaiting_approval", 5)

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ((), "upload.missing"),
            (("x.csv", "--from", "inbox"), "source.and_files"),
            (("--from", "nowhere"), "source.unknown"),
            (("--from", "inbox", "--select", "no.csv"), "source.nothing_there"),
        ],
    )
    @pytest.mark.usefixtures("house")
    def test_the_command_says_what_is_wrong(
        self, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str
    ) -> None:
        with pytest.raises(SystemExit):
            call_command(
                "ingest", *words, "--name", "people", "--purpose", "credit-risk-scoring",
                "--as", "house-steward", "--json",
            )  # fmt: skip
        assert json.loads(capsys.readouterr().err)["code"] == code
