"""`watch [--model NAME]`: make a pass of the watch over released models, and tell how they do."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from governance.doors import EXIT
from governance.errors import NotFoundError
from governance.scoping import across_tenants, tenant_scope
from training.models import Model, ModelVersion
from training.watcher import look_at_all
from training.watching import shown


class Command(BaseCommand):
    """The operator's: the pass that the sweeper makes by itself, for every tenant, at once.

    It closes what is due and proposes; what it proposes, people decide.
    """

    help = "Close the windows that are due, propose what declines call for, and tell the figures"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", help="name of one model; every model if not given")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one object")

    def handle(self, **options: Any) -> None:
        with across_tenants(reason="the operator asks how released models do"):
            models = Model.objects.order_by("slug")
            if options["model"] is not None:
                models = models.filter(slug=options["model"])
            found = list(models)
        if options["model"] is not None and not found:
            missing = NotFoundError("there is no such model", code="watch.model_unknown")
            self.stderr.write(json.dumps(missing.as_dict()))
            sys.exit(EXIT[missing.kind])
        done = look_at_all(model=options["model"])
        told = {"models": [_told(model) for model in found], **done}
        if options["as_json"]:
            self.stdout.write(json.dumps(told))
        else:
            self.stdout.write("\n".join(_lines(told)))


def _told(model: Model) -> dict[str, Any]:
    with tenant_scope(model.tenant_id):
        released = ModelVersion.objects.filter(model=model, released_at__isnull=False)
        now = timezone.now()
        versions = [shown(version, now) for version in released.order_by("number")]
    return {"model": model.slug, "versions": versions}


def _lines(told: dict[str, Any]) -> list[str]:
    lines = []
    for model in told["models"]:
        for version in model["versions"]:
            lines.append(f"{model['model']} v{version['number']}, {version['state']}")
            lines += [
                f"  window {window['number']} until {window['ends']}: "
                f"accuracy {_figure(window['accuracy'])} of {window['labeled'] or 0}, "
                f"PSI {_figure(window['psi'])}: {', '.join(window['findings'])}{_inputs(window)}"
                for window in version["windows"]
            ]
            if version["proposal"]:
                lines.append(f"  {version['proposed']} is proposed: {version['proposal']}")
    lines.append(f"{told['windows']} windows closed, {told['proposals']} remedies proposed")
    return lines


def _inputs(window: dict[str, Any]) -> str:
    """The features that are shifted, worst first."""
    shifted = [f"{one['feature']} {one['psi']:.3f}" for one in window["inputs"] if one["shifted"]]
    return f" ({', '.join(shifted)})" if shifted else ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
