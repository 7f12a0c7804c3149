"""`measure_recognition LABELED.jsonl --as USER`: what the detector finds of a labeled set."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.rbac import UserActor
from governance.recognition.regimes import ALL

_HEAD: Final = (
    f"{'shape':12}{'language':10}{'entity':20}{'labeled':>8}{'precision':>11}{'recall':>8}{'F2':>8}"
    f"{'hidden':>8}{'95 %':>16}{'leak at most':>14}"
)


class Command(DoorCommand):
    """Measure the shipped detector, with the tenant's own rules, and keep the figures."""

    help = "Precision, recall, F2 and every character hidden, per entity, language and shape"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the file, and for whose numbers to look."""
        parser.add_argument("labeled", type=Path, help="JSON Lines; see generate_labeled")
        parser.add_argument("--regimes", nargs="+", choices=ALL, default=["cn", "us"])
        parser.add_argument(
            "--without-rules", action="store_true", help="leave the tenant's own rules out"
        )

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Measure, and give every figure."""
        from governance.measurement.labels import lines_of  # noqa: PLC0415 - spaCy is slow
        from governance.measurement.measuring import measure  # noqa: PLC0415 - as above
        from governance.measurement.shown import shown  # noqa: PLC0415 - as above

        try:
            file = options["labeled"].open("rb")
        except OSError:
            raise InvalidError("the file cannot be read", code="file.unreadable") from None
        with file:
            made = measure(
                actor,
                own_tenant(actor),
                lines_of(file),
                regimes=options["regimes"],
                own_rules=not options["without_rules"],
            )
        return shown(made)

    def tell(self, result: dict[str, Any]) -> str:
        """A table: all entities together, then one by one."""
        lines = [
            f"{result['detector']} {result['rules']}".rstrip() + f", {result['rows']:,} rows",
            _HEAD,
            *(_line(score) for score in (*result["totals"], *result["scores"])),
        ]
        return "\n".join(lines)


def _line(score: dict[str, Any]) -> str:
    interval = score["hidden_interval"]
    between = "–" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"
    return (
        f"{score['shape']:12}{score['language']:10}{score['entity']:20}{score['labeled']:8,}"
        f"{_share(score['precision']):>11}{_share(score['recall']):>8}{_share(score['f2']):>8}"
        f"{_share(score['every_character_hidden']):>8}{between:>16}"
        f"{_share(score['leak_at_most'] if score['labeled'] else None):>14}"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
