"""A pass of the watch: close what is due, propose what declines call for; decide nothing.

Safe at any moment and in several processes: a window is numbered, and a decline is answered by a
proposal that names its window. A pass that dies between the two leaves the window, and the next
one finds it unanswered.
"""

import contextlib
import logging
from typing import Final

from django.utils import timezone

from audit.errors import DomainError
from governance.models import Proposal
from governance.rbac import watch_of
from governance.scoping import across_tenants, tenant_scope
from training import retraining, watching
from training.actions.watching import close_window, propose_retraining, propose_rollback
from training.errors import WatchError
from training.models import ModelState, ModelVersion
from training.watching import Decline

_log: Final = logging.getLogger(__name__)


def look_at_all(*, model: str | None = None) -> dict[str, int]:
    """A pass over every released version; how many windows were closed and remedies proposed.

    What goes wrong with one version is logged and keeps no other waiting.

    Args:
        model: name of the one model to look at; None for all.
    """
    done = {"windows": 0, "proposals": 0}
    with across_tenants(reason="released models of every tenant are watched"):
        released = ModelVersion.objects.filter(state=ModelState.RELEASED)
        if model is not None:
            released = released.filter(model__slug=model)
        versions = list(released.select_related("model", "run__version__dataset"))
    for version in versions:
        try:
            with tenant_scope(version.tenant_id):
                found = look_at(version)
        except Exception as error:  # noqa: BLE001 - as said above
            # Without its text: a database's error quotes the row.
            _log.error("%s could not be watched: %s", version.reference, type(error).__name__)
            continue
        done = {name: done[name] + found[name] for name in done}
    return done


def look_at(version: ModelVersion) -> dict[str, int]:
    """A pass over one released version; the scope of its tenant is open.

    Raises:
        DomainError: a window could not be closed, or no remedy can be proposed.
    """
    done = {"windows": 0, "proposals": int(answer(version) is not None)}
    while (closing := watching.due(version, timezone.now())) is not None:
        try:
            close_window(watch_of(version.tenant_id), version, closing=closing)
        except WatchError:
            break  # another pass is at it
        done["windows"] += 1
        # Each window is judged before the next is closed, as if no pass had been missed.
        done["proposals"] += int(answer(version) is not None)
    return done


def answer(version: ModelVersion) -> Proposal | None:
    """Propose a remedy for a version that declines and is served, unless one is under way.

    A version that was not trained here has no request to make again, and nobody who made one.
    """
    called_for = None if version.run_id is None else watching.decline(version)
    if called_for is None or not retraining.is_served(version):
        return None
    now = timezone.now()
    if any(one.is_open(now) or retraining.under_way(one) for one in watching.remedies(version)):
        return None
    with contextlib.suppress(WatchError):  # another pass proposed
        return _propose(version, called_for)
    return None


def _propose(version: ModelVersion, called_for: Decline) -> Proposal:
    actor = watch_of(version.tenant_id)
    try:
        return propose_retraining(actor, version, called_for=called_for)
    except WatchError:
        raise
    except DomainError as error:
        because = error.stable_code
    return propose_rollback(actor, version, called_for=called_for, because=because)
