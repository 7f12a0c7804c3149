"""A bundle as files: writing a ZIP or a folder, and reading one that a stranger may have made.

Reading trusts nothing: names come from a closed list, sizes are bounded before and while bytes are
read, and an archive must be laid out exactly as the writer lays it out, so that no byte of it lies
outside what is verified.
"""

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from audit.errors import BundleError, ProofError
from audit.reports.layout import MANIFEST, MAX_FILES, allowed_name, size_limit

_CHUNK: Final = 1 << 20
_MODE: Final = 0o644
_END: Final = struct.Struct("<4s4H2LH")  # end of central directory (APPNOTE 4.3.16)
_END_SIGNATURE: Final = b"PK\x05\x06"
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_LOCAL_SIZE: Final = 30  # of a member's own header, before its name (4.3.7)
_MAX_COMMENT: Final = 0xFFFF
_MAX_DIRECTORY: Final = MAX_FILES * 128  # a member of ours takes fewer than 100 bytes there
_COMMENT_LENGTH: Final = struct.Struct("<H")  # its last field


class Target(Protocol):
    """Where a bundle is written: one file after another."""

    def create(self, name: str) -> IO[bytes]:
        """Open a new file for writing; close it before the next."""
        ...


class ZipTarget:
    """A ZIP archive without times, owners or comments: the same files give the same archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def create(self, name: str) -> IO[bytes]:
        """Open a new member."""
        return self._archive.open(_member(name), "w")


def seal_archive(file: IO[bytes]) -> None:
    """Put the SHA-256 of a finished archive into its comment.

    A compressed stream ends in up to seven bits that mean nothing: with this, changing them shows.
    """
    file.seek(-_END.size, os.SEEK_END)
    seal = _digest_of_first(file, file.tell())
    file.seek(-_COMMENT_LENGTH.size, os.SEEK_END)
    file.write(_COMMENT_LENGTH.pack(len(seal)) + seal)


class FolderTarget:
    """A new, empty folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str) -> IO[bytes]:
        """Open a new file; its folder is made where needed."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


class Source(Protocol):
    """A bundle to read."""

    def names(self) -> list[str]:
        """Every file in it."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        ...


class ZipSource:
    """A bundle in a ZIP archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> list[str]:
        """Every member."""
        return self._archive.namelist()

    def open(self, name: str) -> IO[bytes]:
        """Open a member."""
        return self._archive.open(name)


class FolderSource:
    """A bundle in a folder. Links and special files are refused: they may lead outside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Every file, by its path inside the folder.

        Raises:
            BundleError: something is neither a file nor a folder, or there are too many.
        """
        found = []
        for path in sorted(self._folder.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise BundleError("the bundle holds a link or a special file")
            found.append(path.relative_to(self._folder).as_posix())
            if len(found) > MAX_FILES:
                raise BundleError("the bundle holds too many files")
        return found

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        return os.fdopen(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")


@contextmanager
def open_bundle(path: Path) -> Iterator[Source]:
    """Open a bundle and check names and layout, before any content is read.

    Raises:
        BundleError: it is no bundle at all, or past the limits.
        ProofError: it is one, but not as it was written: a foreign or doubled name, changed bytes.
    """
    if path.is_dir():
        source = FolderSource(path)
        _check_names(source.names())
        yield source
        return
    try:
        file = path.open("rb")
    except OSError:
        raise BundleError("the bundle cannot be read") from None
    with file, _opened(file) as archive:
        if not any(map(allowed_name, archive.namelist())) and _begins_as_ours(file):
            # A directory of which nothing is left to read, before files that are a bundle's.
            raise ProofError("the archive is damaged")
        _check_names(archive.namelist())
        _check_layout(file, archive)
        try:
            yield ZipSource(archive)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ProofError("a file in the archive is damaged") from error


def _opened(file: IO[bytes]) -> zipfile.ZipFile:
    _check_directory_size(file)
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        # zipfile cannot tell a changed archive from what never was one; the first bytes can.
        file.seek(0)
        if file.read(4) == _LOCAL_SIGNATURE:
            raise ProofError("the archive is damaged") from error
        raise BundleError("the file is no bundle") from error


def _begins_as_ours(file: IO[bytes]) -> bool:
    """Whether the archive's first header names a file of a bundle."""
    file.seek(0)
    head = file.read(_LOCAL_SIZE)
    if len(head) < _LOCAL_SIZE or head[:4] != _LOCAL_SIGNATURE:
        return False
    size = int.from_bytes(head[26:28], "little")
    return allowed_name(file.read(size).decode("ascii", "replace"))


