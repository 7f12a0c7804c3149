"""A released version's part in the service: its share of the calls, its rollback, its end."""

from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from audit.events import Event
from audit.recording import Record, action
from governance.permissions import Permission
from governance.rbac import Actor, UserActor
from training.errors import ModelStateError, RolloutError
from training.models import Model, ModelState, ModelVersion, Service
from training.rollouts import ended

_ALL: Final = 100  # percent


@action(Event.MODEL_SERVICE_SET, requires=Permission.MODEL_RELEASE_PROPOSE)
def set_service(
    record: Record, actor: UserActor, version: ModelVersion, *, service: str, share: int = 100
) -> ModelVersion:
    """Say which calls a version answers: at once where it is released, else from its release on.

    Two people release every version, whatever its part: this alone makes nothing answer.

    Args:
        record: filled here.
        actor: the engineer.
        version: registered or released.
        service: of `training.models.Service`.
        share: of a canary, percent of the calls, from 1 to 99.

    Raises:
        RolloutError: `rollout.service_unknown`, `rollout.share_invalid`.
        ModelStateError: `model.state`; `rollout.service_taken`: another version of the model has
            this part; `rollout.nothing_beside`: nobody would answer the other calls.
    """
    del actor
    if service not in Service.values:
        raise RolloutError(
            "there is no such part", code="rollout.service_unknown", pointer="/service"
        )
    if service == Service.CANARY and not (type(share) is int and 0 < share < _ALL):
        raise RolloutError(
            "a canary's share is a whole number of percent from 1 to 99",
            code="rollout.share_invalid",
            pointer="/share",
        )
    version = _locked(version, ModelState.REGISTERED, ModelState.RELEASED)
    others = version.model.versions.exclude(pk=version.pk)
    if service != Service.FULL:
        standing = others.exclude(state=ModelState.WITHDRAWN)
        if standing.filter(service=service).exists():
            raise ModelStateError(
                "another version of this model has this part", code="rollout.service_taken"
            )
        _check_others(version)
    version.service = service
    version.share = {Service.CANARY.value: share, Service.SHADOW.value: 0}.get(service, _ALL)
    version.save(update_fields=["service", "share"])
    record.facts(artifact=version.artifact_digest, service=service, share=version.share)
    return version


@action(Event.MODEL_ROLLED_BACK, requires=Permission.MODEL_WITHDRAW)
def roll_back(record: Record, actor: Actor, version: ModelVersion) -> ModelVersion:
    """Take a version out of service now; the one before it answers from the next call on.

    A call in hand that it scored is judged again while it is charged, and answered by the version
    before. Unlike a withdrawal this is not for good: two people may release the version again.

    Raises:
        ModelStateError: `model.state`; `rollout.nothing_beside`: no other version would answer.
    """
    del actor
    version = _locked(version, ModelState.RELEASED)
    after = None if version.service == Service.SHADOW else _check_others(version)
    version.state = ModelState.REGISTERED
    version.save(update_fields=["state"])
    told: dict[str, Any] = {} if after is None else {"to": after.reference}
    record.facts(artifact=version.artifact_digest, **told)
    return version


@action(Event.SUNSET_ANNOUNCED, requires=Permission.MODEL_WITHDRAW)
def announce_sunset(
    record: Record, actor: Actor, version: ModelVersion, *, ends_at: datetime | None
) -> ModelVersion:
    """Announce when a released version's service ends; its answers say so from now on.

    Args:
        record: filled here.
        actor: who may withdraw it.
        version: a released one.
        ends_at: from then on calls to it are refused. None takes the notice back.

    Raises:
        RolloutError: `rollout.sunset_invalid`: it is not in the future; `rollout.sunset_earlier`:
            an earlier end than the one that customers were told.
        ModelStateError: `model.state`.
    """
    del actor
    now = timezone.now()
    version = _locked(version, ModelState.RELEASED)
    if ends_at is not None and ends_at <= now:
        raise RolloutError(
            "a version's service ends in the future",
            code="rollout.sunset_invalid",
            pointer="/ends_at",
        )
    if ends_at is not None and version.sunset_at is not None and ends_at < version.sunset_at:
        raise RolloutError(
            "customers were told of a later end", code="rollout.sunset_earlier", pointer="/ends_at"
        )
    version.deprecated_at = None if ends_at is None else version.deprecated_at or now
    version.sunset_at = ends_at
    version.save(update_fields=["deprecated_at", "sunset_at"])
    told = {} if ends_at is None else {"ends": int(ends_at.timestamp() * 1_000_000)}
    record.facts(artifact=version.artifact_digest, **told)
    return version


def _locked(version: ModelVersion, *states: ModelState) -> ModelVersion:
    """The version, under the row lock of its model: parts of its versions change one by one."""
    Model.objects.select_for_update().get(pk=version.model_id)
    found: ModelVersion = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if found.state not in states:
        raise ModelStateError(f"this model version is {found.state}")
    return found


def _check_others(version: ModelVersion) -> ModelVersion:
    """The version that would answer all the calls that this one does not."""
    others = version.model.versions.exclude(pk=version.pk).filter(
        state=ModelState.RELEASED, service=Service.FULL
    )
    now = timezone.now()
    going = [other for other in others.order_by("-number") if not ended(other, now)]
    if not going:
        raise ModelStateError(
            "no other version of this model would answer", code="rollout.nothing_beside"
        )
    found: ModelVersion = going[0]
    return found
