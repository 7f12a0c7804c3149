"""Releases of data: what left the house, for whom, and how well people hide in it."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import scoped_read
from gateway.console import words
from gateway.console.sections import Section
from gateway.console.sentences import sentence
from governance.models.releases import DataRelease
from governance.permissions import Permission


@admin.register(DataRelease)
class DataReleases(Section):
    """One file that was handed to one recipient."""

    requires = Permission.RELEASE_VIEW
    template = "console/release.html"
    title = _("Releases of data")
    related: ClassVar[tuple[str, ...]] = ("version__dataset", "released_by")
    list_display = (
        "version", "recipient", "recipient_class", "rows", "suppressed", "figures", "graded",
        "released_by", "released_at",
    )  # fmt: skip
    list_filter = ("recipient_class", "level", "needs_human")
    search_fields = ("recipient", "version__dataset__name")
    ordering = ("-released_at",)

    @display(description="k · l · t")
    def figures(self, release: DataRelease) -> str:
        """The three figures; a dash where nothing was measured."""
        return figures_of(release)

    @display(description=_("level of de-identification"), ordering="level")
    def graded(self, release: DataRelease) -> str:
        """The level, in words."""
        return level_in_words(release.level)

    @scoped_read(DataRelease)
    def context(self, request: HttpRequest, row: DataRelease) -> dict[str, Any]:  # noqa: ARG002 - Section's signature
        """The measures, and why a person had to decide."""
        return {
            "figures": figures_of(row),
            "graded": level_in_words(row.level),
            "quasi": sorted(row.measures.get("quasi", {}).items()),
            "reasons": [sentence(code) for code in row.reasons],
        }


def figures_of(release: DataRelease) -> str:
    """k, l and t of a release as one phrase."""
    measures = release.measures
    if not measures:
        return "–"
    return " · ".join(str(measures.get(name, "–")) for name in ("k", "l", "t"))


def level_in_words(level: int) -> str:
    """The level of GB/T 42460 with what it means."""
    return gettext("%(level)s: %(meaning)s") % {
        "level": level,
        "meaning": words.word(words.LEVELS, str(level)),
    }