def _check_directory_size(file: IO[bytes]) -> None:
    """Python reads the whole directory into memory, so a hostile one is refused before that."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _MAX_COMMENT))
    tail = file.read()
    # As zipfile looks for it: at the very end first, then the last one within a comment's length.
    at = len(tail) - _END.size if tail[-_END.size :][:4] == _END_SIGNATURE else -1
    at = tail.rfind(_END_SIGNATURE) if at < 0 else at
    if 0 <= at <= len(tail) - _END.size:
        *_, directory, _start, _comment = _END.unpack_from(tail, at)
        if directory > _MAX_DIRECTORY:
            raise ProofError("the archive's directory is too large")


def read_small(source: Source, name: str) -> bytes:
    """A whole file, up to its size limit.

    Raises:
        BundleError: it is larger.
    """
    limit = size_limit(name)
    with source.open(name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{name} is too large")
    return data


def digest_of(source: Source, name: str, size: int) -> str:
    """SHA-256 of a file, in hexadecimal, reading no more than one byte past `size`.

    Raises:
        ProofError: the file has another size.
    """
    digest, left = hashlib.sha256(), size
    with source.open(name) as file:
        while chunk := file.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
    if left:
        raise ProofError(f"{name} has another size than the manifest says")
    return digest.hexdigest()


def _check_names(names: list[str]) -> None:
    if not any(map(allowed_name, names)):
        raise BundleError("that is no bundle: it holds none of a bundle's files")
    if len(names) > MAX_FILES:
        raise BundleError("the bundle holds too many files")
    if len(set(names)) != len(names):
        raise ProofError("the bundle holds two files of one name")
    if not all(map(allowed_name, names)):
        # Said without the name, which a stranger chose and a terminal would print.
        raise ProofError("the bundle holds a file that does not belong in one")
    if MANIFEST not in names:
        raise ProofError("the bundle has lost its manifest.json")


def _member(name: str) -> zipfile.ZipInfo:
    """A member's header with everything fixed but its sizes."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = _MODE << 16
    return info


def _check_layout(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """The archive is header, data, …, directory, end and seal; each header as we write it."""
    fault = ProofError("the archive is not as it was written; if repacked, verify its folder")
    at = 0
    for info in archive.infolist():
        expected = _member(info.filename)
        expected.CRC, expected.file_size = info.CRC, info.file_size
        expected.compress_size, expected.header_offset = info.compress_size, at
        header = expected.FileHeader(zip64=False)
        file.seek(at)
        if file.read(len(header)) != header or _central(info) != _central(expected):
            raise fault
        at += len(header) + info.compress_size
    if archive.start_dir != at:
        raise fault
    file.seek(0, os.SEEK_END)
    directory_end = file.tell() - _END.size - len(archive.comment)
    count = len(archive.infolist())
    seal = _digest_of_first(file, directory_end)
    end = _END.pack(_END_SIGNATURE, 0, 0, count, count, directory_end - at, at, len(seal))
    file.seek(directory_end)
    if file.read() != end + seal:
        raise fault


def _digest_of_first(file: IO[bytes], size: int) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(_CHUNK, size))):
        size -= len(chunk)
        digest.update(chunk)
    return digest.hexdigest().encode()


def _central(info: zipfile.ZipInfo) -> tuple[object, ...]:
    """What the central directory says of a member, beyond name, checksum and sizes."""
    return (
        info.header_offset,
        info.date_time,
        info.compress_type,
        info.create_system,
        info.create_version,
        info.extract_version,
        info.reserved,
        info.flag_bits,
        info.volume,
        info.internal_attr,
        info.external_attr,
        info.extra,
        info.comment,
    )
