"""Who sees which section; that looking changes nothing; that strangers see nothing."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from audit.models import AuditEntry, PendingLeaf
from governance.models import User
from tests.factories.console import STAFF, World, fingerprint
from tests.factories.people import make_user

SECTIONS = {
    "governance/dataset": {"steward", "officer", "engineer", "owner", "auditor", "customer"},
    "governance/proposal": {*STAFF, "customer"},
    "governance/rolebinding": {"officer", "owner", "platform", "auditor", "customer"},
    "governance/detectormeasurement": {*STAFF, "customer"},
    "governance/recognitionrules": {"steward", "officer", "owner", "auditor", "customer"},
    "governance/datarelease": {"steward", "officer", "owner", "auditor", "customer"},
    "training/run": {"steward", "officer", "engineer", "owner", "auditor", "customer"},
    "training/budget": {"steward", "officer", "engineer", "owner", "auditor", "customer"},
    "training/modelversion": {*STAFF, "customer"},
    "training/examination": {"steward", "officer", "engineer", "owner", "auditor", "customer"},
    "training/devicelease": {"engineer", "owner", "platform", "customer"},
    "gateway/license": {"officer", "owner", "platform", "auditor", "customer"},
    "gateway/apikey": {"officer", "owner", "platform", "auditor", "customer"},
    "gateway/usagerollup": {"officer", "owner", "platform", "auditor", "customer"},
    "audit/auditentry": {"officer", "owner", "auditor", "customer"},
}
CALLERS = (*STAFF, "customer", "stranger", "nobody")
FORMS = {
    "governance/dataset/upload": {"steward", "owner", "customer"},
    "governance/recognitionrules/next": {"steward"},
    "training/run/request": {"engineer"},
    "gateway/license/issue": {"platform"},
    "gateway/usagerollup/statement": {"officer", "owner", "platform", "auditor", "customer"},
}


def test_each_section_opens_to_its_roles_and_to_nobody_else(world: World) -> None:
    found = {
        section: {who for who in (*STAFF, "customer") if _status(world, who, section) == 200}
        for section in SECTIONS
    }
    assert found == SECTIONS


def test_each_form_opens_to_its_roles_and_to_nobody_else(world: World) -> None:
    found = {
        form: {who for who in (*STAFF, "customer") if _status(world, who, form) == 200}
        for form in FORMS
    }
    assert found == FORMS


def _status(world: World, who: str, section: str) -> int:
    return world.client(who).get(f"/admin/{section}/").status_code


def test_the_sidebar_shows_what_the_role_opens(world: World) -> None:
    for who in (*STAFF, "customer"):
        page = world.client(who).get("/admin/").content.decode()
        shown = {section for section in SECTIONS if f'href="/admin/{section}/"' in page}
        assert shown == {section for section, seen in SECTIONS.items() if who in seen}, who


def test_a_row_of_another_tenant_looks_like_nothing(world: World) -> None:
    client = world.client("stranger")
    for name, address in world.pages().items():
        before = AuditEntry.objects.filter(outcome="denied").count()
        assert client.get(address).status_code == 404, name
        assert AuditEntry.objects.filter(outcome="denied").count() == before + 1, name


def test_a_refused_page_is_recorded_and_says_why(world: World) -> None:
    response = world.client("engineer").get("/admin/audit/auditentry/")
    assert response.status_code == 403
    refused = AuditEntry.objects.filter(event="access.refused").latest("at")
    assert refused.outcome == "denied"
    assert b'"reason":"permission.role_missing"' in bytes(refused.body)


@pytest.mark.parametrize("flags", [{"is_superuser": True}, {}])
def test_flags_open_nothing_without_a_role(world: World, flags: dict[str, bool]) -> None:
    user = make_user("nobody-here")
    User.objects.filter(pk=user.pk).update(**flags)
    client = Client()
    client.force_login(user)
    for address in ("/admin/", *(f"/admin/{section}/" for section in SECTIONS)):
        assert client.get(address).status_code == 302, address


def test_who_is_not_signed_in_is_sent_to_the_login(world: World) -> None:
    response = world.client("nobody").get("/admin/training/run/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def _addresses(world: World) -> list[str]:
    """Every address of the console, with a real row where one is named."""
    rows = {
        "governance_dataset": world.dataset.pk,
        "governance_proposal": world.proposal.pk,
        "governance_rolebinding": world.binding.pk,
        "training_run": world.run.pk,
        "training_budget": world.budget.pk,
        "training_modelversion": world.fresh.pk,
        "training_examination": world.examination.pk,
        "gateway_license": world.license.pk,
        "gateway_apikey": world.key.pk,
        "governance_datarelease": world.release.pk,
        "audit_auditentry": world.entry.pk,
    }
    found = []
    for route, name in _routes(get_resolver()):
        if not route.startswith("admin/") or "(?P" in route or "content_type_id" in route:
            continue
        section = "_".join(name.split("_")[:2])
        found.append("/" + route.replace("<str:object_id>", str(rows.get(section, ""))))
    return found


def _routes(resolver: URLResolver, route: str = "") -> Iterator[tuple[str, str]]:
    for pattern in resolver.url_patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield here, str(pattern.name)
        else:
            yield from _routes(pattern, here)


def test_a_get_changes_nothing_whoever_sends_it(world: World) -> None:
    """Sessions may change; a refusal adds its own `denied` entry, and nothing else does."""
    addresses = _addresses(world)
    assert len(addresses) > 35
    assert any(address.endswith("/approve/") for address in addresses)
    quiet = ("django_session", "audit_auditentry", "audit_pendingleaf")
    for who in CALLERS:
        client = world.client(who)
        before = fingerprint(*quiet)
        entries = set(AuditEntry.objects.values_list("pk", flat=True))
        pending = PendingLeaf.objects.count()
        for address in addresses:
            if address not in {"/admin/logout/", "/admin/jsi18n/"}:
                client.get(address, raise_request_exception=False)
        assert fingerprint(*quiet) == before, who
        added = AuditEntry.objects.exclude(pk__in=entries)
        assert {entry.outcome for entry in added} <= {"denied"}, who
        assert {entry.event for entry in added} <= {"access.refused"}, who
        assert PendingLeaf.objects.count() == pending + added.count(), who


def test_a_button_takes_no_get(world: World) -> None:
    buttons = [
        address
        for address in _addresses(world)
        if address.split("/")[-2]
        in {"approve", "reject", "amend", "cancel", "retry", "propose", "release", "withdraw",
            "revoke", "key", "bundle", "tenant"}
        and not ("/license/" in address and address.endswith("/amend/"))  # a form of its own page
    ]  # fmt: skip
    assert len(buttons) == 16
    client = world.client("owner")
    assert {address: client.get(address).status_code for address in buttons} == dict.fromkeys(
        buttons, 405
    )


def test_djangos_own_forms_are_not_routed() -> None:
    names = {str(name) for _route, name in _routes(get_resolver())}
    for model in admin.site._registry:
        prefix = f"{model._meta.app_label}_{model._meta.model_name}"
        assert f"{prefix}_change" in names
        assert not {f"{prefix}_add", f"{prefix}_delete", f"{prefix}_history"} & names


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/admin/audit/auditentry/", 403, "您的角色不允许此操作。"),
        ("/admin/training/run/nothing/", 404, "未找到"),
    ],
)
def test_a_refusal_is_a_page_in_the_readers_language(
    world: World, address: str, status: int, said: str
) -> None:
    response = world.client("engineer").get(address, headers={"accept-language": "zh-CN"})
    assert response.status_code == status
    assert said in response.content.decode()


def test_lists_and_pages_take_no_post(world: World) -> None:
    client = world.client("owner")
    addresses = [*(f"/admin/{section}/" for section in SECTIONS), *world.pages().values()]
    before = fingerprint("django_session")
    assert {address: client.post(address).status_code for address in addresses} == dict.fromkeys(
        addresses, 405
    )
    assert fingerprint("django_session") == before
