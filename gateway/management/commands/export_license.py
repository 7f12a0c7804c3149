"""`export_license LICENSE --out FILE --as USER`: a license as a signed file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from gateway.actions.license_files import FILE_DAYS, issue_license_file
from gateway.models import License
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.lookup import find
from governance.rbac import UserActor


class Command(DoorCommand):
    """Download a license file."""

    help = "Download a license file; `python -m audit.license` reads it"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the license, and where the file goes."""
        parser.add_argument("license", help="the license's id")
        parser.add_argument("--out", required=True, type=Path, help="a new file")
        parser.add_argument("--days", type=int, default=FILE_DAYS, help="how long it is good")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Have it signed, and write it."""
        license_, out = find(actor, License, options["license"]), options["out"]
        if out.exists():
            raise InvalidError("something is there already", code="file.exists")
        text = issue_license_file(actor, license_, days=options["days"])
        try:
            with out.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            raise InvalidError("something is there already", code="file.exists") from None
        except OSError:
            raise InvalidError("this place cannot be written to", code="file.unwritable") from None
        return {"license": str(license_.id), "file": str(out)}
