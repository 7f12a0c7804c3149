"""A tenant's own terms and patterns: added as a new edition, opened to be amended, tried first."""

from audit.events import Event
from audit.recording import Record, action
from governance import batches
from governance.errors import ConflictError, InvalidError
from governance.models import Dataset, Part, RecognitionRules, Tenant
from governance.permissions import Permission
from governance.rbac import UserActor
from governance.recognition.tenant_rules import RuleBook
from governance.recognition_rules import book_of, edition_of, newest_rules
from governance.stages import QUARANTINE


@action(Event.RULES_ADDED, requires=Permission.RULES_ADD)
def add_rules(
    record: Record, actor: UserActor, tenant: Tenant, *, book: RuleBook
) -> RecognitionRules:
    """Add an edition. Plans made before it no longer hold for what is anonymized from now on.

    No second person is asked here: a plan names its edition, and approving the plan approves the
    rules for that dataset.

    Raises:
        ConflictError: `rules.unchanged`: the newest edition says the same.
    """
    # Two who add at once wait here for each other, so that numbers have no gap.
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    last = newest_rules(tenant)
    edition = edition_of(
        tenant, book, number=1 if last is None else last.number + 1, by=actor.user_id
    )
    if last is not None and last.digest == edition.digest:
        raise ConflictError("the newest edition says the same", code="rules.unchanged")
    edition.save(force_insert=True)
    record.about(edition)
    record.facts(
        number=edition.number,
        digest=edition.digest,
        finds=edition.finds,
        allows=edition.allows,
    )
    return edition


@action(Event.RULES_OPENED, requires=Permission.RULES_ADD)
def open_rules(record: Record, actor: UserActor, edition: RecognitionRules) -> RuleBook:
    """Show the terms and patterns of an edition to who may write the next one.

    Raises:
        SealError: whatever is wrong with the sealed body.
    """
    del actor
    record.facts(number=edition.number)
    return book_of(edition)


@action(Event.RULES_TRIED, requires=Permission.RULES_TRY)
def begin_trial(
    record: Record, actor: UserActor, subject: Dataset | Tenant, *, book: RuleBook, part: int = 1
) -> Part | None:
    """Allow rules to be tried; the file is read after this commits, and only masks come out.

    Args:
        record: filled here.
        actor: the steward.
        subject: a dataset whose newest batch is read, or the tenant where a text was pasted.
        book: the rules.
        part: which file of the batch, from 1.

    Returns:
        The file to read; None for a pasted text.

    Raises:
        ConflictError: `dataset.source_gone`.
        InvalidError: `rules.empty`: there is nothing to try.
    """
    del actor
    if not (book.allow or book.deny or book.patterns):
        raise InvalidError("there is no rule to try", code="rules.empty")
    record.facts(finds=len(book.deny) + len(book.patterns), allows=len(book.allow))
    if isinstance(subject, Tenant):
        return None
    batch = batches.newest(subject)
    file = None if batch is None else batch.parts.filter(number=part).first()
    if file is None or file.stored.kind != QUARANTINE:
        raise ConflictError("this dataset's file is gone", code="dataset.source_gone")
    record.facts(object=file.stored.reference)
    return file
