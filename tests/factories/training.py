"""A sealed version to train on, and runs on it: requested and trained for real, but tiny."""

import hashlib
import uuid
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import numpy as np

from audit.canonical import canonical, digest
from governance import leases, vault
from governance.actions.proposals import approve_proposal
from governance.models import (
    ColumnPlanVersion,
    Dataset,
    DatasetVersion,
    Proposal,
    Purpose,
    PurposeGrant,
)
from governance.models.datasets import DatasetState
from governance.quality.assessing import assess, write_run
from governance.recognition.plan import ColumnPlan, Declared, Evidence, Kind, PlannedColumn
from governance.scoping import tenant_scope
from governance.tables.writing import ParquetChunkWriter
from tests.factories.people import House
from training.actions.examinations import request_examination
from training.actions.runs import request_run
from training.config import Guarantee as Promise
from training.examination import Examination
from training.features import FeatureSpec, Numeric, Target
from training.models import Guarantee, Model, ModelVersion, Run, RunState

PURPOSE: Final = "credit-risk-scoring"
ROWS: Final = 240
DECLARATIONS: Final[dict[str, Any]] = {
    "columns": {
        "age": {"kind": "numeric", "low": 17, "high": 90},
        "hours": {"kind": "numeric", "low": 1, "high": 99},
        "sex": {"kind": "category", "values": ["Female", "Male"], "use": "group"},
        "city": {"kind": "category", "values": ["north", "south"]},  # coarse, and declared
        "name": {"kind": "text"},  # barred by the plan, whatever is declared
    },
    "target": {"column": "income", "positive": ">50K", "negative": "<=50K"},
    "source": "a test",
}
SMALL: Final[dict[str, Any]] = {"hidden": [4], "steps": 45, "expected_batch": 40}
ASKED: Final[dict[str, Any]] = {
    "target": "income",
    "purpose": PURPOSE,
    "epsilon": "1",
    "config": SMALL,
}


def plan_of(*, subject: str = "person", operator: str = "pseudonym") -> ColumnPlan:
    """A plan with a column of every kind that training must judge."""
    said: list[tuple[str, Kind, str | None, str, Declared | None]] = [
        (subject, Kind.TYPED, "PERSON_ID", operator, Declared.SUBJECT),
        ("name", Kind.TYPED, "PERSON", "pseudonym", None),
        ("phone", Kind.TYPED, "PHONE", "keep", None),
        ("city", Kind.TYPED, "LOCATION", "generalize", None),
        ("born", Kind.TYPED, "DATE_OF_BIRTH", "generalize", None),  # coarse, and not declared
        ("note", Kind.PROSE, None, "replace", None),
        ("age", Kind.FREE, None, "keep", Declared.FEATURE),
        ("hours", Kind.FREE, None, "keep", Declared.FEATURE),
        ("sex", Kind.FREE, None, "keep", Declared.FEATURE),
        ("income", Kind.FREE, None, "keep", Declared.TARGET),
        ("raw", Kind.FREE, None, "keep", Declared.DROP),
    ]
    return ColumnPlan(
        tuple(
            PlannedColumn(name, kind, entity, {"operator": operator}, Evidence(), declared)
            for name, kind, entity, operator, declared in said
        ),
        detector="test",
    )


def rows_of(count: int = ROWS, seed: int = 0, *, each: int = 1) -> dict[str, list[str | None]]:
    """Anonymized rows in which income follows age and hours; `each` of them one person's."""
    generator = np.random.default_rng(seed)
    age = generator.integers(18, 80, count)
    hours = generator.integers(10, 70, count)
    rich = (age - 45) / 15 + (hours - 40) / 10 + generator.normal(0, 0.5, count) > 0
    people = range(count)
    return {
        "person": [f"P{i // each:06d}" for i in people],
        "name": [f"N{i:06d}" for i in people],
        "phone": [f"555-{i:04d}" for i in people],
        "city": [("north", "south")[i % 2] for i in people],
        "born": ["1980-01" for _ in people],
        "note": ["<PERSON> called" for _ in people],
        "age": [str(value) for value in age],
        "hours": [str(value) for value in hours],
        "sex": [("Female", "Male")[int(value)] for value in generator.integers(0, 2, count)],
        "income": [">50K" if positive else "<=50K" for positive in rich],
    }


