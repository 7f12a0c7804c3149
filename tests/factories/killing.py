"""Real processes that die of real signals: forked once their models are there, killed at a call."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import django
from django.conf import settings

Task = Callable[[str], int]


def dying(function: Callable[..., Any], times: int) -> Callable[..., Any]:
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


def fork_each(tasks: Mapping[str, Task], prepare: Callable[[], None]) -> None:
    """Fork a child for each argument of the command line, and print how each ended."""
    how, what, *arguments = sys.argv[1:]
    settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
    django.setup()
    prepare()
    gate = time.monotonic() + 0.2
    children = []
    outcomes = []
    for argument in arguments:
        child = os.fork()
        if child == 0:
            # All begin together, however long the last fork took.
            time.sleep(max(0.0, gate - time.monotonic()) if how == "at_once" else 0)
            os._exit(tasks[what](argument))
        if how == "at_once":
            children.append(child)
        else:
            outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    outcomes += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(" ".join(str(outcome) for outcome in outcomes))
