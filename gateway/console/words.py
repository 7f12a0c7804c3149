"""The words of the enums that the log and the API keep in English, for people to read."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from governance.recognition.lexicons import SENSITIVE_CLASSES
from governance.recognition.plan import Cause, Reason

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
    "data_release": _("release of data"),
    "epsilon_cap": _("privacy budget cap"),
    "model_release": _("release of a model"),
    "model_retraining": _("retraining of a model"),
    "model_rollback": _("rollback of a model"),
    "reveal": _("reveal of tokens"),
    "role_grant": _("grant of a role"),
    "run_admission": _("training run over the threshold"),
    "run_waiver": _("training run without a guarantee"),
}

MODELS: Final[Words] = {
    "linear": _("linear"),
    "mlp": _("multi-layer perceptron"),
    "embedding": _("multi-layer perceptron with embeddings"),
    "cnn": _("convolutional network over pixels"),
    "ebm": _("boosted tables, one a feature"),
    "lora": _("adapters in a text encoder"),
    "module": _("a module of one's own"),
    "ensemble": _("ensemble: the mean of finished models"),
}

# What an API key may be used for: `gateway.scopes`.
SCOPES: Final[Words] = {
    "predict": _("predictions"),
    "explain": _("explanations"),
    "feedback": _("feedback"),
    "read": _("reading usage and receipts"),
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
    "date_shift": _("shift dates by subject"),
    "surrogate": _("surrogate (an invented person)"),
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
    "province": _("province"),
}

# GB/T 42460-2023.
LEVELS: Final[Words] = {
    "1": _("direct identifiers are in it"),
    "2": _("direct identifiers were removed"),
    "3": _("the risk was measured and is acceptable"),
    "4": _("aggregates only"),
}

STAGES: Final[Words] = {
    "profile": _("profiling"),
    "anonymize": _("anonymizing"),
    "merge": _("sealing"),
    "train": _("training"),
    "twin": _("training without noise"),
    "search": _("searching"),
    "evaluate": _("evaluating"),
}

REGIMES: Final[Words] = {
    "eu": _("European Union (GDPR)"),
    "cn": _("China (PIPL)"),
    "ca": _("California (CCPA)"),
    "uk": _("United Kingdom (UK GDPR)"),
    "jp": _("Japan (APPI)"),
    "kr": _("South Korea (PIPA)"),
    "in": _("India (DPDP Act)"),
    "sg": _("Singapore (PDPA)"),
    "th": _("Thailand (PDPA)"),
    "ph": _("Philippines (DPA)"),
    "au": _("Australia (Privacy Act)"),
    "can": _("Canada (PIPEDA)"),
    "tr": _("Türkiye (KVKK)"),
    "za": _("South Africa (POPIA)"),
    "ng": _("Nigeria (NDPA)"),
}

LANGUAGES: Final[Words] = {"zh": _("Chinese"), "en": _("English")}

OUTCOMES: Final[Words] = {"done": _("done"), "denied": _("denied"), "failed": _("failed")}

RULES: Final[Words] = {
    "pattern": _("pattern"),
    "deny": _("always found"),
    "allow": _("passes"),
}

# Why a plan does not hold any more, or a decision is open again: `recognition.plan.Cause`.
CAUSES: Final[Words] = {
    "detector": _("another detector looked"),
    "rules": _("the tenant's own rules are others"),
    "column_new": _("the column is new"),
    "column_gone": _("the column is gone"),
    "escalated": _("personal data were found in it"),
    "text": _("text was found around the identifiers"),
    "identifiers": _("whole cells are identifiers"),
    "entity": _("another entity was found"),
    "more_sensitive": _("a more sensitive entity was found"),
    "sensitive_class": _("a special category was found"),
}

# How a state is colored: unfold's label variants.
QUALITY: Final[Words] = {
    "passed": _("contract met"),
    "unmet": _("contract not met"),
    "unchecked": _("not checked"),
}

CELLS: Final[Words] = {
    "integer": _("whole number"),
    "real": _("number"),
    "number": _("number"),
    "date": _("date"),
    "boolean": _("true or false"),
    "text": _("text"),
}

CHECKS: Final[Words] = {
    "rows": _("too few rows"),
    "duplicates": _("duplicate rows"),
    "labels": _("rarest label"),
    "column": _("the column is missing"),
    "missing": _("missing values"),
    "type": _("values of another type"),
    "min": _("values below the minimum"),
    "max": _("values above the maximum"),
    "categories": _("values outside the categories"),
    "pattern": _("values that do not fit the pattern"),
    "unique": _("repeated values"),
    "outliers": _("outliers"),
}

DRIFT: Final[Words] = {
    "stable": _("stable"),
    "warn": _("worth a look"),
    "act": _("act on it"),
}

# What a window in which a released model was watched found: `training.watching.Finding`.
FINDINGS: Final[Words] = {
    "steady": _("as it was released"),
    "low": _("accuracy below its threshold"),
    "shifted": _("scores distributed otherwise"),
    "inputs": _("inputs distributed otherwise"),
    "unmeasured": _("nothing to compare with"),
}

VARIANTS: Final[dict[str, str]] = {
    "quarantined": "info",
    "proposed": "warning",
    "approved": "info",
    "anonymizing": "info",
    "appending": "info",
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
    "suspended": "warning",
    "revoked": "danger",
    "expired": "default",
    "free": "success",
    "busy": "info",
    "silent": "warning",
    "done": "success",
    "denied": "warning",
    "open": "warning",
    "used": "success",
    "live": "success",
    "test": "default",
    "passed": "success",
    "unmet": "danger",
    "unchecked": "default",
    "stable": "success",
    "warn": "warning",
    "act": "danger",
    "steady": "success",
    "low": "danger",
    "shifted": "danger",
    "inputs": "danger",
    "unmeasured": "default",
}


def word(words: Words, key: str | None) -> str:
    """The word for a key; the key where there is none."""
    return str(words.get(key or "", key or ""))


def special_category(code: str) -> str:
    """A special category of personal data, by the name that the law's readers know."""
    known = SENSITIVE_CLASSES.get(code)
    if known is None:
        return code
    return known.zh if (get_language() or "en").startswith("zh") else known.en


def special_categories() -> list[tuple[str, str]]:
    """All of them, for a form."""
    return [(code, special_category(code)) for code in SENSITIVE_CLASSES]


def laws_of(code: str) -> str:
    """The provisions that name a special category."""
    known = SENSITIVE_CLASSES.get(code)
    return "" if known is None else ", ".join(known.laws)


def reason_in_words(reason: Reason) -> str:
    """Why a decision is open again, with the entity or the category that was found."""
    said = word(CAUSES, reason.cause.value)
    if not reason.found:
        return said
    named = reason.cause is Cause.SENSITIVE_CLASS
    return f"{said}: {special_category(reason.found) if named else reason.found}"


def operator_in_words(operator: dict[str, object]) -> str:
    """An operator's configuration as one phrase."""
    said = word(OPERATORS, str(operator.get("operator", "")))
    to = operator.get("to")
    return f"{said}: {word(GRANULARITIES, str(to))}" if to else said
