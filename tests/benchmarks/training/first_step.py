"""From a run's request to the first block that its worker writes ahead, through Celery.

Run as `python -m tests.benchmarks.training.first_step TIMES`, with a PORTCULLIS_TEST_HOME of its
own and of mode 0700: a worker as `serve` starts it, warmed by one run; prints one JSON object with
seconds.
"""

import json
import sys
import time
from typing import Final

from tests.benchmarks.ingesting import sides

ROWS: Final = 32_561  # as many as adult.data has
PATIENCE: Final = 120.0  # seconds


def main() -> None:
    """Ask for runs one after the other."""
    house = sides.house()
    from gateway.processes import Processes, portcullis
    from governance.scoping import tenant_scope
    from tests.factories.training import ASKED, make_version
    from training.actions.runs import request_run
    from training.models import BudgetEntry, LedgerKind, Run, RunState

    version = make_version(house, rows=ROWS)

    def first_step() -> float:
        """Seconds between the two rows, by the clock of the processes that wrote them."""
        with tenant_scope(house.id):
            run: Run = request_run(house.engineer, version, **{**ASKED, "epsilon": "0.1"})
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                time.sleep(0.05)
                run.refresh_from_db()
                if run.state in {RunState.FINISHED, RunState.FAILED}:
                    break
            if run.state != RunState.FINISHED:
                raise RuntimeError(f"the run is {run.state} {run.error_code}")
            ahead = BudgetEntry.objects.filter(run=run, kind=LedgerKind.AHEAD).earliest("sequence")
            return float((ahead.created_at - run.created_at).total_seconds())

    (worker,) = (command for command in portcullis() if command.name.startswith("train"))
    with Processes([worker], write=lambda _: None):
        first_step()
        taken = [first_step() for _ in range(int(sys.argv[1]))]
    print(json.dumps({"seconds": taken}))


if __name__ == "__main__":
    main()
