"""A tenant's own terms and patterns: editions by their counts, and the form that writes the next.

What an edition holds is opened for who writes the next one, and nobody else: terms are often names.
"""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.forms import BaseFormSet, formset_factory
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import check, house, person, sees
from gateway.console.sections import Section
from governance.actions.rules import add_rules, begin_trial, open_rules
from governance.lookup import find
from governance.models import Dataset, RecognitionRules
from governance.models.datasets import DatasetState
from governance.permissions import Permission
from governance.recognition.entities import CATALOG
from governance.recognition.tenant_rules import UNLESS_SAID, RuleBook, RulesError
from governance.recognition_rules import newest_rules, version_of
from governance.trials import LONGEST, ROWS, Trial, try_rules

MOST: Final = 100  # rules on one page; larger books come by the API or the command line
BLANK: Final = 4  # rows to write in


class RuleForm(forms.Form):
    """One rule. Pieces that its kind has no use for stay empty."""

    kind = forms.ChoiceField(label=_("Rule"), choices=list(words.RULES.items()), required=False)
    entity = forms.CharField(
        label=_("Entity"),
        max_length=31,
        required=False,
        widget=forms.TextInput(attrs={"list": "pc-entities", "autocomplete": "off"}),
    )
    text = forms.CharField(
        label=_("Term or pattern"),
        max_length=400,
        required=False,
        strip=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    context = forms.CharField(label=_("Words beside it"), max_length=400, required=False)
    headers = forms.CharField(label=_("Words in headers"), max_length=400, required=False)
    score = forms.CharField(label=_("Score"), max_length=4, required=False)
    check = forms.ChoiceField(
        label=_("Check"),
        choices=[("", "–"), ("luhn", "Luhn"), ("mod11_2", "MOD 11-2")],
        required=False,
    )
    DELETE = forms.BooleanField(label=_("Remove"), required=False)


class TrialForm(forms.Form):
    """What to try rules on."""

    dataset = forms.ChoiceField(label=_("Try on a dataset"), required=False)
    text = forms.CharField(
        label=_("or on an example"),
        max_length=LONGEST,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, datasets: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset"].choices = [("", "–"), *datasets]  # type: ignore[attr-defined]  # a choice field


Rows = formset_factory(RuleForm, extra=BLANK, max_num=MOST + BLANK, absolute_max=MOST + BLANK)


@admin.register(RecognitionRules)
class Rules(Section):
    """Editions, the newest first; the newest counts."""

    requires = Permission.RULES_VIEW
    template = "console/rules.html"
    title = _("Recognition rules")
    related: ClassVar[tuple[str, ...]] = ("created_by",)
    list_display = ("edition", "finds", "allows", "created_by", "created_at")
    ordering = ("-number",)

    @display(description=_("edition"), ordering="number")
    def edition(self, edition: RecognitionRules) -> str:
        """As column plans name it."""
        return version_of(edition)

    def doors(self) -> list[URLPattern]:
        """The form."""
        return [self.form_door("next/", self.write, "next")]

    def links(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Write the next edition, for who may."""
        if not sees(request, Permission.RULES_ADD):
            return []
        return [(self.address("next"), gettext("Write the next edition"), "edit_note")]

    @scoped_read(RecognitionRules)
    def context(self, request: HttpRequest, row: RecognitionRules) -> dict[str, Any]:
        """Counts, and whether it is the one that counts."""
        newest = newest_rules(house(request))
        return {
            "version": version_of(row),
            "counts_now": newest is not None and newest.pk == row.pk,
            "next_address": self.address("next") if sees(request, Permission.RULES_ADD) else "",
        }

    @binds_action(open_rules, begin_trial, add_rules)
    def write(self, request: HttpRequest) -> HttpResponse:
        """Show the newest edition's rules to be amended; try what was written, or add it."""
        check(request, Permission.RULES_ADD, "rules")
        datasets = self._datasets(request)
        if request.method != "POST":
            return self._opened(request, datasets)
        rows = Rows(request.POST)
        trial = TrialForm(request.POST, datasets=datasets)
        if not (rows.is_valid() and trial.is_valid()):
            return self._form(request, rows, trial, RulesError("a rule does not fit its field"))
        try:
            book = RuleBook.from_dict(_stored(rows.cleaned_data))
            if request.POST.get("do") == "add":
                edition = add_rules(person(request), house(request), book=book)
                messages.success(request, gettext("The new edition counts from now on."))
                return redirect(self.address("change", edition.pk))
            tried = self._try(request, trial.cleaned_data, book)
        except DomainError as error:
            return self._form(request, rows, trial, error)
        return self._form(request, rows, trial, tried=tried)

    def _opened(self, request: HttpRequest, datasets: list[tuple[str, str]]) -> HttpResponse:
        newest = newest_rules(house(request))
        trial = TrialForm(datasets=datasets)
        if newest is None:
            return self._form(request, Rows(), trial)
        if newest.finds + newest.allows > MOST:
            return self._form(
                request,
                Rows(),
                trial,
                RulesError("this edition is too large for the form", code="rules.too_large_here"),
            )
        book = open_rules(person(request), newest)
        return self._form(request, Rows(initial=_rows(book)), trial)

    def _try(self, request: HttpRequest, said: dict[str, Any], book: RuleBook) -> Trial:
        if said["dataset"]:
            dataset = find(person(request), Dataset, said["dataset"])
            return try_rules(person(request), dataset, book)
        return try_rules(person(request), house(request), book, text=said["text"])

    def _datasets(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Those whose newest file still waits in quarantine, or stands behind a version."""
        rows = Dataset.objects.visible_to(person(request)).exclude(state=DatasetState.QUARANTINED)
        return [(str(dataset.pk), dataset.name) for dataset in rows[:200]]

    def _form(
        self,
        request: HttpRequest,
        rows: "BaseFormSet[RuleForm]",
        trial: TrialForm,
        error: DomainError | None = None,
        *,
        tried: Trial | None = None,
    ) -> HttpResponse:
        context = {
            "rows": rows,
            "trial": trial,
            "tried": tried,
            "most_rows": ROWS,
            "entities": [entity.name for entity in CATALOG],
        }
        title = gettext("The next edition of rules")
        return self.render(request, "console/rules_form.html", title, context, error)


def _rows(book: RuleBook) -> list[dict[str, str]]:
    """A book as the form's rows."""
    return [
        *(
            {
                "kind": "pattern",
                "entity": own.entity,
                "text": own.pattern,
                "context": ", ".join(own.context),
                "headers": ", ".join(own.headers),
                "score": own.score,
                "check": own.check,
            }
            for own in book.patterns
        ),
        *({"kind": "deny", "entity": t.entity, "text": t.text} for t in book.deny),
        *({"kind": "allow", "entity": t.entity, "text": t.text} for t in book.allow),
    ]


def _stored(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The form's rows as a stored book; rows without a text, or to be removed, are left out."""
    book: dict[str, list[dict[str, Any]]] = {"allow": [], "deny": [], "patterns": []}
    for row in rows:
        text = row.get("text", "")
        if not text.strip() or row.get("DELETE"):
            continue
        entity = row.get("entity", "").strip().upper()
        if row.get("kind") == "pattern":
            book["patterns"].append(
                {
                    "entity": entity,
                    "pattern": text.strip(),
                    "score": row["score"].strip() or UNLESS_SAID,
                    "context": _words(row["context"]),
                    "headers": _words(row["headers"]),
                    "check": row["check"],
                }
            )
        else:
            book[row.get("kind") or "deny"].append({"text": text, "entity": entity})
    return book


def _words(text: str) -> list[str]:
    return [
        word.strip()
        for word in text.replace("，", ",").replace("、", ",").split(",")
        if word.strip()
    ]
