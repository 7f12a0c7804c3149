"""Two people at the same moment, each on a connection of their own; run in a process of their own.

Each race tells how the two fared, "ok" or the error's code, and then what is left. A gate lets both
go together; READ COMMITTED does the rest.
"""

import json
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.test import override_settings

from audit.errors import DomainError
from audit.models import AuditEntry
from gateway.actions.feedback import take_feedback
from gateway.authentication import KeyActor
from gateway.batches import Name
from gateway.feedback import Sent
from gateway.keys import authenticate
from gateway.models import Feedback, Prediction
from governance import approvals, leases
from governance.actions import anonymization, datasets, people, proposals, tenants
from governance.intake import Incoming, append, take_in
from governance.models import (
    ColumnPlanVersion,
    Dataset,
    Job,
    Proposal,
    Purpose,
    RoleBinding,
    RowGroup,
    Tenant,
    User,
)
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind, Role
from governance.rbac import UserActor, ingest_worker
from governance.scoping import across_tenants, tenant_scope
from tests.factories.gateway import charge, make_shop
from tests.factories.people import PASSWORD, House, make_house, make_user
from tests.factories.training import make_version
from tests.factories.watching import Service, observed_by, release
from training.watcher import look_at
from training.watching import remedies

Attempt = Callable[[], object]


def race(*attempts: Attempt, scope: uuid.UUID | None = None) -> list[str]:
    """Let them go together; how each fared, in order of words."""
    gate = threading.Barrier(len(attempts))
    fared: list[str] = []

    def run(attempt: Attempt) -> None:
        try:
            connections["default"].ensure_connection()
            gate.wait(timeout=30)
            with tenant_scope(*([scope] if scope else [])), leases.doing_it_here():
                attempt()
            fared.append("ok")
        except DomainError as error:
            fared.append(error.stable_code)
        except Exception as error:  # noqa: BLE001 - that it is one of these is the finding
            fared.append(type(error).__name__)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(attempt,)) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(fared)


def house() -> House:
    return make_house(f"h{uuid.uuid4().hex[:10]}")


def _proposed(at: House, kind: ProposalKind = ProposalKind.REVEAL) -> Proposal:
    with tenant_scope(at.id), transaction.atomic():
        return approvals.propose(
            kind,
            f"dataset:{uuid.uuid4()}",
            {"tokens": 3},
            proposer_id=at.steward.user_id,
            tenant_id=at.id,
        )


def two_approvers() -> list[Any]:
    at = house()
    proposal = _proposed(at)
    fared = race(
        lambda: proposals.approve_proposal(at.officer, proposal),
        lambda: proposals.approve_proposal(at.owner, proposal),
        scope=at.id,
    )
    done = AuditEntry.objects.filter(subject=proposal.reference).values_list("body", flat=True)
    return [*fared, sorted(json.loads(bytes(body))["facts"]["complete"] for body in done)]


def one_person_twice() -> list[Any]:
    at = house()
    both = make_user(f"u{uuid.uuid4().hex}", at.tenant, Role.OFFICER, Role.TENANT_ADMIN)
    proposal = _proposed(at)
    actor = UserActor(both.id, at.id)
    attempt = lambda: proposals.approve_proposal(actor, proposal)  # noqa: E731
    fared = race(attempt, attempt, scope=at.id)
    with tenant_scope(at.id):
        return [*fared, proposal.approvals.count()]


def approve_and_reject() -> list[Any]:
    at = house()
    second = UserActor(make_user(f"u{uuid.uuid4().hex}", at.tenant, Role.OFFICER).id, at.id)
    newcomer = make_user(f"u{uuid.uuid4().hex}")
    with tenant_scope(at.id):
        proposal = people.propose_role(
            at.platform, at.tenant, user=newcomer, role=Role.STEWARD, tenant=at.tenant
        )
    fared = race(
        lambda: proposals.approve_proposal(at.officer, proposal),
        lambda: proposals.reject_proposal(second, proposal),
        scope=at.id,
    )
    proposal.refresh_from_db()
    held = UserActor(newcomer.id, at.id).roles() == {Role.STEWARD}
    return [*fared, held == (proposal.used_at is not None)]


def one_approval_used_twice() -> list[Any]:
    at = house()
    proposal = _proposed(at)
    with tenant_scope(at.id):
        proposals.approve_proposal(at.officer, proposal)
        proposals.approve_proposal(at.owner, proposal)

    def use() -> None:
        with transaction.atomic():
            approvals.use(ProposalKind.REVEAL, proposal.subject)

    return race(use, use, scope=at.id)


