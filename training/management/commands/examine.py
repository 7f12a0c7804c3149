"""`examine MODEL --as USER`: attack a model version, and tell what was found."""

import time
from argparse import ArgumentParser
from typing import Any, Final

from governance import leases
from governance.doors import DoorCommand
from governance.errors import NotFoundError
from governance.lookup import find
from governance.models import Job
from governance.rbac import UserActor
from training.actions.examinations import (
    DEFAULT_EPSILON,
    DEFAULT_SHADOWS,
    request_examination,
)
from training.errors import ExaminationFailedError
from training.examination import SHOWS, Examination, ExaminationKind, ExaminationState
from training.models import Model, ModelVersion

_PAUSE: Final = 0.3


class Command(DoorCommand):
    """Ask for attacks on a model; a worker of the queue carries them out."""

    help = "Attack a model version: membership inference, and a canary audit of its engine"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which model, which attacks, and what they may cost."""
        parser.add_argument("model", help="name or id")
        parser.add_argument(
            "--version-number", dest="number", type=int, help="the newest if not given"
        )
        parser.add_argument(
            "--kind",
            action="append",
            dest="kinds",
            choices=ExaminationKind.values,
            help="once for each; loss if not given",
        )
        parser.add_argument(
            "--epsilon", default=DEFAULT_EPSILON, help="of the noisy figures of loss"
        )
        parser.add_argument("--shadows", type=int, default=DEFAULT_SHADOWS, help="models of lira")
        parser.add_argument("--idempotency-key", default="")
        parser.add_argument("--wait", action="store_true", help="until it ends")
        parser.add_argument("--here", action="store_true", help="in this process")
        parser.add_argument("--timeout", type=float, default=3600.0, help="seconds to wait")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Ask, and wait if told to."""
        version = _version(find(actor, Model, options["model"]), options["number"])
        asked = {name: options[name] for name in ("epsilon", "shadows", "idempotency_key")}
        asked["kinds"] = options["kinds"] or [ExaminationKind.LOSS.value]
        if options["here"]:
            with leases.doing_it_here():
                made = request_examination(actor, version, **asked)
            leases.run_here(made.reference)
        else:
            made = request_examination(actor, version, **asked)
        if options["wait"] or options["here"]:
            made = self._wait(made, options["timeout"])
        return {
            "examination": str(made.id),
            "model": version.model.slug,
            "version": version.number,
            "kinds": made.kinds,
            "state": made.state,
            "epsilon_asked": f"{made.epsilon:f}",
            "figures": made.figures or None,
            "digest": made.digest or None,
            "labels": {kind: [str(text) for text in SHOWS[kind]] for kind in made.kinds},
        }

    def tell(self, result: dict[str, Any]) -> str:
        """What a person reads: each figure beside what it can show."""
        named = f"{result['model']} v{result['version']}"
        lines = [f"{named}: {result['state']}, ε {result['epsilon_asked']} asked"]
        figures = result["figures"] or {}
        for kind, (shows, hides) in result["labels"].items():
            lines += ["", f"{kind}: {shows}", hides]
            lines += _lines(kind, figures.get(kind, {}))
        if figures:
            found = ", ".join(figures["objections"]) or "nothing, which proves nothing"
            lines += ["", f"found against the claim: {found}"]
        return "\n".join(lines)

    def _wait(self, examination: Examination, seconds: float) -> Examination:
        """Wait until an examination ends, telling of its progress.

        Raises:
            ExaminationFailedError: it failed, with its code; or `examination.wait_over`.
        """
        until, seen = time.monotonic() + seconds, ""
        while True:
            now: Examination = Examination.objects.get(pk=examination.pk)
            if now.state == ExaminationState.FINISHED:
                return now
            if now.state == ExaminationState.FAILED:
                raise ExaminationFailedError("the examination failed", code=now.error_code)
            if now.state == ExaminationState.CANCELLED:
                raise ExaminationFailedError(
                    "the examination was cancelled", code="examination.cancelled"
                )
            if time.monotonic() > until:
                raise ExaminationFailedError(
                    "the examination has not ended yet: it goes on", code="examination.wait_over"
                )
            job = Job.objects.filter(subject=now.reference).latest("created_at")
            line = f"{job.state}: {job.stage or '…'} {job.done_units}/{job.all_units}"
            if line != seen:
                self.stderr.write(line)
                seen = line
            time.sleep(_PAUSE)


def _version(model: Model, number: int | None) -> ModelVersion:
    """The newest version of a model, or the one of this number.

    Raises:
        NotFoundError: `model.no_version`.
    """
    rows = ModelVersion.objects.filter(model=model).select_related("model").order_by("-number")
    found: ModelVersion | None = (rows if number is None else rows.filter(number=number)).first()
    if found is None:
        raise NotFoundError("this model has no such version", code="model.no_version")
    return found


def _lines(kind: str, found: dict[str, Any]) -> list[str]:
    """The figures of one kind, one a line."""
    if not found:
        return []
    if kind == ExaminationKind.ENGINE:
        claimed = f"  claimed ε {found['epsilon_claimed']}"
        names = ("one_run", "one_run_curve", "gaussian_fit")
        return [claimed, *(f"  {name}: ε ≥ {found[name]['epsilon']}" for name in names)]
    auc = found["auc"]
    lines = [f"  AUC {auc['value']} ({auc['low']} to {auc['high']})"]
    for at in found["at"]:
        share, ceiling = at["found"], at["ceiling"]
        lines.append(
            f"  at {at['asked']} accused: {share['value']} found "
            f"({share['low']} to {share['high']})"
            + ("" if ceiling is None else f", ceiling {ceiling}")
        )
    return lines
