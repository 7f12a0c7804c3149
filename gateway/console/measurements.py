"""How good the detector is: what it was measured to find, to miss, and to take wrongly."""

from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from gateway.bindings import scoped_read
from gateway.console.access import house
from gateway.console.sections import Section
from gateway.console.words import Words, word
from governance.measurement.scoring import Count, Scores, summed
from governance.measurement.shown import counts_of, unmeasured
from governance.models import DetectorMeasurement
from governance.permissions import Permission

SHAPES: Final[Words] = {
    "structured": _("cells under a header that says what they are"),
    "unheaded": _("cells under a header that says nothing"),
    "prose": _("text"),
}
LANGUAGES: Final[Words] = {
    "zh": _("Chinese, simplified"),
    "zh-Hant": _("Chinese, traditional"),
    "en": _("English"),
    "mixed": _("mixed"),
    "*": _("all"),
}


@admin.register(DetectorMeasurement)
class Measurements(Section):
    """Measurements, the newest first, each of one version of the detector."""

    requires = Permission.DETECTOR_VIEW
    template = "console/measurement.html"
    title = _("Detector measurements")
    change_list_template = "console/measurements.html"
    related: ClassVar[tuple[str, ...]] = ("measured_by",)
    list_display = ("detector", "rules", "rows", "hidden", "leak", "measured_at", "measured_by")
    ordering = ("-measured_at",)

    @display(description=_("every character hidden"))
    def hidden(self, made: DetectorMeasurement) -> str:
        """Of everything that was labeled."""
        return "" if (share := _whole(made).hidden.value) is None else f"{100 * share:.2f} %"

    @display(description=_("left over at most"))
    def leak(self, made: DetectorMeasurement) -> str:
        """The upper bound of what was not wholly hidden."""
        return f"{100 * _whole(made).leak:.2f} %"

    @scoped_read(DetectorMeasurement)
    def list_context(self, request: HttpRequest) -> dict[str, Any]:
        """The detector of the newest plan, where nobody measured it."""
        return {"unmeasured": unmeasured(house(request))}

    @scoped_read(DetectorMeasurement)
    def context(self, request: HttpRequest, row: DetectorMeasurement) -> dict[str, Any]:
        """Figures by kind of text: all entities of a language together, then one by one."""
        counts = counts_of(row)
        return {
            "whole": _whole(row),
            "unmeasured": unmeasured(house(request)),
            "parts": [
                (
                    word(SHAPES, shape),
                    [_lines(summed(of, "language")), _lines(summed(of, "entity"))],
                )
                for shape in SHAPES
                if (of := [count for count in counts if count.shape == shape])
            ],
        }


def _whole(made: DetectorMeasurement) -> Scores:
    return Scores.of(next(iter(summed(counts_of(made))), Count("*", "*", "*")))


def _lines(counts: list[Count]) -> list[tuple[str, Scores]]:
    return [
        (
            count.entity if count.entity != "*" else word(LANGUAGES, count.language),
            Scores.of(count),
        )
        for count in counts
    ]
