"""`devices --as USER`: the GPUs that runs lease, and what has each."""

from typing import Any, Final

from audit.errors import RefusedError
from audit.events import Event
from audit.recording import append_refusal
from governance.doors import DoorCommand
from governance.permissions import Permission
from governance.rbac import UserActor
from training.distributed.occupancy import Device, Use, occupancy

_SAID: Final = {
    Use.FREE: "free",
    Use.BUSY: "busy",
    Use.SILENT: "its worker is silent: free for the next job",
}


class Command(DoorCommand):
    """List leased devices; of another tenant's job it is told that a device is busy, not whose."""

    help = "Which GPUs are leased, by machine, and by which run"

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """List them.

        Raises:
            RefusedError: the role does not open devices.
        """
        decision = actor.may(Permission.DEVICE_VIEW, None)
        if not decision.allowed:
            append_refusal(
                Event.LOOKUP_REFUSED,
                actor,
                None,
                decision.reason,
                Permission.DEVICE_VIEW.value,
                kind="devicelease",
            )
            raise RefusedError("you may not do this", code=decision.reason)
        return {"devices": [_shown(device) for device in occupancy(actor)]}

    def tell(self, result: dict[str, Any]) -> str:
        """A line a device."""
        lines = [
            f"{one['host']}/{one['device']}: {_SAID[Use(one['use'])]}"
            + ("" if one["run"] is None else f", {one['model']} (run {one['run']})")
            + ("" if one["expires"] is None else f", until {one['expires']}")
            for one in result["devices"]
        ]
        return "\n".join(lines) or (
            "no device was leased yet: a machine with GPUs shows its devices here when its worker "
            "takes the first run of train.gpu"
        )


def _shown(device: Device) -> dict[str, Any]:
    run = device.run
    return {
        "host": device.host,
        "device": device.number,
        "use": device.use.value,
        "job": None if device.job is None else str(device.job),
        "run": None if run is None else str(run.id),
        "model": None if run is None else run.model_name,
        "expires": None if device.expires_at is None else device.expires_at.isoformat(),
    }
