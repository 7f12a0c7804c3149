"""Which finished models an ensemble is made of, and what binds it to them afterwards.

Members are versions of one tenant, trained on versions of one dataset (so each record is in the
same part of the split for all of them), for one purpose, target, privacy unit and guarantee. They
are judged by public facts: their runs and cards.

Whoever withdraws a version says that it must not be used, whatever for. So ensembles that hold it
are withdrawn in the same transaction, with an entry of their own, and one that is being made does
not come to its end. Nobody has to know where else a faulty model lives.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from audit.events import Event
from audit.recording import Record
from governance.models import DatasetVersion
from training.config import FEWEST_MEMBERS, MOST_MEMBERS, ModelKind
from training.declarations import Declared
from training.errors import ConfigError, RunRefusedError
from training.features import Category, Encoded, Feature, Hashed, Numeric
from training.models import EnsembleMember, ModelState, ModelVersion, Run

# An adapted encoder reads word pieces, which have no place beside columns of numbers; and members
# of an ensemble within an ensemble would not weigh the same as the others.
REFUSED: Final = frozenset({ModelKind.LORA, ModelKind.ENSEMBLE})
_NUMBERED: Final = re.compile(r"([\w-]{1,80})@([0-9]{1,9})", re.ASCII)
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# By what a card calls a feature: what it may be declared as today.
_ALIKE: Final[dict[str, type]] = {
    "numeric": Numeric,
    "binned": Numeric,
    "pixel": Numeric,
    "category": Category,
    "hashed": Hashed,
    "encoded": Encoded,
}


def name_of(version: ModelVersion) -> str:
    """How a configuration and a card name a member."""
    return f"{version.model.slug}@{version.number}"


def named(config: Mapping[str, object], tenant_id: Any) -> dict[str, object]:
    """A request's configuration, each member by model and number, however it was named.

    Args:
        config: `members` and nothing else: model versions as "slug@number" or by their ids.
        tenant_id: whose they must be; another tenant's are unknown.

    Raises:
        ConfigError: `run.members_invalid`, none, too few, too many or one twice;
            `run.member_unknown`; `run.…_invalid`, a field that belongs to training.
    """
    for field in config:
        if field != "members":
            raise ConfigError(
                "nothing is trained: an ensemble takes members, and no other field",
                code="run.config_invalid",
                pointer="/config",
            )
    asked = config.get("members")
    if not isinstance(asked, list | tuple) or not FEWEST_MEMBERS <= len(asked) <= MOST_MEMBERS:
        raise ConfigError(
            f"an ensemble names {FEWEST_MEMBERS} to {MOST_MEMBERS} members",
            code="run.members_invalid",
            pointer="/members",
        )
    found = resolved(asked, tenant_id)
    if len({version.pk for version in found}) != len(found):
        raise ConfigError(
            "each member is named once", code="run.members_invalid", pointer="/members"
        )
    return {"members": [name_of(version) for version in found]}


def of(run: Run) -> list[ModelVersion]:
    """The members that a run's configuration names, in order; none, where it is no ensemble.

    Raises:
        ConfigError: `run.member_unknown`.
    """
    return resolved(run.config_json().get("members", []), run.tenant_id)


def resolved(references: Sequence[object], tenant_id: Any) -> list[ModelVersion]:
    """The versions of a tenant that references name.

    Raises:
        ConfigError: `run.member_unknown`, with a pointer to it.
    """
    return [_one(reference, place, tenant_id) for place, reference in enumerate(references)]


def check(run: Run, declared: Declared) -> list[ModelVersion]:
    """The members of a run, if they may still be combined; `declared` are the features of today.

    Raises:
        ConfigError, RunRefusedError: as `check_fit`.
    """
    versions = of(run)
    check_fit(
        versions,
        data=run.version,
        purpose=run.purpose,
        guarantee=run.guarantee,
        unit=run.plan["unit"],
        declared=declared,
    )
    return versions


def check_fit(
    versions: Sequence[ModelVersion],
    *,
    data: DatasetVersion,
    purpose: str,
    guarantee: str,
    unit: str,
    declared: Declared,
) -> None:
    """Refuse members that do not belong to each other, or to what is asked for.

    Args:
        versions: the members.
        data: the dataset version on whose held-out rows the ensemble is measured.
        purpose: of the request.
        guarantee: of the request.
        unit: of the request.
        declared: the features that may be read today, and the target.

    Raises:
        RunRefusedError: `run.member_withdrawn`, `run.member_kind`, `run.not_trained_here`,
            `run.member_differs`, `run.member_columns`; the pointer names the member.
    """
    readable = {feature.name: feature for feature in declared.features}
    for place, version in enumerate(versions):
        run = version.run
        if run is None:
            raise _refused(place, "this version was not trained here", "run.not_trained_here")
        if version.state == ModelState.WITHDRAWN:
            raise _refused(place, "this version is withdrawn", "run.member_withdrawn")
        if run.config_json().get("model") in REFUSED:
            raise _refused(place, "this kind of model is no member", "run.member_kind")
        same = (
            run.version.dataset_id == data.dataset_id
            and run.purpose == purpose
            and version.guarantee == run.guarantee == guarantee
            and run.plan.get("unit") == unit
            and version.card.get("target") == declared.target.as_dict()
        )
        if not same:
            raise _refused(
                place,
                "members have the dataset, purpose, target, labels, privacy unit and guarantee of "
                "the request",
                "run.member_differs",
            )
        if not all(_may_read(told, readable) for told in version.card["preprocessing"]["features"]):
            raise _refused(
                place,
                "the dataset does not let a model read every column of this member any more",
                "run.member_columns",
            )


def _may_read(told: Mapping[str, Any], readable: Mapping[str, Feature]) -> bool:
    """Whether a feature of a card may be read today, as what it was."""
    return isinstance(readable.get(told["name"]), _ALIKE[told["kind"]])


def hold(run: Run, ensemble: ModelVersion) -> None:
    """Bind a new version to the members of its run, inside the action that registers it.

    Members are locked: one that is withdrawn at this moment is seen here, or sees the ensemble.

    Raises:
        RunRefusedError: `run.member_withdrawn`: one was withdrawn while the ensemble was made.
    """
    keys = [version.pk for version in of(run)]
    rows = ModelVersion.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    states = {row.pk: row.state for row in rows}
    for place, key in enumerate(keys):
        if states[key] == ModelState.WITHDRAWN:
            raise _refused(place, "this version is withdrawn", "run.member_withdrawn")
        EnsembleMember.objects.create(
            tenant_id=ensemble.tenant_id, ensemble=ensemble, member_id=key, place=place
        )


def standing_ensembles(version: ModelVersion) -> "QuerySet[ModelVersion]":
    """Ensembles that hold a version and are not withdrawn."""
    rows: QuerySet[ModelVersion] = ModelVersion.objects.filter(parts__member=version)
    return rows.exclude(state=ModelState.WITHDRAWN).select_related("model")


def withdraw_ensembles(record: Record, version: ModelVersion) -> None:
    """Withdraw what holds a version that is being withdrawn, an entry each; in the same action."""
    rows = standing_ensembles(version).select_for_update(of=("self",)).order_by("pk")
    for ensemble in rows:
        ensemble.state = ModelState.WITHDRAWN
        ensemble.save(update_fields=["state"])
        record.also(
            Event.MODEL_WITHDRAWN,
            ensemble,
            artifact=ensemble.artifact_digest,
            member=version.reference,
        )


def runs_behind(version: ModelVersion) -> list[Run]:
    """The runs whose charges a version's outputs depend on: its own, and those of its members."""
    members = EnsembleMember.objects.filter(ensemble=version).select_related("member__run")
    runs = [version.run, *(one.member.run for one in members)]
    return [run for run in runs if run is not None]


def _one(reference: object, place: int, tenant_id: Any) -> ModelVersion:
    rows = ModelVersion.objects.filter(tenant_id=tenant_id)
    rows = rows.select_related("model", "artifact", "run__version__dataset")
    version: ModelVersion | None = None
    if isinstance(reference, str):
        if numbered := _NUMBERED.fullmatch(reference):
            slug, number = numbered.groups()
            version = rows.filter(model__slug=slug, number=int(number)).first()
        elif _ID.fullmatch(reference):
            version = rows.filter(pk=UUID(reference)).first()
    if version is None:
        raise ConfigError(
            "there is no such model version",
            code="run.member_unknown",
            pointer=f"/members/{place}",
        )
    return version


def _refused(place: int, why: str, code: str) -> RunRefusedError:
    return RunRefusedError(why, code=code, pointer=f"/members/{place}")
