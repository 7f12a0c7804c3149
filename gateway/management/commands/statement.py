"""`statement --month 2026-11 --customer acme --out FILE --as USER`: what a month's calls cost."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from audit.reports.statements import Month
from gateway.actions.statements import grant_statement
from gateway.rollups import roll_up
from gateway.statements import customer_named
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import own_tenant
from governance.rbac import UserActor

_ALONE = {".csv", ".pdf"}


class Command(DoorCommand):
    """Write a monthly statement; `python -m audit.verify` checks its bundle."""

    help = "Write a customer's statement of a month: a bundle (.zip), or its CSV or PDF alone"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the month, the customer and where it goes."""
        parser.add_argument("--month", required=True, help="as 2026-11, in UTC")
        parser.add_argument("--customer", help="slug or id (default: one's own organization)")
        parser.add_argument("--out", type=Path, help="a new .zip, .csv or .pdf file")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Roll up what is signed, then write."""
        month = Month.parse(options["month"])
        customer = customer_named(actor, options["customer"])
        out: Path = options["out"] or Path(f"statement-{month}-{customer.slug}.zip")
        if out.exists():
            raise InvalidError("something is there already", code="file.exists")
        roll_up()
        grant = grant_statement(actor, own_tenant(actor), customer=customer, month=month)
        if out.suffix in _ALONE:
            out.write_bytes(grant.content(out.suffix[1:]))
        else:
            grant.write(out)
        statement = grant.statement()
        return {
            "statement": str(out),
            "month": statement.month,
            "customer": statement.customer,
            "lines": len(statement.lines),
            "calls": sum(line.calls for line in statement.lines),
            "charged": sum(line.charged for line in statement.lines),
            "amounts": statement.amounts(),
            "pending": statement.pending,
            "complete": statement.complete,
        }
