"""Moments as the log writes them: whole microseconds since the Unix epoch, UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """The exact integer; a float's 53 bits would lose the last digit."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
