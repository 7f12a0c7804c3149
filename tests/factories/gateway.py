"""A released model, a customer, a license and keys: what a prediction needs, each of them real."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from audit import keys as log_keys
from audit.canonical import digest
from gateway import keys, quotas
from gateway.actions.keys import Issued, issue_key
from gateway.actions.licenses import issue_license
from gateway.actions.predictions import Answered, serve_prediction
from gateway.authentication import KeyActor
from gateway.errors import QuotaError
from gateway.licensing import Call, Terms
from gateway.models import Feature, KeyMode, License
from gateway.releases import released_version
from governance import vault
from governance.models import (
    ColumnPlanVersion,
    Dataset,
    DatasetVersion,
    StoredObject,
    Tenant,
)
from governance.models.datasets import DatasetState
from governance.permissions import Role
from governance.rbac import UserActor
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, actor_of, make_house, make_tenant, make_user
from training.models import Guarantee, Model, ModelState, ModelVersion, Run, RunState

BACKGROUND = {"rows": 12, "seed": 3}
PURPOSE = "credit-risk-scoring"
ROW: dict[str, Any] = {"age": 42, "hours": "38.5", "education": "Masters", "note": None}


def stored(tenant: Tenant, kind: str, data: bytes) -> StoredObject:
    """Bytes sealed in the vault."""
    with tenant_scope(tenant.id), vault.ObjectWriter(tenant, kind) as writer:
        writer.write(data)
        made = writer.finish()
        made.save()
    return made


def make_dataset(house: House, name: str = "applicants") -> DatasetVersion:
    """A sealed dataset version; its rows are never read here."""
    with tenant_scope(house.id):
        dataset = Dataset.objects.create(
            tenant=house.tenant,
            name=name,
            state=DatasetState.SEALED,
            uploaded_by=house.user(house.steward),
        )
        plan = ColumnPlanVersion.objects.create(
            tenant=house.tenant,
            dataset=dataset,
            number=1,
            body=b"{}",
            digest="0" * 64,
            detector="x",
        )
        version: DatasetVersion = DatasetVersion.objects.create(
            tenant=house.tenant,
            dataset=dataset,
            number=1,
            stored=stored(house.tenant, "version", b"rows"),
            plan=plan,
            rows=100,
            detector="x",
            digest="0" * 64,
        )
    return version


def artifact(seed: int = 0) -> tuple[bytes, str]:
    """A small network as artifact bytes, and the digest of its explanations' background."""
    from audit.explanations import Background
    from training.accounting import make_plan
    from training.artifacts import to_bytes
    from training.backgrounds import ORIGIN, synthetic_background
    from training.config import Guarantee as Promise
    from training.config import ModelKind, TrainingConfig
    from training.features import Category, FeatureSpec, Hashed, Numeric, Target
    from training.networks import build

    spec = FeatureSpec(
        (
            Numeric("age", 17, 90),
            Numeric("hours", 1, 99),
            Category("education", ("Bachelors", "HS-grad", "Masters")),
            Hashed("note", 8),
        ),
        Target("income", ">50K", "<=50K"),
    )
    config = TrainingConfig(
        epsilon=1.0,
        delta=1e-5,
        features=spec.digest(),
        model=ModelKind.MLP,
        hidden=(4,),
        expected_batch=10,
        steps=2,
        init_seed=seed,
        guarantee=Promise.PUBLIC_DATA,
    )
    plan = make_plan(config, 100)
    state = build(config, spec.width).state_dict()
    data = to_bytes(state, config=config, plan=plan, spec=spec, executed=2)
    background = Background.from_rows(
        synthetic_background(spec, BACKGROUND["rows"], BACKGROUND["seed"]), spec.names, ORIGIN
    )
    return data, background.digest()


