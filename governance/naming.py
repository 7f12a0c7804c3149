"""Names that people give: their form, and that each is taken once even by two at the same time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import IntegrityError, transaction

from governance.errors import ConflictError, InvalidError

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


@contextmanager
def taken_once(detail: str, *, code: str) -> Iterator[None]:
    """Write a row whose name is unique; whoever comes second gets a stable code.

    To look first and write then lets two through on PostgreSQL: the constraint decides.

    Raises:
        ConflictError: with `code`; what was written inside is undone, the rest goes on.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        # Not its text: PostgreSQL's quotes the row.
        raise ConflictError(detail, code=code) from None


def checked_slug(slug: str, *, code: str) -> str:
    """A short name in an address and in the log: lower-case letters, digits, - and _.

    Raises:
        InvalidError: with `code`.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidError(
            "a short name is made of 1 to 60 lower-case letters, digits, - and _", code=code
        )
    return slug
