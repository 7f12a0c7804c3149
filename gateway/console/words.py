"""The words of the enums that the log and the API keep in English, for people to read."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Words = dict[str, Promise]

ROLES: Final[Words] = {
    "steward": _("data steward"),
    "officer": _("privacy officer"),
    "engineer": _("ML engineer"),
    "auditor": _("auditor"),
    "tenant_admin": _("tenant admin"),
    "api_client": _("API client"),
    "platform": _("platform admin"),
}

PROPOSALS: Final[Words] = {
    "column_plan": _("column plan"),
    "epsilon_cap": _("privacy budget cap"),
    "model_release": _("release of a model"),
    "reveal": _("reveal of tokens"),
    "role_grant": _("grant of a role"),
    "run_admission": _("training run over the threshold"),
    "run_waiver": _("training run without a guarantee"),
}

KINDS: Final[Words] = {
    "typed": _("identifier"),
    "prose": _("text with identifiers"),
    "free": _("nothing personal"),
}

DECLARED: Final[Words] = {
    "target": _("target"),
    "subject": _("data subject"),
    "feature": _("feature"),
    "drop": _("dropped"),
}

OPERATORS: Final[Words] = {
    "keep": _("keep"),
    "redact": _("delete"),
    "replace": _("replace by entity name"),
    "mask": _("mask"),
    "pseudonym": _("pseudonym (keyed hash)"),
    "token": _("token (reversible by two people)"),
    "generalize": _("generalize"),
}

GRANULARITIES: Final[Words] = {
    "age_5": _("5-year bands"),
    "age_10": _("10-year bands"),
    "month": _("month"),
    "year": _("year"),
    "region_6": _("county"),
    "region_4": _("prefecture"),
    "region_2": _("province"),
    "network": _("network"),
    "city": _("city"),
}

STAGES: Final[Words] = {
    "profile": _("profiling"),
    "anonymize": _("anonymizing"),
    "train": _("training"),
    "evaluate": _("evaluating"),
}

REGIMES: Final[Words] = {
    "eu": _("European Union (GDPR)"),
    "cn": _("China (PIPL)"),
    "ca": _("California (CCPA)"),
}

LANGUAGES: Final[Words] = {"zh": _("Chinese"), "en": _("English")}

OUTCOMES: Final[Words] = {"done": _("done"), "denied": _("denied"), "failed": _("failed")}

# How a state is colored: unfold's label variants.
VARIANTS: Final[dict[str, str]] = {
    "quarantined": "info",
    "proposed": "warning",
    "approved": "info",
    "anonymizing": "info",
    "sealed": "success",
    "rejected": "danger",
    "failed": "danger",
    "awaiting_approval": "warning",
    "queued": "info",
    "running": "info",
    "finished": "success",
    "cancelled": "default",
    "registered": "info",
    "released": "success",
    "withdrawn": "danger",
    "active": "success",
    "revoked": "danger",
    "expired": "default",
    "done": "success",
    "denied": "warning",
    "open": "warning",
    "used": "success",
    "live": "success",
    "test": "default",
}


def word(words: Words, key: str | None) -> str:
    """The word for a key; the key where there is none."""
    return str(words.get(key or "", key or ""))


def operator_in_words(operator: dict[str, object]) -> str:
    """An operator's configuration as one phrase."""
    said = word(OPERATORS, str(operator.get("operator", "")))
    to = operator.get("to")
    return f"{said}: {word(GRANULARITIES, str(to))}" if to else said
