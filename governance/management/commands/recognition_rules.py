"""`recognition_rules --as USER`: a tenant's own terms and patterns, listed, tried and added."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance.actions.rules import add_rules
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find, own_tenant
from governance.models import Dataset, RecognitionRules
from governance.rbac import UserActor
from governance.recognition.tenant_rules import RuleBook
from governance.recognition_rules import version_of
from governance.trials import try_rules


class Command(DoorCommand):
    """Try rules on a quarantined file as masks and counts, then add them as a new edition."""

    help = "Try and add a tenant's own terms and patterns; without a file, list the editions"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the rules and what to do with them."""
        parser.add_argument("--file", type=Path, help="JSON: allow, deny, patterns")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--try", dest="dataset", metavar="DATASET", help="name or id")
        what.add_argument("--text", default="", help="an example to try the rules on")
        what.add_argument("--add", action="store_true", help="make them the edition that counts")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """List, try or add."""
        if options["file"] is None:
            editions = RecognitionRules.objects.visible_to(actor).order_by("-number")
            return {"editions": [_shown(edition) for edition in editions]}
        book = _book(options["file"])
        if options["dataset"]:
            dataset = find(actor, Dataset, options["dataset"])
            return {"dataset": dataset.name, **try_rules(actor, dataset, book).as_dict()}
        if options["add"]:
            return _shown(add_rules(actor, own_tenant(actor), book=book))
        return try_rules(actor, own_tenant(actor), book, text=options["text"]).as_dict()


def _shown(edition: RecognitionRules) -> dict[str, Any]:
    return {
        "number": edition.number,
        "version": version_of(edition),
        "digest": edition.digest,
        "finds": edition.finds,
        "allows": edition.allows,
        "created_at": edition.created_at.isoformat(),
    }


def _book(file: Path) -> RuleBook:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InvalidError("the rules are not JSON", code="rules.unreadable") from None
    return RuleBook.from_dict(stored)
