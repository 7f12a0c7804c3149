"""What somebody is about to hand out, and how well it hides the people in it.

A measured release names its recipient, the columns by which a person could be recognized (quasi),
the columns that nobody should learn (sensitive), and those that go out as they are. No other column
goes out. The thresholds are those of the recipient's class, or stricter ones, never laxer.

The level is that of GB/T 42460-2023: 1 where a direct identifier goes out, 2 where those were
removed, 3 where the risk was measured and is within the thresholds. A table of rows is never 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.utils import timezone

from audit.canonical import decimal, digest
from governance import approvals
from governance.errors import InvalidError, RefusedError
from governance.models import DatasetVersion
from governance.models.releases import DataRelease, RecipientClass
from governance.permissions import ProposalKind
from governance.versions import frames

if TYPE_CHECKING:
    import polars as pl

    from governance.anonymization.disclosure import Counts, Node, Table, Thresholds

INTERSECTION: Final = "release.intersection"
_LONGEST: Final = 60
# What leads back to one person, or to the same person in another table.
_LINKING: Final = frozenset({"keep", "pseudonym", "token", "surrogate", "mask", "date_shift"})


@dataclass(frozen=True)
class Asked:
    """A release as somebody asks for it.

    Attributes:
        recipient: who receives it, a short name.
        kind: how far out they are.
        quasi, sensitive, as_is: columns.
        levels: the level of some quasi-identifiers, where a person chooses instead of the search;
            those not named stay as they are.
        k, l, t: stricter thresholds than the class's, or None.
    """

    recipient: str
    kind: RecipientClass
    quasi: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    as_is: tuple[str, ...] = ()
    levels: Mapping[str, int] = field(default_factory=dict)
    k: int | None = None
    l: int | None = None  # noqa: E741 - its name in every paper
    t: Decimal | None = None

    @property
    def columns(self) -> frozenset[str]:
        """All that go out."""
        return frozenset((*self.quasi, *self.sensitive, *self.as_is))

    def check(self, version: DatasetVersion) -> None:
        """Refuse what cannot be meant, or must not go so far out.

        Raises:
            InvalidError: `release.recipient_invalid`, `release.quasi_missing`,
                `release.column_unknown`, `release.column_twice`, `release.threshold_laxer`.
            RefusedError: `release.column_unfit`.
        """
        named = all(letter.isalnum() or letter in "-_" for letter in self.recipient)
        if not self.recipient.isascii() or not named or not 0 < len(self.recipient) <= _LONGEST:
            raise InvalidError(
                "a recipient's name is made of letters, digits, - and _",
                code="release.recipient_invalid",
            )
        if not self.quasi:
            raise InvalidError(
                "say by which columns a person could be recognized", code="release.quasi_missing"
            )
        known = {column["name"]: column for column in version.columns}
        if not self.columns <= set(known) or not set(self.levels) <= set(self.quasi):
            raise InvalidError("the version has no such column", code="release.column_unknown")
        if len(self.columns) < len((*self.quasi, *self.sensitive, *self.as_is)):
            raise InvalidError("a column is named twice", code="release.column_twice")
        if self.kind is not RecipientClass.INTERNAL and any(
            _leads_back(known[name]) for name in self.as_is
        ):
            raise RefusedError(
                "a column that leads back to persons does not go out as it is",
                code="release.column_unfit",
            )
        self.thresholds()

    def thresholds(self) -> "Thresholds":
        """Those of the class, or stricter ones that were asked for.

        Raises:
            InvalidError: `release.threshold_laxer`.
        """
        from governance.anonymization.disclosure import Thresholds  # noqa: PLC0415 - polars

        least = Thresholds(
            settings.RELEASE_K[self.kind.value], settings.RELEASE_L, settings.RELEASE_T
        )
        wanted = Thresholds(
            least.k if self.k is None else self.k,
            least.l if self.l is None else self.l,
            least.t if self.t is None else self.t,
        )
        laxer = wanted.k < least.k or wanted.l < least.l
        if laxer or not wanted.t.is_finite() or not 0 <= wanted.t <= least.t:
            raise InvalidError(
                "a release may be held to more than its recipient's thresholds, not to less",
                code="release.threshold_laxer",
            )
        return wanted


@dataclass(frozen=True)
class Assessed:
    """What would go out, measured.

    Attributes:
        asked: the request.
        measures: figures and levels, as the record keeps them.
        rows, suppressed: that go out, that do not.
        level: of GB/T 42460.
        reasons: why a person must decide; none where nobody has to.
        generalization: turns a frame of the version into what goes out.
    """

    asked: Asked
    measures: dict[str, Any]
    rows: int
    suppressed: int
    level: int
    reasons: tuple[str, ...]
    generalization: "Generalization" = field(repr=False)

    def payload(self, version: DatasetVersion) -> dict[str, Any]:
        """What an approval is bound to: this version, generalized like this, for this recipient."""
        return {
            "version": str(version.id),
            "recipient": self.asked.recipient,
            "recipient_class": self.asked.kind.value,
            "measures": self.measures,
            "rows": self.rows,
            "suppressed": self.suppressed,
            "level": self.level,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class Generalization:
    """What each value of each quasi-identifier becomes, and which classes stay behind."""

    columns: tuple[str, ...]  # that go out, in the version's order
    of: Mapping[str, Mapping[str, str]]
    left_out: "pl.DataFrame"  # classes, by their generalized values

    def apply(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """The rows of a frame that go out, as texts."""
        import polars as pl  # noqa: PLC0415 - only who exports pays for it

        out = frame.select(
            _generalized(name, self.of[name]) if name in self.of else pl.col(name).cast(pl.String)
            for name in self.columns
        )
        if not self.left_out.height:
            return out
        return out.join(self.left_out, on=list(self.of), how="anti", maintain_order="left")


def assess(version: DatasetVersion, asked: Asked) -> Assessed:
    """Read the version once, find the least generalization that will do, and say what it measures.

    Where none will do, what is shown to those who decide is the table with every quasi-identifier
    at `*`; where a person chose the levels, the table at those levels.

    Raises:
        InvalidError, RefusedError: as `Asked.check`; `release.too_many_columns`,
            `release.too_many_combinations`, `release.level_unknown`, `release.no_rows`.
    """
    from governance.anonymization import disclosure  # noqa: PLC0415 - polars

    asked.check(version)
    counts = disclosure.count(frames(version), asked.quasi, asked.sensitive)
    table = disclosure.Table(counts, version.dataset.declarations.get("columns", {}))
    if not table.rows:
        raise InvalidError("the version has no rows", code="release.no_rows")
    wanted = asked.thresholds()
    node = _chosen(table, asked, wanted) if asked.levels else disclosure.search(table, wanted)
    reasons: tuple[str, ...] = ()
    if node is None:
        node = table.whole(_levels(table, asked) if asked.levels else table.top)
        reasons = node.measures.misses(wanted) or ("release.too_much_suppressed",)
    measures = _measures(table, node, asked)
    direct = _goes_out_directly(version, asked, table, node)
    if direct and asked.kind is not RecipientClass.INTERNAL:
        reasons += ("release.direct_identifiers",)
    if intersects(version, asked.recipient, measures):
        reasons += (INTERSECTION,)
    met = not node.measures.misses(wanted)
    return Assessed(
        asked=asked,
        measures=measures,
        rows=node.measures.rows,
        suppressed=node.suppressed,
        level=1 if direct else 3 if met else 2,
        reasons=reasons,
        generalization=_generalization(version, asked, counts, table, node),
    )


def intersects(version: DatasetVersion, recipient: str, measures: Mapping[str, Any]) -> bool:
    """Whether the recipient holds this dataset in another version or another form.

    Two such tables can be laid over each other, and classes of k become classes of fewer.
    """
    earlier = DataRelease.objects.filter(version__dataset=version.dataset, recipient=recipient)
    return any(
        release.version_id != version.id or release.measures != dict(measures)
        for release in earlier
    )


def subject_of(version: DatasetVersion, recipient: str) -> str:
    """What a proposal to release is about: one version for one recipient, without the name."""
    named = sha256(f"{version.id}\x1f{recipient}".encode()).hexdigest()
    return f"datarelease:{named[:32]}"


def lack_of(version: DatasetVersion, assessed: Assessed) -> str | None:
    """The code of what keeps this release in the house: why a person must decide, and has not.

    None where nobody has to, or where exactly this was approved and the approval is unused.
    """
    if not assessed.reasons:
        return None
    subject = subject_of(version, assessed.asked.recipient)
    proposal = approvals.latest(ProposalKind.DATA_RELEASE, subject)
    if proposal is None:
        return assessed.reasons[0]
    lack = approvals.what_lacks(proposal, timezone.now())
    if lack is None and proposal.payload_hash != digest(assessed.payload(version)):
        return "approval.payload_changed"
    return lack


def unmeasured_level(version: DatasetVersion) -> int:
    """The level of a whole version: 1 where a typed column was kept as it is, else 2."""
    return 1 if any(_is_direct(column) for column in version.columns) else 2


def _chosen(table: "Table", asked: Asked, wanted: "Thresholds") -> "Node | None":
    from governance.anonymization import disclosure  # noqa: PLC0415 - polars

    node = table.enforce(_levels(table, asked), wanted)
    return node if disclosure.is_within(node, table) else None


def _levels(table: "Table", asked: Asked) -> tuple[int, ...]:
    levels = tuple(asked.levels.get(ladder.column, 0) for ladder in table.ladders)
    if any(not 0 <= n <= height for n, height in zip(levels, table.top, strict=True)):
        raise InvalidError("a column has no such level", code="release.level_unknown")
    return levels


def _measures(table: "Table", node: "Node", asked: Asked) -> dict[str, Any]:
    found = node.measures
    return {
        "quasi": table.named(node.levels),
        "sensitive": list(asked.sensitive),
        "as_is": list(asked.as_is),
        "k": found.k,
        "classes": found.classes,
        **({} if found.l is None else {"l": found.l}),
        **({} if found.entropy_l is None else {"entropy_l": decimal(found.entropy_l)}),
        **({} if found.t is None else {"t": decimal(found.t)}),
    }


def _generalization(
    version: DatasetVersion, asked: Asked, counts: "Counts", table: "Table", node: "Node"
) -> Generalization:
    of = {
        built.column: built.rungs[level].of
        for built, level in zip(table.ladders, node.levels, strict=True)
    }
    left_out = (
        counts.table()
        .filter(~node.kept)
        .select(_generalized(name, mapping) for name, mapping in of.items())
        .unique()
    )
    columns: Sequence[str] = [column["name"] for column in version.columns]
    return Generalization(tuple(n for n in columns if n in asked.columns), of, left_out)


def _generalized(name: str, of: Mapping[str, str]) -> "pl.Expr":
    import polars as pl  # noqa: PLC0415 - only who exports pays for it

    from governance.anonymization.disclosure import as_text  # noqa: PLC0415 - as above

    texts = as_text(name)
    return texts.replace_strict(list(of), list(of.values()), return_dtype=pl.String).alias(name)


def _leads_back(column: Mapping[str, Any]) -> bool:
    """Whether a column holds or links persons: identifiers in any form, and text about them."""
    if column.get("declared") == "subject":
        return True
    operator = str(_operator(column))
    return column.get("kind") == "prose" or (column.get("kind") == "typed" and operator in _LINKING)


def _is_direct(column: Mapping[str, Any]) -> bool:
    return column.get("kind") == "typed" and _operator(column) == "keep"


def _goes_out_directly(version: DatasetVersion, asked: Asked, table: "Table", node: "Node") -> bool:
    at = {b.column: level for b, level in zip(table.ladders, node.levels, strict=True)}
    return any(
        _is_direct(column) and column["name"] in asked.columns and at.get(column["name"], 0) == 0
        for column in version.columns
    )


def _operator(column: Mapping[str, Any]) -> object:
    operator = column.get("operator")
    return operator.get("operator") if isinstance(operator, Mapping) else operator
