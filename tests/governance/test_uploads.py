"""Real multipart bodies through Django's parser: sealed, refused, broken off."""

import gc
import io
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django.fixtures import Settings

from governance import tenant_keys
from governance.errors import UploadError
from governance.models import StoredObject, Tenant
from governance.models.tenants import Suite
from governance.permissions import Role
from governance.rbac import UserActor
from governance.scoping import tenant_scope
from governance.uploads import SealedUpload, SealingUploadHandler, sealed_uploads
from governance.vault import open_object, sweep_orphans
from tests.factories.people import make_tenant, make_user

MARKER = b"plaintext-marker-51c0"
CONTENT = (MARKER + b"," + b"0123456789" * 10 + b"\n") * 30_000  # 3.6 MB
BOUNDARY = "----------------portcullis"

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty temporary folder, where a spooled upload would lie."""
    for cache in ("_providers", "_unwrapped", "_hashing"):
        monkeypatch.setattr(tenant_keys, cache, {})
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def body(
    content: bytes = CONTENT,
    *,
    before: bytes = b"",
    ending: bytes = b"\r\n--" + BOUNDARY.encode() + b"--\r\n",
    headers: bytes = b"",
) -> bytes:
    start = f"--{BOUNDARY}\r\n".encode()
    field = start + b'Content-Disposition: form-data; name="name"\r\n\r\nadult\r\n'
    file = (
        start
        + b'Content-Disposition: form-data; name="file"; filename="people.csv"\r\n'
        + b"Content-Type: text/csv; charset=gb18030\r\n"
        + headers
        + b"\r\n"
    )
    return before + field + file + content + ending


def post(actor: UserActor | None, stream: Any, length: int) -> WSGIRequest:
    request = RequestFactory().generic(
        "POST", "/upload", b"-", content_type=f"multipart/form-data; boundary={BOUNDARY}"
    )
    environ = request.environ | {"CONTENT_LENGTH": str(length), "wsgi.input": stream}
    request = WSGIRequest(environ)
    request.actor = actor  # type: ignore[attr-defined]  # as the tenancy middleware does
    return request


def posted(actor: UserActor | None, data: bytes) -> WSGIRequest:
    return post(actor, io.BytesIO(data), len(data))


@pytest.fixture
def actor(tenant: Tenant) -> UserActor:
    user = make_user("steward", tenant, Role.STEWARD)
    return UserActor(user.id, tenant.id)


class Watching(io.RawIOBase):
    """A body that looks, at each read, for plaintext on the disk."""

    def __init__(self, data: bytes, folders: list[Path], breaks_at: int | None = None) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._folders = folders
        self._breaks_at = breaks_at
        self.looks = 0

    def read(self, size: int = -1) -> bytes:
        if self._breaks_at is not None and self._data.tell() >= self._breaks_at:
            raise OSError("the connection was reset")
        for folder in self._folders:
            for file in files(folder):
                assert MARKER not in file.read_bytes(), file
        self.looks += 1
        return self._data.read(min(size, 300_000) if size >= 0 else 300_000)


@pytest.mark.parametrize("suite", Suite.values)
def test_an_upload_is_sealed_chunk_by_chunk(home: Path, scratch: Path, suite: str) -> None:
    tenant = make_tenant("acme", suite=suite)
    actor = UserActor(make_user("steward", tenant, Role.STEWARD).id, tenant.id)
    watching = Watching(body(), [home, scratch])
    request = post(actor, watching, len(body()))
    upload = sealed_uploads(request, "file")[0]
    assert watching.looks > 10
    assert request.POST["name"] == "adult"
    assert (upload.name, upload.content_type) == ("people.csv", "text/csv")
    assert (upload.size, upload.stored.kind, upload.stored.suite) == (
        len(CONTENT),
        "quarantine",
        suite,
    )
    with open_object(upload.stored) as file:
        assert file.read() == CONTENT
    assert files(scratch) == []
    sealed = [file for file in files(home) if "objects" in file.parts]
    assert [file.stat().st_size for file in sealed] == [upload.stored.sealed_size]


def test_an_upload_that_no_action_takes_in_goes_with_its_request(
    home: Path, actor: UserActor
) -> None:
    request = posted(actor, body())
    sealed_uploads(request, "file")[0]
    assert len(files(home / "objects")) == 1
    request.close()
    assert files(home / "objects") == []


def test_an_upload_that_was_taken_in_stays(home: Path, actor: UserActor) -> None:
    request = posted(actor, body())
    stored = sealed_uploads(request, "file")[0].stored
    stored.save(force_insert=True)
    request.close()
    with open_object(stored) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_sizes_at_the_edges(actor: UserActor, size: int) -> None:
    request = posted(actor, body(CONTENT[:size]))
    with open_object(sealed_uploads(request, "file")[0].stored) as file:
        assert file.read() == CONTENT[:size]


def test_memory_holds_a_chunk_and_not_the_file(actor: UserActor) -> None:
    """16 MB pass; two segments' buffers, a chunk and the parser's own copies are held."""

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            super().__init__()
            self.parts = (
                [body(b"", ending=b"")]
                + [b"x" * 65536] * 256
                + [b"\r\n--" + BOUNDARY.encode() + b"--\r\n"]
            )
            self.length = sum(map(len, self.parts))
            self.left = iter(self.parts)
            self.rest = b""

        def read(self, size: int = -1) -> bytes:
            self.rest = self.rest or next(self.left, b"")
            given, self.rest = self.rest[:size], self.rest[size:]
            return given

    stream = Endless()
    posted_request = post(actor, stream, stream.length)
    tracemalloc.start()
    try:
        upload = sealed_uploads(posted_request, "file")[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert upload.size == 256 * 65536
    assert peak < 6 << 20


REFUSED: dict[str, tuple[int, Callable[[], bytes], str]] = {
    "too large by its declared length": (1 << 20, body, "upload.too_large"),
    "too large as it comes": (len(CONTENT) - 1, body, "upload.too_large"),
    "cut inside the file": (1 << 30, lambda: body(ending=b""), "upload.interrupted"),
    "cut inside the boundary": (
        1 << 30,
        lambda: body(ending=b"\r\n--" + BOUNDARY.encode()[:-4]),
        "upload.interrupted",
    ),
    "no file": (1 << 30, f"--{BOUNDARY}--\r\n".encode, "upload.missing"),
    "no multipart at all": (1 << 30, lambda: b"name=adult", "upload.missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_upload_leaves_nothing(
    name: str, home: Path, scratch: Path, actor: UserActor, settings: Settings
) -> None:
    limit, make, code = REFUSED[name]
    settings.UPLOAD_MAX_BYTES = limit
    request = posted(actor, make())
    with pytest.raises(UploadError) as caught:
        sealed_uploads(request, "file")[0]
    assert caught.value.stable_code == code
    assert caught.value.kind == "invalid"
    request.close()
    assert files(home / "objects") == []
    assert files(scratch) == []


def test_a_file_of_exactly_the_limit_passes(actor: UserActor, settings: Settings) -> None:
    settings.UPLOAD_MAX_BYTES = len(CONTENT)
    assert sealed_uploads(posted(actor, body()), "file")[0].size == len(CONTENT)


@pytest.mark.parametrize("who", ["nobody", "somebody without a tenant"])
def test_an_upload_for_no_tenant_is_refused(who: str, home: Path) -> None:
    user = None if who == "nobody" else UserActor(make_user("new").id, None)
    request = posted(user, body())
    with pytest.raises(UploadError) as caught:
        sealed_uploads(request, "file")[0]
    assert caught.value.stable_code == "upload.no_tenant"
    assert files(home / "objects") == []


def test_a_connection_that_breaks_leaves_no_plaintext_and_soon_nothing(
    home: Path, scratch: Path, actor: UserActor
) -> None:
    request = post(actor, Watching(body(), [home, scratch], breaks_at=2_500_000), len(body()))
    with pytest.raises(UnreadablePostError):
        sealed_uploads(request, "file")[0]
    left = files(home / "objects")
    assert [file.parent.name for file in left] == ["incoming"]  # sealed, and without a key
    assert MARKER not in left[0].read_bytes()
    del request
    gc.collect()
    assert files(home / "objects") == []  # removed with the request


def test_a_killed_process_leaves_sealed_bytes_that_the_sweeper_removes(
    home: Path, actor: UserActor
) -> None:
    handler = SealingUploadHandler(post(actor, io.BytesIO(), 0))
    handler.new_file("file", "people.csv", "text/csv", None)
    for start in range(0, 3_000_000, 65536):
        handler.receive_data_chunk(CONTENT[start : start + 65536], start)
    assert handler._writer is not None
    handler._writer._file.close()  # as the kernel does; no finalizer runs, nothing is removed
    handler._writer = None
    (left,) = files(home / "objects")
    assert MARKER not in left.read_bytes()
    assert sweep_orphans() == 0
    os.utime(left, (time.time() - 90_000,) * 2)
    assert sweep_orphans() == 1
    assert files(home) == files(home / "keys")


def test_several_files_are_several_objects(actor: UserActor) -> None:
    request = RequestFactory().post(
        "/upload",
        {"file": SimpleUploadedFile("a.csv", b"first"), "more": SimpleUploadedFile("b", b"2nd")},
    )
    request.actor = actor  # type: ignore[attr-defined]  # as the tenancy middleware does
    contents = []
    for field in ("file", "more"):
        with open_object(sealed_uploads(request, field)[0].stored) as file:
            contents.append(file.read())
    assert contents == [b"first", b"2nd"]


def _view(request: HttpRequest) -> HttpResponse:
    """What a real view does: take the upload in, or say why not."""
    if request.method == "GET":
        return HttpResponse(get_token(request))
    try:
        upload = sealed_uploads(request, "file")[0]
    except UploadError as error:
        return JsonResponse(error.as_dict(), status=400)
    assert isinstance(upload, SealedUpload)
    if request.POST.get("keep") == "yes":
        upload.stored.save(force_insert=True)
    return JsonResponse({"object": upload.stored.reference})


urlpatterns = [path("upload", _view)]


@pytest.mark.parametrize("keep", ["yes", "no"])
def test_through_every_middleware(
    home: Path, tenant: Tenant, actor: UserActor, settings: Settings, keep: str
) -> None:
    """Session, CSRF and tenancy as they are; the body is parsed inside the CSRF check."""
    settings.ROOT_URLCONF = sys.modules[__name__]
    client = Client(enforce_csrf_checks=True)
    with tenant_scope(tenant.id):
        client.force_login(make_user("second", tenant, Role.STEWARD))
    token = client.get("/upload").content.decode()
    form = {"csrfmiddlewaretoken": token, "keep": keep}
    answer = client.post("/upload", form | {"file": SimpleUploadedFile("people.csv", CONTENT)})
    assert answer.status_code == 200, answer.content
    with tenant_scope(tenant.id):
        rows = list(StoredObject.objects.all())
    assert len(rows) == len(files(home / "objects")) == (keep == "yes")
    settings.UPLOAD_MAX_BYTES = 1000
    answer = client.post("/upload", form | {"file": SimpleUploadedFile("people.csv", CONTENT)})
    assert (answer.status_code, answer.json()["code"]) == (400, "upload.too_large")
    assert len(files(home / "objects")) == len(rows)
