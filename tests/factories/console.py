"""A house in which every section of the console has a row, and people signed in to look at it."""

import hashlib
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test import Client

from audit import sequencer
from audit.canonical import digest
from audit.models import AuditEntry
from gateway.models import ApiKey, License
from governance import leases
from governance.actions.datasets import amend_plan
from governance.actions.measurements import Measured, record_measurement
from governance.measurement.scoring import Count
from governance.models import Dataset, DetectorMeasurement, Proposal, RoleBinding, User
from governance.models.releases import DataRelease, RecipientClass
from governance.permissions import ProposalKind
from governance.rbac import UserActor
from governance.scoping import tenant_scope
from tests.factories.datasets import with_a_file
from tests.factories.gateway import Shop, make_shop
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version, plan_of
from training.examination import Examination, ExaminationState
from training.models import Budget, ModelState, ModelVersion, Run

STAFF = ("steward", "officer", "engineer", "owner", "platform", "auditor")
MEASURED = Measured(
    "detector-0123456789abcdef",
    "",
    "0" * 64,
    40,
    (
        Count("zh", "prose", "PERSON", labeled=30, found=29, hidden=28, reported=31, right=29),
        Count("en", "structured", "US_SSN", labeled=20, found=20, hidden=20, reported=20, right=20),
    ),
)

_SHARE = {"value": "0.031000", "low": "0.024000", "high": "0.039000"}
_AT = {"asked": "0.010000", "accused": _SHARE, "found": _SHARE, "ceiling": "0.070000"}
_ATTACK = {
    "members": 3256,
    "outsiders": 3256,
    "auc": {"value": "0.512000", "low": "0.490000", "high": "0.534000"},
    "at": [{**_AT, "refutes": False}],
    "refutes": False,
}
FIGURES: dict[str, Any] = {
    "claim": {"epsilon": "0.999000", "delta": "0.000010000000000"},
    "loss": {**_ATTACK, "noise_multiplier": "48.1234"},
    "lira": {**_ATTACK, "at": [{**_AT, "ceiling": None}], "noise_multiplier": None, "shadows": 4},
    "engine": {
        "checks": dict.fromkeys(
            ("one_run", "one_run_curve", "sensitivity", "poisson", "paid"), True
        )
        | {"gaussian_fit": False},
        "epsilon_claimed": "0.999000",
        "one_run": {"epsilon": "0.164000"},
        "one_run_curve": {"epsilon": "0.251000"},
        "gaussian_fit": {"epsilon": "1.517000"},
        "canaries": 1000,
        "steps": 45,
        "steps_of_run": 150,
        "draws_testable": False,
    },
    "objections": ["engine.gaussian_fit"],
}


@dataclass(frozen=True)
class World:
    """A shop, and a row of everything.

    Attributes:
        shop: a released model, a customer, a license and a key.
        dataset: its column plan is proposed by the steward.
        run: queued, with its ε reserved.
        budget: the run's.
        proposal: of the dataset's column plan, open.
        fresh: a model version that waits for its release to be proposed.
        entry: of the log, in the signed tree.
        stranger: an officer of another tenant.
        measured: what a detector was measured to find.
        release: a measured release of the dataset, which a person had to allow.
        examination: of the fresh version, finished, by every attack.
    """

    shop: Shop
    dataset: Dataset
    run: Run
    budget: Budget
    proposal: Proposal
    fresh: ModelVersion
    entry: AuditEntry
    stranger: UserActor
    measured: DetectorMeasurement
    release: DataRelease
    examination: Examination

    @property
    def house(self) -> House:
        return self.shop.house

    @property
    def license(self) -> License:
        return self.shop.license

    @property
    def key(self) -> ApiKey:
        return self.shop.issued.key

    @property
    def binding(self) -> RoleBinding:
        with tenant_scope(self.house.id):
            found: RoleBinding = RoleBinding.objects.get(user_id=self.house.engineer.user_id)
        return found

    def actor(self, who: str) -> UserActor:
        """One of the staff, "customer" or "stranger"."""
        if who == "customer":
            return self.shop.admin
        if who == "stranger":
            return self.stranger
        found: UserActor = getattr(self.house, who)
        return found

    def client(self, who: str, **kwargs: Any) -> Client:
        """A browser in which somebody is signed in; "nobody" is not."""
        client = Client(**kwargs)
        if who != "nobody":
            client.force_login(User.objects.get(pk=self.actor(who).user_id))
        return client

    def pages(self) -> dict[str, str]:
        """A page of every section."""
        return {
            "dataset": f"/admin/governance/dataset/{self.dataset.pk}/",
            "proposal": f"/admin/governance/proposal/{self.proposal.pk}/",
            "person": f"/admin/governance/rolebinding/{self.binding.pk}/",
            "run": f"/admin/training/run/{self.run.pk}/",
            "budget": f"/admin/training/budget/{self.budget.pk}/",
            "model": f"/admin/training/modelversion/{self.fresh.pk}/",
            "license": f"/admin/gateway/license/{self.license.pk}/",
            "key": f"/admin/gateway/apikey/{self.key.pk}/",
            "examination": f"/admin/training/examination/{self.examination.pk}/",
            "measurement": f"/admin/governance/detectormeasurement/{self.measured.pk}/",
            "release": f"/admin/governance/datarelease/{self.release.pk}/",
            "entry": f"/admin/audit/auditentry/{self.entry.pk}/",
        }


def make_world() -> World:
    """Everything, without an ingest and without training."""
    from tests.factories.gateway import make_version as make_model

    shop = make_shop()
    house = shop.house
    version = make_version(house, "applicants")
    run = ask(house, version, name="applicants-income")
    fresh = make_model(house, "fresh", state=ModelState.REGISTERED)
    with tenant_scope(house.id), leases.doing_it_here():
        with_a_file(house, version.dataset)
        amend_plan(house.steward, version.dataset, plan=plan_of().as_dict(), changed=0)
        proposal = Proposal.objects.get(kind=ProposalKind.COLUMN_PLAN.value)
        budget = Budget.objects.get(dataset=version.dataset)
        measured = record_measurement(house.steward, house.tenant, measured=MEASURED)
        release = DataRelease.objects.create(
            tenant=house.tenant, version=version, recipient="acme-research",
            recipient_class=RecipientClass.EXTERNAL, rows=230, suppressed=10, level=3,
            measures={
                "quasi": {"age": "band_10", "sex": "value"}, "sensitive": ["income"], "as_is": [],
                "k": 12, "l": 2, "t": "0.250000", "entropy_l": "1.900000", "classes": 14,
            },
            needs_human=True, reasons=["release.intersection"], digest="0" * 64,
            released_by=house.user(house.steward),
        )  # fmt: skip
        examination = Examination.objects.create(
            tenant=house.tenant, version=fresh, kinds=["loss", "lira", "engine"], shadows=4,
            epsilon="0.1", run=run, state=ExaminationState.FINISHED, figures=FIGURES,
            digest=digest(FIGURES), requested_by=house.user(house.engineer),
        )  # fmt: skip
    sequencer.sequence_once()
    entry = AuditEntry.objects.filter(tenant=str(house.id)).earliest("at")
    rival = make_house("rival")
    version.dataset.refresh_from_db()
    return World(
        shop,
        version.dataset,
        run,
        budget,
        proposal,
        fresh,
        entry,
        rival.officer,
        measured,
        release,
        examination,
    )


def fingerprint(*without: str) -> dict[str, str]:
    """A digest of the rows of every table but those named."""
    prints = {}
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table not in without:
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - our own tables
                rows = sorted(repr(row) for row in cursor.fetchall())
                prints[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return prints
