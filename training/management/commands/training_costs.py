"""`training_costs --as USER`: what training took, by model and by tenant."""

from typing import Any

from audit.errors import RefusedError
from audit.events import Event
from audit.recording import append_refusal
from governance.doors import DoorCommand
from governance.permissions import Permission
from governance.rbac import UserActor
from training.costs import Total, totals


class Command(DoorCommand):
    """Sum ended attempts; who runs the platform sees the sums of every tenant."""

    help = "What training took in time and money, by model and by tenant"

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Sum them.

        Raises:
            RefusedError: the role does not open costs.
        """
        decision = actor.may(Permission.COST_VIEW, None)
        if not decision.allowed:
            append_refusal(
                Event.LOOKUP_REFUSED,
                actor,
                None,
                decision.reason,
                Permission.COST_VIEW.value,
                kind="cost",
            )
            raise RefusedError("you may not do this", code=decision.reason)
        self._found = totals(actor)
        return self._found.as_dict()

    def tell(self, result: dict[str, Any]) -> str:  # noqa: ARG002 - as objects, they are at hand
        """A line a model, then a line a tenant."""
        lines = [_line(one, one.model) for one in self._found.models]
        lines += [_line(one, f"{one.tenant}, all models") for one in self._found.tenants]
        return "\n".join(lines) or "no attempt has ended yet"


def _line(one: Total, name: str) -> str:
    return f"{name}: {one.runs} runs, {one.seconds / 3600:.2f} h, {one.cost:.2f} {one.currency}"
