"""Classes of one's own as models: by dotted path, and only those that the operator allows.

What a path names is code that runs where private rows are, so whoever asks for a run can choose
among the paths of the setting TRAINING_MODULES and name no other. Called with the number of inputs
it gives a module from (B, D) features to (B, 1) logits; Opacus must be able to make it private.
"""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from training.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

_allowed: frozenset[str] = frozenset()


def allow(paths: Iterable[str]) -> None:
    """Let these be used, and no other: once a process, from the settings."""
    global _allowed  # noqa: PLW0603  # the core has no settings; who starts a process says it
    _allowed = frozenset(paths)


def allowed() -> frozenset[str]:
    """What may be used here."""
    return _allowed


def check(path: str) -> None:
    """Refuse what is not allowed, without importing it.

    Raises:
        ConfigError: `run.module_not_allowed`.
    """
    if path not in _allowed:
        raise ConfigError(
            "this module is not among those that the operator allows",
            code="run.module_not_allowed",
            pointer="/module",
        )


def made(path: str, inputs: int, seed: int, *, replaced: bool = False) -> "nn.Module":
    """The module of a path for so many inputs, its weights drawn from the public seed.

    `replaced` has Opacus put group normalization where a layer would couple records.

    Raises:
        ConfigError: `run.module_not_allowed`; `run.module_invalid`, it is not there, is no module,
            or does not give one logit a row.
    """
    import torch  # noqa: PLC0415  # seconds
    from torch import nn  # noqa: PLC0415  # as above

    check(path)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _called(path, inputs)
            if replaced:
                from opacus.validators import ModuleValidator  # noqa: PLC0415  # seconds

                network = ModuleValidator.fix(network.train())
            with torch.no_grad():
                shape = network.eval()(torch.zeros(2, inputs)).shape
    except Exception:  # noqa: BLE001 - a stranger's code may raise anything, with any text in it
        raise _wrong() from None
    if not isinstance(network, nn.Module) or shape != (2, 1):
        raise _wrong()
    return network


def _called(path: str, inputs: int) -> Any:
    place, _, name = path.rpartition(".")
    return getattr(importlib.import_module(place), name)(inputs)


def _wrong() -> ConfigError:
    return ConfigError(
        "this path names no module of (B, D) features to (B, 1) logits",
        code="run.module_invalid",
        pointer="/module",
    )