def make_version(
    house: House,
    slug: str = "income",
    *,
    number: int = 1,
    state: ModelState = ModelState.RELEASED,
    dataset: DatasetVersion | None = None,
    purpose: str = PURPOSE,
    seed: int = 0,
) -> ModelVersion:
    """A registered model version over a real artifact; released unless told otherwise."""
    dataset = dataset or make_dataset(house, f"data-of-{slug}-{number}")
    data, background = artifact(seed)
    with tenant_scope(house.id):
        model, _ = Model.objects.get_or_create(slug=slug, defaults={"tenant": house.tenant})
        run = Run.objects.create(
            tenant=house.tenant,
            version=dataset,
            purpose=purpose,
            target="income",
            model_name=slug,
            guarantee=Guarantee.DP,
            epsilon="1",
            config=b"{}",
            config_digest="0" * 64,
            state=RunState.FINISHED,
            requested_by=house.user(house.engineer),
        )
        card = {
            "name": slug,
            "purpose": purpose,
            "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
            "background": BACKGROUND,
        }
        version: ModelVersion = ModelVersion.objects.create(
            tenant=house.tenant,
            model=model,
            number=number,
            run=run,
            artifact=stored(house.tenant, "artifact", data),
            artifact_digest=hashlib.sha256(data).hexdigest(),
            background_digest=background,
            guarantee=Guarantee.DP,
            card=card,
            card_digest=digest(card),
            state=state,
            released_at=timezone.now() if state is ModelState.RELEASED else None,
        )
    return version


@dataclass(frozen=True)
class Shop:
    """A house with a released model, and a customer with a license and a key for it."""

    house: House
    customer: Tenant
    admin: UserActor  # of the customer
    version: ModelVersion
    license: License
    issued: Issued

    @property
    def secret(self) -> str:
        """The key, as it was shown once."""
        return self.issued.secret

    @property
    def slug(self) -> str:
        """The licensed model's name."""
        return self.version.model.slug

    def reload(self) -> License:
        """The license as the database has it now."""
        with across_tenants(reason="a test looks"):
            found: License = License.objects.get(pk=self.license.pk)
        return found


def make_customer(slug: str = "acme") -> tuple[Tenant, UserActor]:
    """A customer, and its tenant admin."""
    customer = make_tenant(slug, provider=False, customer=True)
    admin = actor_of(make_user(f"{slug}-admin", customer, Role.TENANT_ADMIN), customer)
    return customer, admin


def make_license(
    house: House,
    customer: Tenant,
    model: Model,
    *,
    features: tuple[str, ...] = tuple(Feature),
    quota: int = 100,
    days: int = 30,
    **terms: Any,
) -> License:
    """A license, by its action."""
    with tenant_scope(house.id):
        return issue_license(
            house.platform,
            model,
            customer=customer,
            features=features,
            purposes=[PURPOSE],
            quota=quota,
            expires_at=timezone.now() + timedelta(days=days),
            **terms,
        )


def make_key(house: House, license_: License, *, mode: str = KeyMode.LIVE) -> Issued:
    """A key, by its action."""
    with tenant_scope(house.id):
        return issue_key(house.platform, license_, name="a key", mode=mode)


def make_shop(
    *,
    slug: str = "house",
    customer: str = "acme",
    model: str = "income",
    quota: int = 100,
    rate: int | None = None,
    burst: int | None = None,
) -> Shop:
    """Everything for a first call."""
    log_keys.ensure_keys()
    house = make_house(slug)
    buyer, admin = make_customer(customer)
    version = make_version(house, model)
    license_ = make_license(house, buyer, version.model, quota=quota, rate=rate, burst=burst)
    return Shop(house, buyer, admin, version, license_, make_key(house, license_))


def answered(facts: keys.KeyFacts, license_: License, version: ModelVersion, name: str) -> Answered:
    """A computed answer, ready to be charged."""
    call = Call(
        facts, Terms.of(license_), Feature.PREDICT, None, {PURPOSE}, 1, timezone.now(),
        quotas.of_key(quotas.read(license_), facts.id),
    )  # fmt: skip
    return Answered(
        id=uuid4(),
        call=call,
        version=version,
        score=0.5,
        label=">50K",
        explanation=None,
        commitment="0" * 64,
        request_id=name,
        request_digest="0" * 64,
    )


def charge(secret: str, names: Iterable[str]) -> int:
    """Charge a call for each name, with the license as it was at the start; how many were let."""
    facts = keys.authenticate(secret)
    admitted = 0
    with tenant_scope(facts.tenant_id):
        license_ = License.objects.get(pk=facts.license_id)
        version = released_version(license_.model_id)
        assert version is not None
        for name in names:
            try:
                serve_prediction(
                    KeyActor(facts), license_, answered(facts, license_, version, name)
                )
            except QuotaError:
                continue
            admitted += 1
    return admitted
