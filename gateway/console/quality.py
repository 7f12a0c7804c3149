"""Sealed versions and their quality: profile, breaches, drift; a check, and the contract's form."""

from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from audit.errors import DomainError
from gateway.bindings import binds_action, scoped_read
from gateway.console import words
from gateway.console.access import check, person, sees
from gateway.console.sections import Section
from governance.actions.quality import begin_quality_check, finish_quality_check, set_contract
from governance.errors import InvalidError
from governance.models import DatasetVersion, QualityContract, QualityRun
from governance.permissions import Permission
from governance.quality.assessing import compare_versions, contract_of, contract_row, names_of
from governance.quality.contract import ColumnTerms, ColumnType, Contract
from governance.quality.inspecting import AT_A_REQUEST, check_quality, version_numbered
from governance.quality.telling import worst

MOST: Final = 200  # columns in the form; wider tables have the API and the command line
_NUMBERS: Final = ("min", "max", "max_missing", "max_invalid", "max_type_drift", "max_outliers")
_TABLE: Final = ("min_rows", "max_duplicates", "min_label_share")
_STATES: Final = {True: "passed", False: "unmet", None: "unchecked"}


@admin.register(DatasetVersion)
class Versions(Section):
    """Sealed versions: what may be trained on, and why not."""

    requires = Permission.DATASET_VIEW
    template = "console/quality.html"
    title = _("Data quality")
    related: ClassVar[tuple[str, ...]] = ("dataset",)
    list_display = ("named", "shown_rows", "quality", "sealed_at")
    search_fields = ("dataset__name",)
    ordering = ("-sealed_at",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        """With what the newest check said, by which contract, and which one is in force."""
        run = QualityRun.objects.filter(version=OuterRef("pk")).order_by("-run_at")
        contract = QualityContract.objects.filter(dataset=OuterRef("dataset")).order_by("-number")
        rows = super().get_queryset(request)
        judged: QuerySet[Any] = rows.annotate(
            met=Subquery(run.values("passed")[:1]),
            held=Subquery(run.values("contract")[:1]),
            in_force=Subquery(contract.values("pk")[:1]),
        )
        return judged

    @display(description=_("version"), ordering="dataset__name")
    def named(self, version: DatasetVersion) -> str:
        """Dataset and number."""
        return str(version)

    @display(description=_("rows"), ordering="rows")
    def shown_rows(self, version: DatasetVersion) -> str:
        """How many."""
        return f"{version.rows:,}"

    @display(description=_("quality"), label=words.VARIANTS)
    def quality(self, version: Any) -> tuple[str, str]:
        """What the newest check said, if it was by the contract in force."""
        state = _STATES[version.met if version.held == version.in_force else None]
        return state, words.word(words.QUALITY, state)

    def doors(self) -> list[URLPattern]:
        """A check, and the contract."""
        return [
            self.button("<str:object_id>/check/", self.check_now, "check"),
            self.form_door("<str:object_id>/contract/", self.contract, "contract"),
        ]

    @scoped_read(DatasetVersion, QualityRun)
    def context(self, request: HttpRequest, row: DatasetVersion) -> dict[str, Any]:
        """The newest check against the contract in force, or failing that the newest at all."""
        contract = contract_row(row.dataset)
        runs = row.quality_runs.select_related("contract").order_by("-run_at")
        run = runs.filter(contract=contract).first()
        shown = run or runs.first()
        state = _STATES[None if run is None else run.passed]
        drift = self._drift(request, row, shown)
        return {
            "run": shown,
            "stale": shown is not None and run is None,
            "contract": contract,
            "state": state,
            "state_word": words.word(words.QUALITY, state),
            "summary": {} if shown is None else shown.profile["summary"],
            "columns": [] if shown is None else _columns(shown.profile["summary"]["columns"]),
            "breaches": [] if shown is None else _breaches(shown.breaches),
            "drift": drift,
            "moved": worst(drift) if drift else [],
            "others": row.dataset.versions.exclude(pk=row.pk).order_by("-number")[:50],
            "may_check": sees(request, Permission.QUALITY_CHECK),
            "may_set": sees(request, Permission.QUALITY_SET),
        }

    def _drift(
        self, request: HttpRequest, version: DatasetVersion, run: QualityRun | None
    ) -> dict[str, Any]:
        """Against the version that the address asks for, or else the one before."""
        asked = request.GET.get("from", "")
        if not (asked.isascii() and asked.isdigit() and len(asked) < 9):  # noqa: PLR2004 - no dataset has so many
            return {} if run is None else run.drift
        try:
            return compare_versions(version_numbered(version.dataset, int(asked)), version)
        except DomainError as error:
            return {"error": error.stable_code, "from": int(asked)}

    @binds_action(begin_quality_check, finish_quality_check)
    def check_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Read the rows and hold them against the contract."""
        version: DatasetVersion = self.one(request, object_id)
        return self.act(
            request,
            version,
            lambda: check_quality(person(request), version, most=AT_A_REQUEST),
            gettext("The quality of this version is checked."),
        )

    @binds_action(set_contract)
    def contract(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the contract in force to be amended; put what was written in force."""
        check(request, Permission.QUALITY_SET, self.kind)
        version: DatasetVersion = self.one(request, object_id)
        names = names_of(version)
        dataset = version.dataset
        said = contract_of(dataset, names, contract_row(dataset))
        if request.method != "POST":
            return self._contract_page(request, version, _filled(said, names))
        try:
            set_contract(person(request), dataset, body=_body(request.POST, names))
        except DomainError as error:
            return self._contract_page(request, version, _typed(request.POST, names), error)
        messages.success(request, gettext("The contract is in force; check the version anew."))
        return redirect(self.address("change", version.pk))

    def _contract_page(
        self,
        request: HttpRequest,
        version: DatasetVersion,
        filled: dict[str, Any],
        error: DomainError | None = None,
    ) -> HttpResponse:
        title = gettext("Quality contract of %(name)s") % {"name": version.dataset.name}
        context = {
            "row": version,
            **filled,
            "names": names_of(version),
            "types": [(kind.value, words.word(words.CELLS, kind.value)) for kind in ColumnType],
            "too_wide": len(names_of(version)) > MOST,
            "wrong": "" if error is None else (error.pointer or ""),
        }
        return self.render(request, "console/contract.html", title, context, error)


def _columns(summary: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns as the page shows them: the four bars in order, each with whether it is marked."""
    bars = ("missing", "invalid", "type", "outliers")
    return [
        {
            **column,
            "kind_word": words.word(words.CELLS, column["kind"]),
            "bars": [(column[bar], bar in column["marks"]) for bar in bars],
        }
        for column in summary
    ]


def _breaches(breaches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**breach, "word": words.word(words.CHECKS, breach["check"])} for breach in breaches]


# The contract's form: one row a column, its fields named by the column's place.


def _filled(contract: Contract, names: list[str]) -> dict[str, Any]:
    """The form as the contract has it."""
    rows = []
    for place, name in enumerate(names[:MOST]):
        terms = contract.columns.get(name, ColumnTerms())
        fields = {field: _shown(getattr(terms, field)) for field in _NUMBERS}
        if not terms.max_invalid:
            fields["max_invalid"] = ""
        rows.append(
            {
                "place": place,
                "name": name,
                "type": terms.type or "",
                "categories": "\n".join(terms.categories or ()),
                "pattern": terms.pattern or "",
                "unique": terms.unique,
                **fields,
            }
        )
    table = {field: _shown(getattr(contract.table, field)) for field in _TABLE}
    return {"rows": rows, "table": {**table, "target": contract.table.target or ""}}


def _typed(form: QueryDict, names: list[str]) -> dict[str, Any]:
    """The form as it was sent."""
    return {
        "rows": [
            {
                "place": place,
                "name": name,
                "unique": f"{place}.unique" in form,
                **{
                    field: form.get(f"{place}.{field}", "")
                    for field in ("type", "categories", "pattern", *_NUMBERS)
                },
            }
            for place, name in enumerate(names[:MOST])
        ],
        "table": {field: form.get(f"table.{field}", "") for field in (*_TABLE, "target")},
    }


def _body(form: QueryDict, names: list[str]) -> dict[str, Any]:
    """The contract that the form says; what is left empty is not asked.

    Raises:
        InvalidError: `quality.contract_invalid`: a number cannot be read, with a pointer.
    """
    columns: dict[str, Any] = {}
    for row in _typed(form, names)["rows"]:
        where = f"/columns/{row['name']}"
        said: dict[str, Any] = {
            field: number
            for field in _NUMBERS
            if (number := _read(row[field], f"{where}/{field}")) is not None
        }
        said.update({field: row[field] for field in ("type", "pattern") if row[field].strip()})
        lines = [line.strip() for line in row["categories"].splitlines() if line.strip()]
        if lines:
            said["categories"] = lines
        if row["unique"]:
            said["unique"] = True
        if said:
            columns[row["name"]] = said
    table: dict[str, Any] = {
        field: number
        for field in _TABLE
        if (number := _read(form.get(f"table.{field}", ""), f"/table/{field}")) is not None
    }
    if form.get("table.target"):
        table["target"] = form["table.target"]
    return {"columns": columns, "table": table}


def _read(text: str, pointer: str) -> float | int | None:
    text = text.strip()
    if not text:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InvalidError(
            "a number is expected here", code="quality.contract_invalid", pointer=pointer
        ) from None


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"
