"""What the embedded profiles make at first start: folders and Django's secret key, for one user."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

FOLDERS: Final = ("broker", "broker/queue", "broker/control", "keys", "objects")
_PRIVATE: Final = 0o700


def prepare(home: Path) -> None:
    """Make `home` and its folders, closed to everybody else."""
    home.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    for name in FOLDERS:
        (home / name).mkdir(mode=_PRIVATE, exist_ok=True)


def secret_key(home: Path) -> str:
    """Django's secret key, made once; processes that start together agree on one."""
    path = home / "keys" / "django.key"
    if not path.exists():
        # Written aside and then linked: nobody reads half a key, and the first to link wins.
        draft = path.with_name(f".django.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="ascii")
