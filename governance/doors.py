"""The command line as a door: parse, call one action, print; errors by kind, never by traceback.

exit 0  done          2  bad input, or nothing there          3  refused          4  failed
"""

import json
import logging
import sys
import uuid
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from audit.errors import DomainError, Kind
from audit.events import Event
from audit.recording import append_refusal, request_id
from governance.rbac import SystemActor, UserActor, actor_named, house_id
from governance.scoping import tenant_scope

EXIT: Final[dict[Kind, int]] = {
    Kind.INVALID: 2,
    Kind.NOT_FOUND: 2,
    Kind.UNAUTHENTICATED: 3,
    Kind.REFUSED: 3,
    Kind.CONFLICT: 3,
    Kind.TOO_MANY: 3,
    Kind.FAILED: 4,
}


_INTERNAL: Final = {"code": "internal", "detail": "something went wrong; the log says where"}
_log = logging.getLogger(__name__)


class DoorCommand(ABC, BaseCommand):
    """A command that acts as a user of a tenant.

    Subclasses write `arguments` and `run`; `run` returns the one object that `--json` prints, and
    `tell` turns it into lines for a person.
    """

    requires_system_checks: Any = []  # checked at start-up of the servers; a command starts fast

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what every door asks for, then the command's own."""
        parser.add_argument("--as", dest="username", required=True, help="who acts")
        parser.add_argument("--tenant", help="for which tenant, where the user has several")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one object")
        self.arguments(parser)

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the command's own arguments."""

    @abstractmethod
    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Call the action; the scope of the actor's tenant is open."""

    def tell(self, result: dict[str, Any]) -> str:
        """What a person reads."""
        return "\n".join(f"{key}: {value}" for key, value in result.items())

    def handle(self, **options: Any) -> None:
        """Open the scope, run, print; an error becomes its code and exit status."""
        token = request_id.set(f"cli-{uuid.uuid4().hex[:16]}")
        try:
            actor = _actor(options["username"], options["tenant"])
            with tenant_scope(*([actor.tenant_id] if actor.tenant_id else [])):
                result = self.run(actor, options)
        except DomainError as error:
            self.stderr.write(json.dumps(error.as_dict(), ensure_ascii=False))
            sys.exit(EXIT[error.kind])
        except Exception as error:  # noqa: BLE001 - the text of a database's error quotes the row
            _log.error("%s failed", type(self).__module__, exc_info=error)  # without its text
            self.stderr.write(json.dumps(_INTERNAL))
            sys.exit(EXIT[Kind.FAILED])
        finally:
            request_id.reset(token)
        self.stdout.write(
            json.dumps(result, ensure_ascii=False) if options["as_json"] else self.tell(result)
        )


def _actor(username: str, tenant: str | None) -> UserActor:
    """Who acts; a name that is nobody's leaves a refusal in the log, without the name."""
    try:
        return actor_named(username, tenant)
    except DomainError as error:
        terminal = SystemActor("terminal", frozenset(), house_id())
        append_refusal(
            Event.LOGIN_REFUSED, terminal, None, error.stable_code, "session:open", count=1
        )
        raise
