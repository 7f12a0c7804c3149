"""Files under a folder that the operator named: everything below a path, in order of name."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from governance.sources.config import Source, SourceError

PIECE: Final = 1 << 20
MOST_FILES: Final = 10_000


def files(source: Source, selection: str) -> list[Iterator[bytes]]:
    """The files at `selection`, a path below the source's folder: one file, or all under a folder.

    Hidden files are left out, and so is what a link leads to outside the folder.

    Raises:
        SourceError: `source.outside`, `source.nothing_there`, `source.too_many_files`; while read,
            `source.unreadable`.
    """
    root = Path(source.url.netloc + source.url.path).resolve()
    try:
        chosen = (root / selection.lstrip("/")).resolve()
        if not chosen.is_relative_to(root):
            raise SourceError("this path leads out of the source", code="source.outside")
        found = [chosen] if chosen.is_file() else sorted(_below(root, chosen))
    except (OSError, ValueError):
        raise SourceError("this path cannot be read") from None
    if not found:
        raise SourceError("nothing is there", code="source.nothing_there")
    if len(found) > MOST_FILES:
        raise SourceError(f"more than {MOST_FILES} files are there", code="source.too_many_files")
    return [_pieces(path) for path in found]


def _below(root: Path, chosen: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(chosen):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.resolve().is_relative_to(root):
                yield path


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceError("this is no file")
            while piece := file.read(PIECE):
                yield piece
    except OSError:
        raise SourceError("a file of this source cannot be read") from None
