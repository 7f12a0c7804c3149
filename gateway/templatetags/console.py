"""The console's small parts: buttons, badges, bars, and how numbers and times are written."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone

from gateway.console import words
from gateway.console.sentences import sentence
from governance import following

register = template.Library()


@register.inclusion_tag("console/parts/button.html", takes_context=True)
def button(
    context: template.Context,
    address: str,
    label: str,
    *,
    style: str = "plain",
    icon: str = "",
    confirm: str = "",
) -> dict[str, Any]:
    """A form with one button that posts; with `confirm`, only after a second click."""
    return {
        "csrf_token": context.get("csrf_token"),
        "address": address,
        "label": label,
        "style": style,
        "icon": icon,
        "confirm": confirm,
    }


@register.inclusion_tag("console/parts/badge.html")
def badge(state: str, label: str = "") -> dict[str, str]:
    """A state as a colored label."""
    return {"variant": words.VARIANTS.get(state, "default"), "label": label or state}


@register.inclusion_tag("console/parts/meter.html")
def meter(spent: float, reserved: float, cap: float) -> dict[str, Any]:
    """A bar of what is spent and reserved of a cap."""
    whole = max(cap, spent + reserved) or 1.0
    return {
        "spent": f"{100 * spent / whole:.2f}",
        "reserved": f"{100 * reserved / whole:.2f}",
        "start": f"{100 * spent / whole:.2f}",
    }


@register.inclusion_tag("console/parts/progress.html")
def progress(done: float, of: float) -> dict[str, Any]:
    """A bar of how far something is."""
    share = min(1.0, done / of) if of else 0.0
    return {"share": f"{100 * share:.1f}", "known": bool(of)}


@register.filter
def short(digest: str) -> str:
    """The beginning of a digest."""
    return f"{digest[:12]}…" if len(digest) > 12 else digest  # noqa: PLR2004 - as cut


@register.filter
def number(value: float | None) -> str:
    """A whole number with thousands separated."""
    return "–" if value is None else f"{value:,}"


@register.filter
def epsilon(value: Any) -> str:
    """ε with three places."""
    return "–" if value in {None, ""} else f"{float(value):.3f}"


@register.filter
def moment(microseconds: int) -> datetime:
    """A log's time."""
    return timezone.localtime(datetime.fromtimestamp(microseconds / 1_000_000, UTC))


@register.filter
def percent(share: Any) -> str:
    """A share of one, as per cent."""
    return "–" if share in {None, ""} else f"{100 * float(share):.1f} %"


@register.filter
def fine_percent(share: float | None) -> str:
    """A share of one, as per cent: a few in a thousand are not nothing."""
    if share is None:
        return "–"
    return f"{100 * share:.1f} %" if share >= 0.01 or not share else f"{100 * share:.2g} %"  # noqa: PLR2004 - one per cent


@register.filter
def three(value: float | None) -> str:
    """Three decimals."""
    return "–" if value is None else f"{value:.3f}"


@register.filter
def points(change: float) -> str:
    """The change of a share, in points of a hundred."""
    return f"{100 * change:+.1f}" if abs(change) >= 0.0005 else "0"  # noqa: PLR2004 - as rounded


@register.filter
def figure(value: float | None) -> str:
    """A number to four digits."""
    return "–" if value is None else f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"  # noqa: PLR2004 - four digits


@register.filter
def drift_word(value: str) -> str:
    """What a drift asks for, in words."""
    return words.word(words.DRIFT, value)


@register.filter
def error_sentence(code: str) -> str:
    """What a code says."""
    return sentence(code)


@register.filter
def duration(seconds: float) -> str:
    """Seconds as `h:mm:ss`, or `m:ss`."""
    return following.duration(round(seconds))


@register.filter
def role_word(value: str) -> str:
    """A role, in words."""
    return words.word(words.ROLES, value)


@register.filter
def proposal_word(value: str) -> str:
    """A kind of proposal, in words."""
    return words.word(words.PROPOSALS, value)


@register.filter
def stage_word(value: str) -> str:
    """A stage of long work, in words."""
    return words.word(words.STAGES, value)


@register.filter
def outcome_word(value: str) -> str:
    """How an operation ended, in words."""
    return words.word(words.OUTCOMES, value)


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """A sum with its currency; nothing, where the house does not reckon in money."""
    if not amount:
        return "–"
    return f"{amount:,.2f} {currency}" if amount >= Decimal("0.01") else f"< 0.01 {currency}"


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """One value of a mapping."""
    return mapping.get(key, "")
