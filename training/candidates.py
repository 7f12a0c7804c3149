"""What a private search may choose among: the candidates of a run, and how long it tries.

A trial draws one candidate, trains it and scores it once. How many trials there are, K, is
geometric: after each another follows with probability 1 - γ. So K is at least 1, γ⁻¹ in the mean,
and known to nobody (Papernot and Steinke, arXiv 2110.03620). Pure: neither torch nor Django.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from training.errors import ConfigError
from training.mechanisms import WHOLE

MOST: Final = 32  # candidates
FEWEST_TRIALS: Final = 2
MOST_TRIALS: Final = 64
# What enters neither the accounting event (sampling rate, steps) nor what is read of a row or
# released of the chosen model. The clipping norm may vary: noise is in units of it.
VARIED: Final = frozenset(
    {
        "hidden",
        "max_grad_norm",
        "learning_rate",
        "momentum",
        "optimizer",
        "average_last",
        "patience",
        "adversary",
        "views",
        "view_noise",
        "init_seed",
        "lora_rank",
        "lora_alpha",
        "lora_layers",
    }
)

Candidate = Mapping[str, Any]
Read = Callable[[Mapping[str, object]], dict[str, Any]]


@dataclass(frozen=True)
class Search:
    """A search over candidates.

    Attributes:
        candidates: fields of a `TrainingConfig` that each sets, as that class holds them.
        trials: how many trials are expected.
    """

    candidates: tuple[Candidate, ...]
    trials: int

    @property
    def stopping(self) -> int:
        """Probability γ with which a trial is the last, out of 2**32: never fewer than 1/mean."""
        return -(-WHOLE // self.trials)


def read_search(stored: object, read: Read) -> Search:
    """Read what a user or `TrainingConfig.as_dict` wrote.

    Args:
        stored: `{"candidates": [{"learning_rate": 0.5}, …], "trials": 8}`.
        read: how fields of a configuration are read.

    Raises:
        ConfigError: `run.search_invalid`; `search.field_fixed`, a field that all candidates have in
            common; or what is wrong with a field, with a pointer to it.
    """
    if not isinstance(stored, Mapping) or set(stored) != {"candidates", "trials"}:
        raise _refuse("a search has candidates and a number of trials")
    trials, listed = stored["trials"], stored["candidates"]
    if isinstance(trials, bool) or not isinstance(trials, int):
        raise _refuse("the expected number of trials is an integer", "/trials")
    if not FEWEST_TRIALS <= trials <= MOST_TRIALS:
        raise _refuse(f"{FEWEST_TRIALS} to {MOST_TRIALS} trials are expected", "/trials")
    if not isinstance(listed, list | tuple) or not 1 < len(listed) <= MOST:
        raise _refuse(f"a search is among 2 to {MOST} candidates", "/candidates")
    candidates = tuple(_candidate(one, place, read) for place, one in enumerate(listed))
    # By values: 0.5 and "0.5" are one candidate, drawn twice as often.
    told = [repr(sorted(one.items())) for one in candidates]
    if len(set(told)) < len(told):
        raise _refuse("each candidate is named once", f"/candidates/{_repeated(told)}")
    return Search(candidates, trials)


def at(place: int, error: ConfigError) -> ConfigError:
    """What is wrong with a candidate, by a pointer into the list of candidates."""
    pointer = f"/search/candidates/{place}{error.pointer or ''}"
    return ConfigError(error.detail, code=error.stable_code, pointer=pointer)


def _candidate(stored: object, place: int, read: Read) -> Candidate:
    if not isinstance(stored, Mapping) or not stored:
        raise _refuse("a candidate sets a field at least", f"/candidates/{place}")
    try:
        fields = read({str(name): value for name, value in stored.items()})
    except ConfigError as error:
        raise at(place, error) from None
    for name in sorted(fields):
        if name not in VARIED:
            raise ConfigError(
                "all candidates have this field in common: it enters the accounting, or what is "
                "read and released",
                code="search.field_fixed",
                pointer=f"/search/candidates/{place}/{name}",
            )
    return fields


def _repeated(told: list[str]) -> int:
    return next(place for place, one in enumerate(told) if one in told[:place])


def _refuse(why: str, pointer: str = "") -> ConfigError:
    return ConfigError(why, code="run.search_invalid", pointer=f"/search{pointer}")
