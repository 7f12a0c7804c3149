"""What a run charges to a dataset's budget: a mechanism, and the part of the rows that it touched.

Rows are split once for each dataset by a keyed hash of their place (`training.split`), whatever
they say. So a record is trained on or held out, never both, in every run on every version; charges
to the two parts compose in parallel (the larger one counts), charges to one part add.

Pure arithmetic; Rényi curves come from `training.accounting`, which is imported late: it loads
torch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from training.errors import LedgerError
from training.mechanisms import Mechanism, Purpose
from training.renyi import apart, epsilon


class Part(StrEnum):
    """Which rows a mechanism read."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Charge:
    """One mechanism, on one part of the rows."""

    mechanism: Mechanism
    part: Part = Part.TRAIN

    def as_dict(self) -> dict[str, object]:
        """The canonical-JSON form that the ledger keeps."""
        return {**self.mechanism.as_dict(), "part": self.part.value}

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> "Charge":
        """Read `as_dict` back.

        Raises:
            ConfigError: the mechanism is malformed or out of range.
            LedgerError: the part is unknown.
        """
        try:
            part = Part(str(stored["part"]))
        except (KeyError, ValueError):
            raise LedgerError("a ledger line names no known part of the data") from None
        return cls(Mechanism.from_dict(stored), part)


Tally = Counter[Charge]


def tally(charges: Iterable[Charge]) -> Tally:
    """How many of each thing that is paid for: single steps, and whole searches."""
    found: Tally = Counter()
    for charge in charges:
        kind, count = _counted(charge)
        found[kind] += count
    return found


def _counted(charge: Charge) -> tuple[Charge, int]:
    """What is counted of a charge, and how many: its steps, or one search, never a part of it."""
    if charge.mechanism.stopping:
        return charge, 1
    return replace(charge, mechanism=replace(charge.mechanism, steps=1)), charge.mechanism.steps


def training_steps(charges: Iterable[Charge]) -> int:
    """Training steps among charges; of a search those of one trial, for nobody knows how many."""
    return sum(
        charge.mechanism.steps for charge in charges if charge.mechanism.purpose is Purpose.TRAINING
    )


def covers(reserved: Iterable[Charge], used: Iterable[Charge]) -> bool:
    """Whether every step of `used` was reserved, as exactly that mechanism on exactly that part.

    A search is reserved whole or not at all: fewer of its trials' steps are another mechanism.
    """
    room = tally(reserved)
    return all(count <= room[kind] for kind, count in tally(used).items())


def less(charges: Iterable[Charge], paid: Iterable[Charge]) -> tuple[Charge, ...]:
    """What of `charges` was not paid for, mechanism by mechanism."""
    room = tally(paid)
    left = []
    for charge in charges:
        kind, count = _counted(charge)
        used = min(count, room[kind])
        room[kind] -= used
        if used < count:
            left.append(charge if kind.mechanism.stopping else _steps_of(kind, count - used))
    return tuple(left)


def _steps_of(kind: Charge, count: int) -> Charge:
    return replace(kind, mechanism=replace(kind.mechanism, steps=count))


def spend(charges: Iterable[Charge]) -> tuple[float, ...]:
    """Rényi spend of a record, whichever part it is in."""
    from training.accounting import rdp_of  # noqa: PLC0415  # loads torch: seconds

    parts: dict[Part, list[Mechanism]] = {part: [] for part in Part}
    for kind, count in tally(charges).items():
        if kind.mechanism.stopping:
            parts[kind.part] += [kind.mechanism] * count
        else:
            parts[kind.part].append(_steps_of(kind, count).mechanism)
    return apart(rdp_of(mechanisms) for mechanisms in parts.values())


def cost(charges: Iterable[Charge], delta: float) -> float:
    """ε of all charges together at δ, by the accountant that admits.

    Raises:
        ConfigError: δ out of range.
    """
    return epsilon(spend(charges), delta)