def two_proposals_of_one_subject() -> list[Any]:
    at = house()
    subject = f"dataset:{uuid.uuid4()}"

    def propose() -> None:
        with transaction.atomic():
            approvals.propose(
                ProposalKind.REVEAL,
                subject,
                {"tokens": 3},
                proposer_id=at.steward.user_id,
                tenant_id=at.id,
            )

    fared = race(propose, propose, scope=at.id)
    with tenant_scope(at.id):
        still = Proposal.objects.filter(subject=subject, rejected_at__isnull=True).count()
    return [*fared, still]


def two_claims() -> list[Any]:
    at = house()
    with tenant_scope(at.id), leases.doing_it_here(), transaction.atomic():
        job = leases.enqueue("ingest.profile", "dataset:x", "ingest", tenant_id=at.id)
    taken: list[bool] = []
    race(
        lambda: taken.append(leases.claim(job.id) is not None),
        lambda: taken.append(leases.claim(job.id) is not None),
    )
    with across_tenants(reason="a test"):
        return [*sorted(taken), Job.objects.get(pk=job.id).fence]


def two_uploads_of_one_name() -> list[Any]:
    at = house()
    before = _files()

    def upload() -> Dataset:
        declared = datasets.Declared(name="people", purposes=("credit-risk-scoring",))
        return take_in(at.steward, at.tenant, [Incoming([b"a,b\n1,2\n"])], declared)

    fared = race(upload, upload, scope=at.id)
    with tenant_scope(at.id):
        return [*fared, Dataset.objects.count(), _files() - before]


def _in_groups(at: House) -> tuple[Dataset, list[tuple[leases.Lease, anonymization.Treated]]]:
    """A dataset in the middle of its ingest: two groups are treated and about to be taken in."""
    declared = datasets.Declared(name="people", purposes=("credit-risk-scoring",))
    with tenant_scope(at.id), leases.doing_it_here():
        dataset = take_in(at.steward, at.tenant, [Incoming([b"a,b\n1,2\n"])], declared)
        batch = dataset.batches.get()
        plan = ColumnPlanVersion.objects.create(
            tenant=at.tenant, dataset=dataset, number=1, body=b"{}", digest="0" * 64, detector="x"
        )
        Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.ANONYMIZING)
        Job.objects.filter(subject=dataset.reference).update(state="done")
        groups = RowGroup.objects.bulk_create(
            RowGroup(
                tenant=at.tenant, batch=batch, number=n, first_row=n, rows=1,
                staged=batch.parts.get().stored,
            )
            for n in (1, 2)
        )  # fmt: skip
        ready = []
        for group in groups:
            with transaction.atomic():
                job = leases.enqueue(
                    "ingest.group", dataset.reference, "ingest",
                    tenant_id=at.id, argument=str(group.pk),
                )  # fmt: skip
            lease = leases.claim(job.id)
            assert lease is not None
            found = {"a": {"PERSON": 1}}  # so that there is no object to seal
            made = anonymization.Treated(group, plan, stored=None, rows=1, leaks=found)
            ready.append((lease, made))
    return dataset, ready


def two_last_groups() -> list[Any]:
    """Each is the last that it sees; one of them sets the merge off."""
    at = house()
    dataset, ready = _in_groups(at)

    def finish(lease: leases.Lease, made: anonymization.Treated) -> Attempt:
        return lambda: anonymization.finish_group(
            ingest_worker(at.id), dataset, lease=lease, made=made
        )

    fared = race(*(finish(lease, made) for lease, made in ready), scope=at.id)
    with tenant_scope(at.id):
        return [*fared, Job.objects.filter(kind="ingest.merge").count()]


def two_failing_groups() -> list[Any]:
    """The ingest stops once: the second finds its job halted."""
    at = house()
    dataset, ready = _in_groups(at)

    def stop(lease: leases.Lease) -> Attempt:
        return lambda: anonymization.stop_ingest(
            ingest_worker(at.id), dataset, lease=lease, stage="anonymize", code="x.y", detail="x"
        )

    fared = race(*(stop(lease) for lease, _made in ready), scope=at.id)
    with tenant_scope(at.id):
        states = Job.objects.filter(kind="ingest.group").values_list("state", flat=True)
        return [*fared, *sorted(states)]


def the_last_group_and_a_stop() -> list[Any]:
    """Whichever comes first, no merge runs on after the stop and nothing is done twice."""
    at = house()
    dataset, ready = _in_groups(at)
    (lease, made), (other, _) = ready
    race(
        lambda: anonymization.finish_group(ingest_worker(at.id), dataset, lease=lease, made=made),
        lambda: anonymization.stop_ingest(
            ingest_worker(at.id), dataset, lease=other, stage="anonymize", code="x.y", detail="x"
        ),
        scope=at.id,
    )
    dataset.refresh_from_db()
    with tenant_scope(at.id):
        return [dataset.state, leases.open_jobs(dataset.reference)]


