"""Run as a script by `tests.factories.processes.forked`: imports once, then forks a child for each.

The children are real processes that die of real signals; forking saves each the import of torch.
"""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from tests.factories.killing import dying, fork_each


def reserve(run_id: str) -> int:
    """Reserve what the concurrency test reserves; exit code 3 if the budget refuses."""
    from django.db import transaction

    from governance.scoping import across_tenants
    from training import ledger
    from training.charges import Charge
    from training.errors import BudgetError
    from training.mechanisms import WHOLE, Mechanism
    from training.models import Run

    with across_tenants(reason="a test"):
        run = Run.objects.get(pk=run_id)
        try:
            with transaction.atomic():
                budget = ledger.budget_of(run.version.dataset)
                ledger.reserve(budget, run, 1, [Charge(Mechanism(2.0, WHOLE // 10, 100))])
        except BudgetError:
            return 3
    return 0


def train(argument: str) -> int:
    """`job:moment`: carry a run out and be killed at that moment, counting steps in a file."""
    job, moment = argument.split(":")
    from training import checkpoints, clipping, pipeline
    from training.models import ModelVersion

    counter = os.open(
        Path(settings.PORTCULLIS_HOME) / f"{job}.steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    summed = clipping.ClosedForm.sum

    def counting(*args: Any) -> Any:
        result = summed(*args)
        os.write(counter, b".")
        return result

    setattr(clipping.ClosedForm, "sum", counting)  # noqa: B010  # a type checker would object
    owner, name, times = {
        "begun": (pipeline, "begin_run", 1),
        "secret": (checkpoints, "keep", 1),
        "ahead": (pipeline, "write_ahead", 1),
        "step": (clipping.ClosedForm, "sum", 27),
        "kept": (checkpoints, "keep", 3),
        "twin": (pipeline, "train_twin", 1),
        "evaluation": (pipeline, "write_ahead", 4),
        "sealed": (pipeline, "_sealed", 1),
        "committing": (ModelVersion, "save", 1),
        "committed": (pipeline, "finish_run", 1),
    }[moment]
    setattr(owner, name, dying(getattr(owner, name), times))
    pipeline.work(UUID(job))
    return 0


def search(argument: str) -> int:
    """`job:moment:seed`: carry a search out with a known secret, and be killed at that moment."""
    job, moment, seed = argument.split(":")
    from training import checkpoints, clipping, pipeline
    from training.randomness import seeded_secret

    setattr(  # noqa: B010  # a type checker would object
        pipeline, "fresh_secret", lambda: seeded_secret(int(seed), allow_seeded=True)
    )
    owner, name, times = {
        "secret": (checkpoints, "keep", 1),
        "ahead": (pipeline, "write_ahead", 1),
        "step": (clipping.ClosedForm, "sum", 70),  # in the second of three trials
        "trial": (pipeline._Attempt, "_keep_trials", 2),
        "sealed": (pipeline, "_sealed", 1),
    }[moment]
    setattr(owner, name, dying(getattr(owner, name), times))
    pipeline.work(UUID(job))
    return 0


def examine(argument: str) -> int:
    """`job:moment`: carry an examination out and be killed at that moment."""
    job, moment = argument.split(":")
    from training import examining

    name = {"ahead": "write_ahead", "noised": "noisy_threshold_attack"}[moment]
    setattr(examining, name, dying(getattr(examining, name), 1))
    examining.work(UUID(job))
    return 0


def synthesize(argument: str) -> int:
    """`version:moment`: draw a twin and be killed at that moment."""
    key, moment = argument.split(":")
    from governance.models import DatasetVersion, User
    from governance.rbac import UserActor
    from governance.scoping import across_tenants, tenant_scope
    from training import twin

    name = {"begun": "begin_twin", "ahead": "write_ahead"}[moment]
    setattr(twin, name, dying(getattr(twin, name), 1))
    with across_tenants(reason="a test"):
        version = DatasetVersion.objects.select_related("dataset").get(pk=key)
        engineer = User.objects.get(username="house-engineer")
    out = Path(settings.PORTCULLIS_HOME) / f"{moment}.csv"
    with tenant_scope(version.tenant_id):
        twin.synthesize(UserActor(engineer.pk, version.tenant_id), version, 20, out, "0.5")
    return 0


def prepare() -> None:
    """Load torch once, before the fork."""
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    fork_each(
        {
            "reserve": reserve,
            "train": train,
            "search": search,
            "examine": examine,
            "synthesize": synthesize,
        },
        prepare,
    )
