"""Keys that somebody found: a whole key, sent by nobody in particular, is revoked.

Who holds a key can call with it, so that ending it is the smaller of the two powers. What opens
nothing any more is counted and costs no row: the checksum is judged first, as for every call.
"""

import contextlib

from django.utils import timezone

from audit.events import Event
from gateway import keys
from gateway.actions.keys import FINDER, report_key
from gateway.errors import CredentialError
from gateway.licensing import judge_key
from gateway.models import ApiKey
from gateway.refusals import REFUSALS
from governance.errors import ConflictError
from governance.scoping import across_tenants


def report(text: str) -> None:
    """Revoke the key that `text` is, if it opens anything. Says nothing of what came of it."""
    try:
        key = _alive(text)
    except CredentialError as error:
        REFUSALS.note(error.stable_code, event=Event.KEY_REPORT_REFUSED)
        return
    with (
        across_tenants(reason="only the key says whose it is"),
        contextlib.suppress(ConflictError),  # another report, or its owner, was faster
    ):
        report_key(FINDER, key.license, key=key)


def _alive(text: str) -> ApiKey:
    """The row of a key that opens something now, whatever was remembered of it.

    Raises:
        CredentialError: it opens nothing.
    """
    facts = keys.authenticate(text)
    with across_tenants(reason="only the key says whose it is"):
        key: ApiKey = ApiKey.objects.select_related("license").get(pk=facts.id)
    if key.revoked_at is not None:
        raise CredentialError("this API key was revoked", code="key.revoked")
    denial = judge_key(facts, timezone.now())
    if denial is not None:
        raise denial.raised()
    return key
