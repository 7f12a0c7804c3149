"""Files that a command names, as they enter: read in pieces, each when its turn comes."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from governance.batches import named_format
from governance.errors import InvalidError
from governance.intake import Incoming

PIECE: Final = 1 << 20


def incoming(
    names: Sequence[str],
    *,
    format: str = "",  # noqa: A002 - the word of the command line
    encoding: str = "",
) -> list[Incoming]:
    """What is to be taken in: files, the files of folders by name, or "-" for standard input.

    Args:
        names: as given; their order is that of the rows.
        format: of all of them; "" to go by each file's name, and by CSV on standard input.
        encoding: of all of them, as told.

    Raises:
        InvalidError: `file.unreadable`, also while a file is read; `file.folder_empty`.
    """
    files: list[Incoming] = []
    for name in names:
        if name == "-":
            files.append(Incoming(_standard_input(), format or "csv", encoding))
            continue
        files += [
            Incoming(_pieces(path), format or named_format(path.name), encoding)
            for path in _within(Path(name))
        ]
    return files


def _within(path: Path) -> list[Path]:
    """The file itself, or a folder's files; hidden ones and folders inside are left out."""
    if not path.is_dir():
        return [path]
    try:
        found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError:
        raise _unreadable() from None
    if not found:
        raise InvalidError("the folder holds no file", code="file.folder_empty")
    return found


def _standard_input() -> Iterator[bytes]:
    while piece := sys.stdin.buffer.read(PIECE):
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while piece := source.read(PIECE):
                yield piece
    except OSError:
        raise _unreadable() from None


def _unreadable() -> InvalidError:
    return InvalidError("the file cannot be read", code="file.unreadable")