def two_batches_at_once() -> list[Any]:
    at = house()
    dataset, _ready = _in_groups(at)
    with tenant_scope(at.id):
        Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.SEALED)
    attempt = lambda: append(at.steward, dataset, [Incoming([b"a,b\n3,4\n"])])  # noqa: E731
    fared = race(attempt, attempt, scope=at.id)
    with tenant_scope(at.id):
        return [*fared, dataset.batches.count()]


def _files() -> int:
    objects = Path(settings.PORTCULLIS_HOME) / "objects"
    return sum(1 for path in objects.rglob("*") if path.is_file())


def two_of_one_user_name() -> list[Any]:
    at, name = house(), f"u{uuid.uuid4().hex}"
    attempt = lambda: people.create_user(  # noqa: E731
        at.platform, at.tenant, username=name, password=PASSWORD
    )
    return [*race(attempt, attempt, scope=at.id), User.objects.filter(username=name).count()]


def two_of_one_purpose() -> list[Any]:
    at = house()
    attempt = lambda: tenants.declare_purpose(  # noqa: E731
        at.officer, at.tenant, slug="fraud", title="Fraud", legal_basis="consent"
    )
    fared = race(attempt, attempt, scope=at.id)
    return [*fared, Purpose._base_manager.filter(tenant=at.tenant, slug="fraud").count()]


def two_officers_leave() -> list[Any]:
    at = house()
    second = make_user(f"u{uuid.uuid4().hex}", at.tenant, Role.OFFICER)
    with tenant_scope(at.id):
        first = RoleBinding.objects.get(user_id=at.officer.user_id)
    fared = race(
        lambda: people.revoke_role(at.platform, first),
        lambda: people.deactivate_user(at.platform, at.tenant, user=second),
        scope=at.id,
    )
    left = RoleBinding._base_manager.filter(
        tenant=at.tenant, role="officer", revoked_at__isnull=True, user__is_active=True
    )
    return [*fared, left.count()]


def two_roles_that_conflict() -> list[Any]:
    at = house()
    newcomer = make_user(f"u{uuid.uuid4().hex}")
    second = UserActor(make_user(f"u{uuid.uuid4().hex}", at.tenant, Role.OFFICER).id, at.id)
    with tenant_scope(at.id):
        one, other = (
            people.propose_role(at.platform, at.tenant, user=newcomer, role=role, tenant=at.tenant)
            for role in (Role.AUDITOR, Role.STEWARD)
        )
    fared = race(
        lambda: proposals.approve_proposal(at.officer, one),
        lambda: proposals.approve_proposal(second, other),
        scope=at.id,
    )
    return [*fared, len(UserActor(newcomer.id, at.id).roles())]


def two_founders() -> list[Any]:
    """In an empty database: two houses would be two officers whom nobody approved."""

    def found(name: str) -> Attempt:
        return lambda: people.bootstrap(
            people.BOOTSTRAP,
            None,
            tenant_slug=name,
            tenant_name=name,
            officer=f"{name}-olga",
            officer_password=PASSWORD,
            platform=f"{name}-pat",
            platform_password=PASSWORD,
        )

    return [*race(found("one"), found("two")), Tenant.objects.count(), User.objects.count()]


def _told_at_once(*labels: str) -> list[Any]:
    """Labels of one prediction, told at the same moment by one key; how many rows are left."""
    unique = uuid.uuid4().hex[:10]
    shop = make_shop(slug=f"h{unique}", customer=f"c{unique}", model=f"m{unique}")
    charge(shop.secret, ["a"])
    actor = KeyActor(authenticate(shop.secret))
    with tenant_scope(shop.customer.id):
        name = Name(Prediction.objects.get().pk)
    fared = race(
        *(
            lambda label=label: take_feedback(actor, shop.license, sent=[Sent(name, label)])
            for label in labels
        ),
        scope=shop.customer.id,
    )
    with tenant_scope(shop.customer.id):
        return [*fared, Feedback.objects.count()]


def two_labels_of_one_prediction() -> list[Any]:
    return _told_at_once(">50K", "<=50K")


def one_label_twice() -> list[Any]:
    return _told_at_once(">50K", ">50K")


def two_passes_of_the_watch() -> list[Any]:
    """Whoever is second finds each window closed, and the decline answered."""
    at = house()
    version = release(
        at, make_version(at), name=f"m{uuid.uuid4().hex}", model="linear", config={"steps": 5}
    )
    with observed_by(Service()) as service:
        for ago in (9, 8, 7):
            service.day(ago, labels=(300, 200))
        fared = race(lambda: look_at(version), lambda: look_at(version), scope=at.id)
    with tenant_scope(at.id):
        return [*fared, version.windows.count(), remedies(version).count()]


def main(rounds: int, *names: str) -> None:
    """Print the ends of some rounds of each race, as one JSON object by name."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        ends = {name: [globals()[name]() for _ in range(rounds)] for name in names}
    sys.stdout.write(json.dumps(ends))
