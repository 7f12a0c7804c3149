"""New keys in the place of old ones; the data that they protect is not touched."""

from enum import StrEnum

from audit.events import Event
from audit.recording import Record, action
from governance.errors import RefusedError
from governance.models import Tenant
from governance.permissions import Permission
from governance.rbac import Actor, is_house
from governance.tenant_keys import rotate_root, rotate_tenant


class Level(StrEnum):
    """Which key of the hierarchy is renewed."""

    ROOT = "root"  # wraps every tenant's keys
    TENANT = "tenant"  # wraps the data keys of one tenant


@action(Event.KEYS_ROTATED, requires=Permission.KEY_ROTATE)
def rotate_keys(record: Record, actor: Actor, tenant: Tenant, *, level: Level) -> int:
    """Make a new key and wrap under it whatever the old one wrapped; returns how many.

    Where it is stopped halfway the rows roll back and the old key still opens everything; a root
    key that was made already is used by the next rotation.

    Raises:
        RefusedError: `keys.not_the_house`: the root key protects every tenant's.
    """
    del actor
    if level is Level.ROOT and not is_house(tenant.id):
        raise RefusedError("the root key is the house's to renew", code="keys.not_the_house")
    done = rotate_root() if level is Level.ROOT else rotate_tenant(tenant)
    record.facts(level=level.value, rewrapped=done)
    return done
