"""`export_version DATASET --out FILE --as USER`: anonymized rows as CSV, JSONL or Parquet.

With `--recipient` the rows are made to hide the people in them first: see `governance.releasing`.
"""

from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from governance.doors import DoorCommand
from governance.errors import InvalidError, NotFoundError
from governance.lookup import find
from governance.models import Dataset, DatasetVersion
from governance.models.releases import DataRelease, RecipientClass
from governance.rbac import UserActor
from governance.releasing import Asked


class Command(DoorCommand):
    """Export one version of a dataset, the newest unless told otherwise."""

    help = "Export a sealed version: CSV, JSONL or Parquet by the file's suffix"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add which version, where to, and for whom."""
        parser.add_argument("dataset", help="the dataset's name or id")
        parser.add_argument(
            "--version-number", dest="number", type=int, help="which version; the newest by default"
        )
        parser.add_argument("--out", type=Path, help="a new file")
        release = parser.add_argument_group(
            "for somebody", "only the columns named here go out, generalized as far as it takes"
        )
        release.add_argument("--recipient", help="who receives it, a short name")
        release.add_argument(
            "--recipient-class",
            dest="kind",
            choices=RecipientClass.values,
            default=RecipientClass.EXTERNAL.value,
            help="how far out they are; external unless told otherwise",
        )
        release.add_argument("--quasi", help="columns that could tell a person: a,b,c")
        release.add_argument("--sensitive", default="", help="columns that nobody should learn")
        release.add_argument("--as-is", dest="as_is", default="", help="columns that tell nothing")
        release.add_argument("--levels", default="", help="levels a person chose: age=2,region=1")
        release.add_argument("--k", type=int, help="a stricter k")
        release.add_argument("--l", type=int, help="a stricter l")
        release.add_argument("--t", help="a stricter t")
        release.add_argument(
            "--propose", action="store_true", help="ask the officer, and write no file"
        )

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Find the version and write it, or propose what only a person may allow."""
        from governance.exporting import export, propose  # noqa: PLC0415 - spaCy only where needed

        version = _version(actor, options)
        asked = _asked(options)
        if options["propose"] and asked is not None:
            proposal, assessed = propose(actor, version, asked)
            return {"proposal": str(proposal.id), **assessed.payload(version)}
        if options["out"] is None:
            raise InvalidError("say where to: --out", code="file.missing", pointer="/out")
        return _told(export(actor, version, options["out"], asked), options["out"])


def _version(actor: UserActor, options: dict[str, Any]) -> DatasetVersion:
    dataset = find(actor, Dataset, options["dataset"])
    versions = dataset.versions.order_by("-number")
    if options["number"] is not None:
        versions = versions.filter(number=options["number"])
    version: DatasetVersion | None = versions.first()
    if version is None:
        raise NotFoundError("there is no such sealed version", code="version.not_found")
    return version


def _asked(options: dict[str, Any]) -> Asked | None:
    if options["recipient"] is None:
        if options["quasi"] or options["propose"]:
            raise InvalidError(
                "say for whom: --recipient", code="release.recipient_invalid", pointer="/recipient"
            )
        return None
    return Asked(
        recipient=options["recipient"],
        kind=RecipientClass(options["kind"]),
        quasi=_names(options["quasi"] or ""),
        sensitive=_names(options["sensitive"]),
        as_is=_names(options["as_is"]),
        levels=_levels(options["levels"]),
        k=options["k"],
        l=options["l"],
        t=_number(options["t"]),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _levels(text: str) -> dict[str, int]:
    levels = {}
    for pair in _names(text):
        name, _, level = pair.rpartition("=")
        if not name or not level.isdecimal():
            raise InvalidError("a level is column=number", code="release.level_unknown")
        levels[name] = int(level)
    return levels


def _number(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise InvalidError("t is a number", code="release.threshold_laxer") from None


def _told(release: DataRelease, out: Path) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "dataset": release.version.dataset.name,
        "version": release.version.number,
        "rows": release.rows,
        "leaks": 0,
        "out": str(out),
        "release": str(release.id),
        "recipient": release.recipient,
        "recipient_class": release.recipient_class,
        "level": release.level,
        "digest": release.digest,
    }
    if release.measures:
        shown |= {
            "suppressed": release.suppressed,
            **release.measures,
            "needs_human": release.needs_human,
            "reasons": release.reasons,
        }
    return shown
