"""Run as a script by `tests.factories.processes.forked`: imports once, then forks a child for each.

The children are real processes that die of real signals; forking saves each the import of torch.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import django
from django.conf import settings


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
    from training import dpsgd, pipeline
    from training.models import ModelVersion

    counter = os.open(
        Path(settings.PORTCULLIS_HOME) / f"{job}.steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    summed = dpsgd.ClippingPass.sum

    def counting(*args: Any) -> Any:
        result = summed(*args)
        os.write(counter, b".")
        return result

    setattr(dpsgd.ClippingPass, "sum", counting)  # noqa: B010  # a type checker would object
    owner, name, times = {
        "begun": (pipeline, "begin_run", 1),
        "ahead": (pipeline, "write_ahead", 1),
        "step": (dpsgd.ClippingPass, "sum", 27),
        "evaluation": (pipeline, "write_ahead", 4),
        "sealed": (pipeline, "_sealed", 1),
        "committing": (ModelVersion, "save", 1),
        "committed": (pipeline, "finish_run", 1),
    }[moment]
    setattr(owner, name, _dying(getattr(owner, name), times))
    pipeline.work(UUID(job))
    return 0


def _dying(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    """`function`, after whose last allowed call the process is killed."""
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = function(*args, **kwargs)
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted


def main() -> None:
    """Fork a child for each argument and print how each ended."""
    how, what, *arguments = sys.argv[1:]
    settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
    django.setup()
    import torch

    import training.pipeline  # noqa: F401 - before the fork

    torch.set_num_threads(1)
    gate = time.monotonic() + 0.2
    children = []
    outcomes = []
    for argument in arguments:
        child = os.fork()
        if child == 0:
            time.sleep(max(0.0, gate - time.monotonic()) if how == "at_once" else 0)
            os._exit(globals()[what](argument))
        if how == "at_once":
            children.append(child)
        else:
            outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    outcomes += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(" ".join(str(outcome) for outcome in outcomes))


if __name__ == "__main__":
    main()
