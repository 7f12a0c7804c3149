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


Tally = Counter[tuple[Part, float, int, str]]


def tally(charges: Iterable[Charge]) -> Tally:
    """Steps by what a step is: part, noise multiplier, sampling rate and purpose."""
    steps: Tally = Counter()
    for charge in charges:
        steps[_kind(charge)] += charge.mechanism.steps
    return steps


def _kind(charge: Charge) -> tuple[Part, float, int, str]:
    mechanism = charge.mechanism
    return charge.part, mechanism.noise_multiplier, mechanism.sampling, mechanism.purpose.value


def training_steps(charges: Iterable[Charge]) -> int:
    """Training steps among charges."""
    return sum(
        charge.mechanism.steps for charge in charges if charge.mechanism.purpose is Purpose.TRAINING
    )


def covers(reserved: Iterable[Charge], used: Iterable[Charge]) -> bool:
    """Whether every step of `used` was reserved, as exactly that mechanism on exactly that part."""
    room = tally(reserved)
    return all(steps <= room[key] for key, steps in tally(used).items())


def less(charges: Iterable[Charge], paid: Iterable[Charge]) -> tuple[Charge, ...]:
    """What of `charges` was not paid for, mechanism by mechanism."""
    room = tally(paid)
    left = []
    for charge in charges:
        mechanism, key = charge.mechanism, _kind(charge)
        used = min(mechanism.steps, room[key])
        room[key] -= used
        if used < mechanism.steps:
            left.append(replace(charge, mechanism=replace(mechanism, steps=mechanism.steps - used)))
    return tuple(left)


def spend(charges: Iterable[Charge]) -> tuple[float, ...]:
    """Rényi spend of a record, whichever part it is in."""
    from training.accounting import rdp_of  # noqa: PLC0415  # loads torch: seconds

    parts: dict[Part, list[Mechanism]] = {part: [] for part in Part}
    for (part, noise, sampling, _), steps in tally(charges).items():
        parts[part].append(Mechanism(noise, sampling, steps))
    return apart(rdp_of(mechanisms) for mechanisms in parts.values())


def cost(charges: Iterable[Charge], delta: float) -> float:
    """ε of all charges together at δ, by the accountant that admits.

    Raises:
        ConfigError: δ out of range.
    """
    return epsilon(spend(charges), delta)
