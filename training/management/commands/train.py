"""`train --dataset N --target COL --purpose P --epsilon E --as USER`: ask for a run."""

import json
from argparse import ArgumentParser
from functools import partial
from typing import Any

import training.accounting  # noqa: F401  # torch loads now, not in the transaction that needs it
from governance import leases
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.models import Dataset
from governance.rbac import UserActor
from training.actions.runs import estimate_run, request_run
from training.admission import QUEUES
from training.config import ModelKind
from training.estimates import estimate
from training.following import told, wait
from training.lookup import sealed_version
from training.models import Guarantee, Priority, RunState


class Command(DoorCommand):
    """Ask for a run; a worker of the queue carries it out."""

    help = "Train a model on a sealed dataset version within its privacy budget"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add what a run needs to know."""
        parser.add_argument("--dataset", required=True, help="name or id")
        # Not --version, which is Django's own.
        parser.add_argument(
            "--dataset-version", type=int, help="its number; the newest if not given"
        )
        parser.add_argument("--target", required=True, help="the column to predict")
        parser.add_argument("--positive", default="", help="its positive label, if not declared")
        parser.add_argument("--purpose", required=True)
        parser.add_argument("--epsilon", required=True, help="ε for all that touches the data")
        parser.add_argument(
            "--model", default=ModelKind.MLP.value, choices=[kind.value for kind in ModelKind]
        )
        parser.add_argument("--name", default="", help="the model's name")
        parser.add_argument(
            "--guarantee", default=Guarantee.DP.value, choices=Guarantee.values, metavar="G"
        )
        parser.add_argument("--config", default="{}", help="further fields, as a JSON object")
        parser.add_argument(
            "--member",
            action="append",
            default=[],
            metavar="MODEL@NUMBER",
            help="of an ensemble; two to ten times",
        )
        parser.add_argument("--queue", default=QUEUES[0], choices=QUEUES)
        parser.add_argument("--priority", default=Priority.NORMAL.value, choices=Priority.values)
        parser.add_argument("--idempotency-key", default="")
        parser.add_argument(
            "--estimate", action="store_true", help="say what it would take, and ask for nothing"
        )
        parser.add_argument("--wait", action="store_true", help="follow the run until it ends")
        parser.add_argument("--here", action="store_true", help="train in this process")
        parser.add_argument("--timeout", type=float, default=3600.0, help="seconds to wait")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Ask, and wait if told to."""
        dataset = find(actor, Dataset, options["dataset"])
        version = sealed_version(actor, dataset, options["dataset_version"])
        asked = {
            name: options[name]
            for name in ("target", "positive", "purpose", "epsilon", "model", "name")
        }
        asked |= {name: options[name] for name in ("guarantee", "queue")}
        asked["config"] = _fields(options["config"])
        if options["member"]:
            asked["config"]["members"] = options["member"]
        if options["estimate"]:
            del asked["name"]
            return estimate(estimate_run(actor, version, **asked)).as_dict()
        asked |= {name: options[name] for name in ("priority", "idempotency_key")}
        if options["here"]:
            with leases.doing_it_here():
                run = request_run(actor, version, **asked)
            leases.run_here(run.reference)
        else:
            run = request_run(actor, version, **asked)
        if options["wait"] or (options["here"] and run.state != RunState.AWAITING_APPROVAL):
            # At the tenant's limit it waits here for its turn, unless a worker is first.
            again = partial(leases.run_here, run.reference) if options["here"] else None
            run = wait(run, seconds=options["timeout"], say=self.stderr.write, meanwhile=again)
        return told(run)


def _fields(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        read = None
    if not isinstance(read, dict):
        raise InvalidError("--config takes a JSON object", code="run.config_invalid")
    return read
