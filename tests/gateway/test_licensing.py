"""Denials: one table, one order, and the first that holds is the one that is told."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from audit.errors import Kind
from gateway.keys import KeyFacts
from gateway.licensing import DENIALS, Call, Terms, admit, judge_key
from gateway.models import Feature, KeyMode, LimitPeriod, LimitScope
from gateway.quotas import LimitTerms
from gateway.scopes import parsed_networks
from gateway.settings.env import BASE_DIR

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def good() -> Call:
    customer = uuid4()
    terms = Terms(
        id=uuid4(),
        customer_id=customer,
        model_id=uuid4(),
        features=frozenset({"predict"}),
        purposes=frozenset({"scoring"}),
        quota=10,
        used=9,
        starts_at=NOW - DAY,
        expires_at=NOW + DAY,
        revoked_at=None,
    )
    key = KeyFacts(
        id=uuid4(),
        public_id="0123456789",
        tenant_id=customer,
        license_id=terms.id,
        mode=KeyMode.LIVE,
        digest=b"",
        pepper_version=1,
        expires_at=NOW + DAY,
        revoked_at=None,
    )
    return Call(key, terms, Feature.PREDICT, None, {"scoring"}, 1, NOW)


def with_key(call: Call, **changed: object) -> Call:
    return replace(call, key=replace(call.key, **changed))  # type: ignore[arg-type]  # by name


def with_terms(call: Call, **changed: object) -> Call:
    return replace(call, terms=replace(call.terms, **changed))  # type: ignore[arg-type]  # by name


def with_limit(call: Call, scope: LimitScope) -> Call:
    used_up = LimitTerms(uuid4(), scope, uuid4(), None, 5, LimitPeriod.TOTAL, 5, 0)
    return replace(call, limits=(*call.limits, used_up))


# Each makes one denial hold, and none that stands before it. The order is the table's.
FAULTS: dict[str, Callable[[Call], Call]] = {
    "key.revoked": lambda call: with_key(call, revoked_at=NOW),
    "key.expired": lambda call: with_key(call, expires_at=NOW),
    "key.address_refused": lambda call: replace(
        with_key(call, networks=parsed_networks(["192.0.2.0/24"])), address="198.51.100.1"
    ),
    "key.scope_missing": lambda call: with_key(call, scopes=frozenset({"read"})),
    "license.revoked": lambda call: with_terms(call, revoked_at=NOW),
    "license.suspended": lambda call: with_terms(call, suspended_at=NOW),
    "license.not_started": lambda call: with_terms(call, starts_at=NOW + timedelta(microseconds=1)),
    "license.expired": lambda call: with_terms(call, expires_at=NOW),
    "license.other_customer": lambda call: with_terms(call, customer_id=uuid4()),
    "license.feature_missing": lambda call: replace(call, feature=Feature.EXPLAIN),
    "license.purpose_missing": lambda call: with_terms(call, purposes=frozenset("ab")),
    "license.purpose_differs": lambda call: replace(call, purpose="marketing"),
    "license.region_missing": lambda call: with_terms(call, regions=frozenset({"eu"})),
    "license.region_differs": lambda call: with_terms(
        replace(call, region="us"), regions=frozenset({"eu"})
    ),
    "model.not_released": lambda call: replace(call, model_purposes=None),
    "model.sunset": lambda call: replace(call, sunset_at=NOW),
    "model.purpose_differs": lambda call: replace(call, model_purposes=frozenset({"other"})),
    "license.quota_exhausted": lambda call: with_terms(call, used=10),
    "quota.key_exhausted": lambda call: with_limit(call, LimitScope.KEY),
    "quota.license_exhausted": lambda call: with_limit(call, LimitScope.LICENSE),
    "quota.customer_exhausted": lambda call: with_limit(call, LimitScope.CUSTOMER),
    "quota.model_exhausted": lambda call: with_limit(call, LimitScope.MODEL),
}


def test_the_table_is_the_order() -> None:
    assert [denial.code for denial in DENIALS] == list(FAULTS)


def test_a_good_call_is_admitted() -> None:
    assert admit(good()) is None
    assert admit(replace(good(), purpose="scoring")) is None


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_alone_has_its_code(code: str) -> None:
    denial = admit(FAULTS[code](good()))
    assert denial is not None
    assert denial.code == code
    assert denial.raised().stable_code == code


# Of these pairs the second cannot hold beside the first: a purpose is told or not, a region too,
# and without a version there are no purposes of one.
EXCLUDED = {
    "license.purpose_missing": "license.purpose_differs",
    "license.region_missing": "license.region_differs",
    "model.not_released": "model.purpose_differs",
}


@pytest.mark.parametrize("first", FAULTS)
def test_of_all_faults_together_the_first_is_told(first: str) -> None:
    """Each fault holds beside all that come after it, but for one that excludes it."""
    call, applied = good(), set[str]()
    for code in list(FAULTS)[list(FAULTS).index(first) :]:
        if not any(EXCLUDED.get(earlier) == code for earlier in applied):
            call = FAULTS[code](call)
            applied.add(code)
    denial = admit(call)
    assert denial is not None
    assert denial.code == first


TWO = frozenset({"scoring", "reporting"})


@pytest.mark.parametrize(
    ("told", "licensed", "trained", "code"),
    [
        (None, {"scoring"}, {"scoring"}, None),
        ("scoring", TWO, {"scoring"}, None),
        ("reporting", TWO, {"scoring"}, "model.purpose_differs"),
        ("marketing", TWO, {"marketing"}, "license.purpose_differs"),
        (None, TWO, {"scoring"}, "license.purpose_missing"),
    ],
)
def test_purposes(
    told: str | None, licensed: set[str], trained: set[str], code: str | None
) -> None:
    call = with_terms(
        replace(good(), purpose=told, model_purposes=trained), purposes=frozenset(licensed)
    )
    denial = admit(call)
    assert (denial and denial.code) == code


@pytest.mark.parametrize(
    ("region", "licensed", "code"),
    [
        (None, (), None),
        ("us", (), None),
        ("de", ("de", "fr"), None),
        ("us", ("de", "fr"), "license.region_differs"),
        (None, ("de",), "license.region_missing"),
        ("", ("de",), "license.region_differs"),
    ],
)
def test_regions(region: str | None, licensed: tuple[str, ...], code: str | None) -> None:
    denial = admit(with_terms(replace(good(), region=region), regions=frozenset(licensed)))
    assert (denial and denial.code) == code


def test_a_test_key_is_never_short_of_quota() -> None:
    call = with_terms(with_key(good(), mode=KeyMode.TEST), used=10)
    assert admit(call) is None


def test_the_kinds_are_what_doors_need() -> None:
    kinds = {denial.code: denial.error.kind for denial in DENIALS}
    assert kinds["key.revoked"] is Kind.UNAUTHENTICATED
    assert kinds["key.address_refused"] is kinds["key.scope_missing"] is Kind.REFUSED
    assert kinds["license.expired"] is Kind.REFUSED
    assert kinds["license.quota_exhausted"] is Kind.TOO_MANY


def test_a_revocation_holds_whatever_this_machines_clock_says() -> None:
    """The moment is the revoking machine's, whose clock may run ahead; nothing revokes later on."""
    key = replace(good().key, revoked_at=NOW + DAY)
    assert judge_key(key, NOW) is DENIALS[0]
    assert admit(replace(good(), key=key)) is DENIALS[0]


def test_the_readme_lists_the_denials_in_their_order() -> None:
    text = (BASE_DIR / "gateway" / "README.md").read_text()
    listed = re.search(r"## Denials.*?\n\n(.*?)\n\n", text, re.DOTALL)
    assert listed is not None
    codes = re.findall(r"`([a-z_.]+)`", listed[1])
    before = list(FAULTS).index("license.quota_exhausted")
    told = [*list(FAULTS)[:before], "limit.rate_exceeded", *list(FAULTS)[before:]]
    assert codes == ["key.malformed", "key.unknown", *told]
