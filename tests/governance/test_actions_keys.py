"""Rotation and reveal as actions: what stays readable, who may, and what is recorded."""

import pytest

from audit.errors import DomainError
from audit.errors import RefusedError as MayNotError
from audit.models import AuditEntry
from governance.actions.keys import Level, rotate_keys
from governance.actions.proposals import approve_proposal
from governance.actions.tokens import propose_reveal, reveal_tokens
from governance.anonymization.operators import Token
from governance.models import Dataset, DatasetVersion
from governance.scoping import tenant_scope
from governance.vault import operator_keys
from governance.versions import frames
from tests.factories.datasets import sealed, upload
from tests.factories.people import House, make_house

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("home")]
CARD = "6217000000000000004"


@pytest.fixture
def house() -> House:
    return make_house()


@pytest.mark.parametrize("level", list(Level))
def test_after_a_rotation_everything_opens(house: House, level: Level) -> None:
    dataset = sealed(house)
    with tenant_scope(house.id):
        version = DatasetVersion.objects.get(dataset=dataset)
        sealed_before = version.stored.digest
        assert rotate_keys(house.platform, house.tenant, level=level) > 0
        version.refresh_from_db()
        assert sum(frame.height for frame in frames(version)) == 5
        assert version.stored.digest == sealed_before
    entry = AuditEntry.objects.get(event="keys.rotated")
    assert entry.outcome == "done"


@pytest.mark.parametrize("who", ["steward", "officer", "engineer", "owner", "auditor"])
def test_only_the_platform_admin_rotates(house: House, who: str) -> None:
    with tenant_scope(house.id), pytest.raises(MayNotError):
        rotate_keys(getattr(house, who), house.tenant, level=Level.TENANT)


def tokens_of(house: House) -> list[str]:
    return [Token(operator_keys(house.tenant)).apply(CARD, "CN_BANK_CARD")]


def propose(house: House, dataset: Dataset, **changed: object) -> None:
    asked = {"entity": "CN_BANK_CARD", "tokens": tokens_of(house), "reason": "fraud_case"}
    propose_reveal(house.steward, dataset, **(asked | changed))  # type: ignore[arg-type]  # a table


def test_a_token_is_revealed_once_after_two_approvals(house: House) -> None:
    dataset = upload(house)
    with tenant_scope(house.id):
        propose(house, dataset)
        proposal = house.user(house.steward).proposals.get()
        with pytest.raises(MayNotError) as caught:
            reveal_tokens(house.steward, dataset)
        assert caught.value.stable_code == "approval.missing"
        approve_proposal(house.officer, proposal)
        with pytest.raises(MayNotError):
            reveal_tokens(house.steward, dataset)
        approve_proposal(house.owner, proposal)
        assert reveal_tokens(house.steward, dataset) == [CARD]
        with pytest.raises(MayNotError) as caught:
            reveal_tokens(house.steward, dataset)
        assert caught.value.stable_code == "approval.used"
    assert not [e for e in AuditEntry.objects.all() if CARD.encode() in bytes(e.body)]


@pytest.mark.parametrize("who", ["officer", "engineer", "owner", "platform", "auditor"])
def test_only_the_steward_may_ask(house: House, who: str) -> None:
    dataset = upload(house)
    with tenant_scope(house.id), pytest.raises(MayNotError):
        propose_reveal(
            getattr(house, who), dataset, entity="CN_ID", tokens=["0" * 40], reason="fraud_case"
        )


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"reason": "curiosity"}, "reveal.reason_unknown"),
        ({"tokens": []}, "reveal.tokens_invalid"),
        ({"tokens": ["0" * 40] * 101}, "reveal.tokens_invalid"),
        ({"tokens": [CARD]}, "reveal.tokens_invalid"),
        ({"entity": "王小明"}, "reveal.tokens_invalid"),
    ],
)
def test_what_cannot_be_asked(house: House, changed: dict[str, object], code: str) -> None:
    dataset = upload(house)
    with tenant_scope(house.id), pytest.raises(DomainError) as caught:
        propose(house, dataset, **changed)
    assert caught.value.stable_code == code


def test_a_forged_token_is_one_opaque_failure(house: House) -> None:
    dataset = upload(house)
    with tenant_scope(house.id):
        propose(house, dataset, tokens=["ab" * 24])
        proposal = house.user(house.steward).proposals.get()
        approve_proposal(house.officer, proposal)
        approve_proposal(house.owner, proposal)
        with pytest.raises(DomainError):
            reveal_tokens(house.steward, dataset)
    assert AuditEntry.objects.get(event="token.revealed").outcome == "failed"
