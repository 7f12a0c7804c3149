"""Uploads are sealed as they arrive: no temporary file, never more plaintext than a chunk.

Django parses a request's body before its view runs, often inside the CSRF check, where an error
would become a bare 500. A refused upload is therefore stopped and its reason kept; the view asks
`sealed_uploads`, which gives the sealed files or raises the reason.
"""

from typing import Any, Final

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest

from governance.batches import Received, named_format
from governance.errors import UploadError
from governance.models import StoredObject, Tenant
from governance.stages import QUARANTINE
from governance.vault import ObjectWriter, discard

_FORM_ROOM: Final = 1 << 20  # bytes of a body that are boundaries and other fields, not the file


class SealedUpload(UploadedFile):  # type: ignore[type-arg]  # generic in the stubs alone
    """An uploaded file that was sealed on its way in.

    `stored` is not saved: the action that takes it in saves it. What no action took in by the end
    of the request is removed. There is no plaintext to read here: reading is an action of its own.
    """

    def __init__(
        self, stored: StoredObject, name: str | None, content_type: str | None, charset: str | None
    ) -> None:
        super().__init__(
            file=None, name=name, content_type=content_type, size=stored.size, charset=charset
        )
        self.stored = stored

    def close(self) -> None:
        """Called at the end of the request."""
        if self.stored._state.adding:  # noqa: SLF001  # Django's own word for "not saved"
            discard(self.stored)


class SealingUploadHandler(FileUploadHandler):
    """Seals each chunk of each file for the tenant that the request's actor acts for.

    `request.actor` is set by the tenancy middleware, before any body is parsed.
    """

    chunk_size = 1 << 18

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self.refusal: UploadError | None = None
        self._writer: ObjectWriter | None = None
        self._received = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803  # Django's name
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        """Judge the declared length; the parser goes on, and the first file is stopped."""
        del input_data, META, boundary, encoding
        if content_length > settings.UPLOAD_MAX_BYTES + _FORM_ROOM:
            self.refusal = _too_large()

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin a sealed object.

        Raises:
            StopUpload: the upload is refused; `refusal` says why.
        """
        super().new_file(*args, **kwargs)
        if self.refusal is not None:
            raise StopUpload(connection_reset=True)
        actor = getattr(self.request, "actor", None)
        tenant_id = getattr(actor, "tenant_id", None)
        if tenant_id is None:
            raise self._stopped(UploadError("sign in, for a tenant", code="upload.no_tenant"))
        self._received = 0
        self._writer = ObjectWriter(Tenant.objects.get(pk=tenant_id), QUARANTINE)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Seal a chunk; no other handler sees it.

        Raises:
            StopUpload: the file is larger than UPLOAD_MAX_BYTES.
        """
        del start
        if self._writer is None:
            return
        self._received += len(raw_data)
        if self._received > settings.UPLOAD_MAX_BYTES:
            raise self._stopped(_too_large())
        self._writer.write(raw_data)

    def file_complete(self, file_size: int) -> SealedUpload | None:
        """Finish the sealed object."""
        del file_size  # the declared one; the vault counted what came
        if self._writer is None:
            return None
        stored = self._writer.finish()
        self._writer.close()
        self._writer = None
        return SealedUpload(stored, self.file_name, self.content_type, self.charset)

    def upload_interrupted(self) -> None:
        """The body ended inside a file."""
        self._abort()
        self.refusal = self.refusal or UploadError(
            "the upload broke off", code="upload.interrupted"
        )

    def __del__(self) -> None:
        # A connection that broke raises past the parser, which then tells no handler.
        if getattr(self, "_writer", None) is not None:
            self._abort()

    def _stopped(self, refusal: UploadError) -> StopUpload:
        """Keep the reason and remove what came; what the parser is stopped with."""
        self.refusal = refusal
        self._abort()
        return StopUpload(connection_reset=True)

    def _abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer.close()
            self._writer = None


def sealed_uploads(request: HttpRequest, field: str) -> list[SealedUpload]:
    """The files that came as `field`, in the order in which they came; one at least.

    Raises:
        UploadError: `upload.too_large`, `upload.no_tenant`, `upload.interrupted`, or
            `upload.missing`: there is none.
    """
    uploads = [file for file in request.FILES.getlist(field) if isinstance(file, SealedUpload)]
    for handler in request.upload_handlers:
        if isinstance(handler, SealingUploadHandler) and handler.refusal is not None:
            raise handler.refusal
    if not uploads:
        raise UploadError("there is no file", code="upload.missing", pointer=f"/{field}")
    return uploads


def received(
    request: HttpRequest, field: str, *, stated: str = "", encoding: str = ""
) -> list[Received]:
    """The files that came as `field`, as the actions take them in.

    Args:
        request: the upload.
        field: the form's.
        stated: the format of all of them; "" to go by each file's name.
        encoding: of all of them, as told.

    Raises:
        UploadError: as `sealed_uploads`.
    """
    return [
        Received(upload.stored, stated or named_format(upload.name or ""), encoding)
        for upload in sealed_uploads(request, field)
    ]


def _too_large() -> UploadError:
    return UploadError(
        f"the file is larger than {settings.UPLOAD_MAX_BYTES} bytes", code="upload.too_large"
    )
