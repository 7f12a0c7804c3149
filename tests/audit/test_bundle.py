"""Writing bundles: what is in, how it appears, and what a spreadsheet makes of it."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from audit.checkpoint import TreeHead, VerifierKey, sign_note
from audit.errors import BundleError, KeyMissingError, ProofError
from audit.merkle import leaf_hash
from audit.models import AuditEntry
from audit.proofs import TlogProof
from audit.reports import layout
from audit.reports.bundle import Entries, read_previous, write_bundle
from audit.reports.layout import BundleEntry, csv_row, iso_time
from audit.reports.verification import Result, verify
from audit.sequencer import sequence_once
from audit.signer import read_key
from tests.factories.bundles import GENERATED_AT, Made, made_log, make_bundles
from tests.factories.entries import make_entries, make_entry

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, django_db_blocker: object, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]  # pytest-django's blocker
        return make_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[VerifierKey]:
    with made_log(tmp_path) as vkey:
        yield vkey


def test_folder_and_archive_hold_the_same(made: Made) -> None:
    with zipfile.ZipFile(made.archive) as archive:
        for name in archive.namelist():
            assert archive.read(name) == (made.folder / name).read_bytes(), name
        assert len(archive.namelist()) == sum(p.is_file() for p in made.folder.rglob("*"))


def test_entries_stand_in_the_logs_order_and_prove_themselves(made: Made) -> None:
    lines = (made.folder / layout.ENTRIES).read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        entry = BundleEntry.parse(line)
        assert (entry.index, json.loads(line)["id"]) == (number, entry.fields()["id"])
        proof = TlogProof.parse((made.folder / layout.proof_name(number)).read_text())
        head = proof.verify(leaf_hash(entry.body), made.vkey.name, [made.vkey])
        assert head.size == len(lines) == 9


def test_the_table_is_safe_to_open(made: Made) -> None:
    data = (made.folder / layout.TABLE).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert (len(rows), tuple(rows[0])) == (9, layout.COLUMNS)
    assert rows[7]["subject"] == '\'=HYPERLINK("evil")'
    assert (rows[7]["actor"], rows[7]["reason"]) == ("'＝2+3", "'-1")
    assert rows[8]["subject"] == "数据集,\n二"
    assert rows[0]["time"] == "2026-09-21T14:13:20.000000Z"
    assert json.loads(rows[3]["facts"]) == {"rows": 3}


@pytest.mark.parametrize("start", list("=+-@\t\r\n＝＋－＠"))
def test_no_cell_starts_a_formula(start: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(csv_row([f"{start}1"]).decode(), newline="")))
    assert cell == f"'{start}1"


def test_a_part_says_what_it_is_part_of(made: Made) -> None:
    with zipfile.ZipFile(made.part) as archive:
        shown = json.loads(archive.read(layout.MANIFEST))
        lines = archive.read(layout.ENTRIES).splitlines()
    assert (shown["size"], shown["entries"], len(lines)) == (9, 4, 4)
    assert shown["scope"] == {"tenant": "tenant:1"}
    assert {json.loads(line)["body"]["tenant"] for line in lines} == {"tenant:1"}


def test_what_is_not_in_the_signed_tree_is_left_out_and_counted(
    log: VerifierKey, tmp_path: Path
) -> None:
    make_entries(3)
    sequence_once()
    make_entries(2, start=3)
    result = write_bundle(AuditEntry.objects.all(), tmp_path / "b.zip", scope={})
    assert (result.entries, result.pending, result.size) == (3, 2, 3)
    assert verify(tmp_path / "b.zip", trusted=[log]).result is Result.VERIFIED


def test_any_queryset_or_callable_will_do(log: VerifierKey, tmp_path: Path) -> None:
    make_entries(6)
    sequence_once()
    every = AuditEntry.objects.all()
    table: list[tuple[Entries, int]] = [
        (every.order_by("-at")[:4], 4),
        (every.filter(event="key.revoked"), 2),
        (every.none(), 0),
        (lambda: every.exclude(outcome="done"), 2),
    ]
    for number, (entries, count) in enumerate(table):
        path = tmp_path / f"{number}.zip"
        assert write_bundle(entries, path, scope={}).entries == count
        assert verify(path, trusted=[log]).result is Result.VERIFIED


def test_a_stream_gets_the_archive(log: VerifierKey, tmp_path: Path) -> None:
    make_entries(2)
    sequence_once()
    stream, path = io.BytesIO(), tmp_path / "b.zip"
    for out in (stream, path):
        write_bundle(AuditEntry.objects.all(), out, scope={}, generated_at=GENERATED_AT)
    assert stream.getvalue() == path.read_bytes(), "the same entries give the same archive"


@pytest.mark.parametrize("name", ["b.zip", "folder"])
def test_a_bundle_appears_whole_or_not_at_all(
    log: VerifierKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_entries(3)
    sequence_once()
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("audit.reports.bundle.render", lambda *_arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_bundle(AuditEntry.objects.all(), tmp_path / name, scope={})
    assert sorted(tmp_path.iterdir()) == before
    write_bundle(AuditEntry.objects.all(), tmp_path / name, scope={})
    with pytest.raises(BundleError) as caught:
        write_bundle(AuditEntry.objects.all(), tmp_path / name, scope={})
    assert caught.value.stable_code == "audit.bundle_exists"


def test_an_empty_log_has_no_bundle(log: VerifierKey, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        write_bundle(AuditEntry.objects.all(), tmp_path / "b.zip", scope={})
    assert caught.value.stable_code == "audit.log_empty"


def test_a_foreign_previous_checkpoint_is_refused(log: VerifierKey, tmp_path: Path) -> None:
    make_entries(3)
    sequence_once()
    key = read_key(tmp_path / "log.key")
    larger = sign_note(str(TreeHead(key.name, 9, leaf_hash(b""))), key)
    for previous in ("", "nonsense", larger):
        with pytest.raises(ProofError):
            write_bundle(AuditEntry.objects.all(), tmp_path / "b.zip", scope={}, previous=previous)
    assert not (tmp_path / "b.zip").exists()


def test_without_the_receipt_key_there_is_no_bundle(log: VerifierKey, tmp_path: Path) -> None:
    make_entry()
    sequence_once()
    (tmp_path / "receipt.key").unlink()
    with pytest.raises(KeyMissingError):
        write_bundle(AuditEntry.objects.all(), tmp_path / "b.zip", scope={})


def test_a_body_that_is_not_canonical_is_not_passed_on(log: VerifierKey, tmp_path: Path) -> None:
    AuditEntry.objects.create(
        id="01890000-0000-7000-8000-000000000009", body=b'{"at": 1}', event="x", actor="a", at=1
    )
    sequence_once()
    make_entry()
    from audit.models import PendingLeaf

    PendingLeaf.objects.create(
        entry_id="01890000-0000-7000-8000-000000000009", leaf_hash=leaf_hash(b'{"at": 1}')
    )
    sequence_once()
    with pytest.raises(BundleError, match="canonical"):
        write_bundle(AuditEntry.objects.all(), tmp_path / "b.zip", scope={})


def test_an_earlier_bundle_gives_its_checkpoint(made: Made, tmp_path: Path) -> None:
    newest = made.checkpoints[-1]
    note = tmp_path / "note"
    note.write_text(newest)
    for path in (made.folder, made.archive, note):
        assert read_previous(path) == newest
    with pytest.raises(BundleError):
        read_previous(tmp_path / "none")


class Page(HTMLParser):
    """Tags that are opened and not closed, and every attribute that could load something."""

    VOID = frozenset({"meta", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.languages: dict[str, str] = {"en": "", "zh-Hans": ""}
        self._language: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "onload"}]
        if tag in {"script", "link", "img", "iframe"}:
            self.loads.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "span":
            self._language = dict(attrs).get("lang")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "span":
            self._language = None

    def handle_data(self, data: str) -> None:
        if self._language:
            self.languages[self._language] += data


def test_the_page_stands_alone_in_two_languages(made: Made) -> None:
    text = (made.folder / layout.REPORT).read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert (page.open, page.loads) == ([], [])
    assert "Evidence report" in page.languages["en"]
    assert "证据报告" in page.languages["zh-Hans"]
    assert not any("\u4e00" <= character <= "\u9fff" for character in page.languages["en"])
    for expected in (made.vkey.fingerprint, "python -m audit.verify", "dataset.anonymized"):
        assert expected in text
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_page_escapes_what_entries_say(log: VerifierKey, tmp_path: Path) -> None:
    make_entry(0, actor="<script>alert(1)</script>", event="<b>")
    sequence_once()
    write_bundle(AuditEntry.objects.all(), tmp_path / "b", scope={"tenant": "<i>&"})
    text = (tmp_path / "b" / layout.REPORT).read_text()
    for markup in ("<script", "<b>&", "<i>"):
        assert markup not in text
    assert "&lt;script&gt;" in text


def test_times_are_exact() -> None:
    assert iso_time(1_790_000_000_123_456) == "2026-09-21T14:13:20.123456Z"
    assert iso_time(-1) == "1969-12-31T23:59:59.999999Z"
    with pytest.raises(BundleError):
        iso_time(10**18)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b'{"body":{},"id":"x","index":0}\n',
        b'{"body":{"at":1,"id":"x"},"id":"x","index":0}\n',
        b'{"body":{"at":1.5},"id":"x","index":0}\n',
        b'{"body":{"at":1},"id":"x","index":NaN}\n',
        b"[" * 100_000,
        b"\xff\n",
    ],
)
def test_a_malformed_line_is_refused(line: bytes) -> None:
    with pytest.raises(BundleError):
        BundleEntry.parse(line)