def make_version(
    house: House,
    name: str = "people",
    *,
    rows: int = ROWS,
    declarations: Mapping[str, Any] | None = None,
    purposes: tuple[str, ...] = (PURPOSE,),
    source_rows: int | None = -1,
    checked: bool = True,
    subject: str = "person",
    each: int = 1,
) -> DatasetVersion:
    """A sealed version in the vault, without an ingest.

    `source_rows` -1 means `rows`; `checked` holds it against its contract, as an ingest does;
    `subject` "" leaves records as the privacy unit; `each` person has so many rows.
    """
    table = rows_of(rows, each=each)
    with tenant_scope(house.id):
        dataset = Dataset.objects.create(
            # The same split in every test, so that noise is calibrated once.
            id=uuid.uuid5(uuid.NAMESPACE_URL, f"{house.tenant.slug}/{name}"),
            tenant=house.tenant,
            name=name,
            state=DatasetState.SEALED,
            subject_column=subject,
            declarations=deepcopy(dict(DECLARATIONS if declarations is None else declarations)),
            rows=rows if source_rows == -1 else source_rows,
            uploaded_by=house.user(house.steward),
        )
        for slug in purposes:
            purpose = Purpose.objects.get(tenant=house.tenant, slug=slug)
            PurposeGrant.objects.create(
                tenant=house.tenant,
                dataset=dataset,
                purpose=purpose,
                legal_basis=purpose.legal_basis,
            )
        version = seal(house, dataset, table, rows=rows)
        if checked:
            write_run(version, assess(version))
    return version


def seal(
    house: House,
    dataset: Dataset,
    table: Mapping[str, list[str | None]],
    *,
    rows: int = ROWS,
    number: int = 1,
    operator: str = "pseudonym",
) -> DatasetVersion:
    """A version of a dataset; `operator` is the subject column's. The tenant's scope is open."""
    stored_plan = ColumnPlanVersion.objects.create(
        tenant=house.tenant,
        dataset=dataset,
        number=number,
        body=canonical(plan_of(operator=operator).as_dict()),
        digest="0" * 64,
        detector="test",
    )
    with vault.ObjectWriter(house.tenant, "version") as writer:
        parquet = ParquetChunkWriter(writer, list(table))
        parquet.write(table)
        parquet.close()
        stored = writer.finish()
    stored.save(force_insert=True)
    version: DatasetVersion = DatasetVersion.objects.create(
        tenant=house.tenant,
        dataset=dataset,
        number=number,
        stored=stored,
        plan=stored_plan,
        rows=rows,
        detector="test",
        digest="0" * 64,
    )
    return version


def ask(house: House, version: DatasetVersion, **asked: Any) -> Run:
    """A run as the engineer requests it; its job waits."""
    with tenant_scope(house.id), leases.doing_it_here():
        return request_run(
            house.engineer,
            version,
            **{**ASKED, **asked},
        )


def trained(house: House, version: DatasetVersion, **asked: Any) -> ModelVersion:
    """A run that was requested and carried out in this process, and what it registered."""
    run = ask(house, version, **asked)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
        assert run.state == "finished", run.error_code
        return ModelVersion.objects.select_related("model").get(run=run)


def untrained(house: House, sealed: DatasetVersion | None = None) -> ModelVersion:
    """A model with the weights that it began with, registered as a waived run leaves one."""
    from training.accounting import make_plan
    from training.artifacts import to_bytes
    from training.config import TrainingConfig
    from training.networks import build

    spec = FeatureSpec((Numeric("age", 17, 90), Numeric("hours", 1, 99)), Target("income", ">50K"))
    config = TrainingConfig.for_rows(
        200, epsilon=1.0, delta=1e-5, features=spec.digest(), guarantee=Promise.WAIVED, steps=1
    )
    data = to_bytes(
        build(config, spec.width).state_dict(),
        config=config,
        plan=make_plan(config, 200),
        spec=spec,
        executed=1,
    )
    sealed = sealed or make_version(house)
    with tenant_scope(house.id):
        with vault.ObjectWriter(house.tenant, "artifact") as writer:
            writer.write(data)
            kept = writer.finish()
        kept.save(force_insert=True)
        run = Run.objects.create(
            tenant=house.tenant, version=sealed, purpose=PURPOSE, target="income",
            model_name=sealed.dataset.name, guarantee=Guarantee.WAIVED, epsilon="1", config=b"{}",
            config_digest="0" * 64, state=RunState.FINISHED,
            requested_by=house.user(house.engineer),
        )  # fmt: skip
        made: ModelVersion = ModelVersion.objects.create(
            tenant=house.tenant, run=run, number=1, artifact=kept,
            model=Model.objects.create(tenant=house.tenant, slug=f"{sealed.dataset.name}-risk"),
            artifact_digest=hashlib.sha256(data).hexdigest(), guarantee=Guarantee.WAIVED,
            card={}, card_digest=digest({}),
        )  # fmt: skip
    return made


def examined(house: House, version: ModelVersion, **asked: Any) -> Examination:
    """An examination that was requested and carried out in this process."""
    with tenant_scope(house.id), leases.doing_it_here():
        made = request_examination(house.engineer, version, **asked)
    leases.run_here(made.reference)
    with tenant_scope(house.id):
        return Examination.objects.select_related("run").get(pk=made.pk)


def approve(house: House, proposal: Proposal) -> None:
    """Officer and tenant admin agree; what follows waits as a job."""
    with tenant_scope(house.id), leases.doing_it_here():
        for person in (house.officer, house.owner):
            approve_proposal(person, proposal)
