"""What a person reads when something was refused: a sentence for each stable code, and the code.

The errors themselves speak English and name rows and limits; these sentences exist to be
translated. A test compares the table with the codes that the packages raise.
"""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from audit.errors import DomainError

_GENERIC: Final = "you may not do this"  # what `@action` says of every refusal; the code says why

SENTENCES: Final[dict[str, Promise]] = {
    # Rights and approvals
    "permission.denied": _("You may not do this."),
    "permission.no_role": _("You hold no role for this tenant."),
    "permission.role_missing": _("Your role does not allow this."),
    "permission.other_tenant": _("This belongs to another tenant."),
    "permission.not_a_proposal": _("This is nothing that could be decided."),
    "approval.missing": _("An approval is still missing."),
    "approval.expired": _("An approval is older than 24 hours and must be given again."),
    "approval.used": _("The approval was used already."),
    "approval.rejected": _("The proposal was rejected."),
    "approval.own_proposal": _("Nobody approves what they proposed themselves."),
    "approval.own_role": _("Nobody approves a role for themselves."),
    "approval.approver_left": _("An approver no longer holds the role in which they approved."),
    "approval.twice": _("You approved this already."),
    "approval.role_filled": _("The approval of your role is there already."),
    "approval.one_person": _("Two different people must approve this."),
    "approval.payload_changed": _("What was approved is not what would be done now."),
    "proposal.closed": _("This proposal is closed."),
    "proposal.expired": _("This proposal has expired."),
    "proposal.no_effect": _("Nothing carries out proposals of this kind."),
    "not_found": _("There is no such thing here."),
    "refused": _("This was refused."),
    "conflict": _("The current state does not allow this."),
    "invalid": _("The input is not valid."),
    # People and tenants
    "role.conflict": _("One person may not hold both roles."),
    "role.other_tenant": _("This role is granted for another tenant."),
    "role.held": _("The person holds this role already."),
    "role.subject_unknown": _("There is no such user or organization."),
    "role.last_officer": _("A tenant keeps at least one privacy officer."),
    "role.revoked": _("This role was revoked already."),
    "user.exists": _("This user name is taken."),
    "user.other_tenants": _("The person holds roles for other tenants as well."),
    "user.password_weak": _("The password is too weak."),
    "user.name_missing": _("A user needs a name."),
    "tenant.exists": _("This tenant exists already."),
    "tenant.neither": _("A tenant is a provider, a customer, or both."),
    "tenant.suite_unknown": _("There is no such cipher suite."),
    "purpose.basis_unknown": _("There is no such legal basis."),
    "purpose.slug_invalid": _("A purpose's name is made of letters, digits, - and _."),
    "purpose.exists": _("This purpose is declared already."),
    "purpose.missing": _("A dataset needs a purpose."),
    "purpose.unknown": _("This purpose is not declared here."),
    "purpose.not_granted": _("The dataset may not be processed for this purpose."),
    # Uploads and tables
    "upload.missing": _("No file was chosen."),
    "upload.refused": _("The upload was refused."),
    "upload.too_large": _("The file is larger than is accepted."),
    "upload.interrupted": _("The upload broke off."),
    "upload.no_tenant": _("Sign in for a tenant before you upload."),
    "dataset.declaration_invalid": _("The declarations do not fit."),
    "dataset.not_its_file": _("This file was uploaded for something else."),
    "dataset.busy": _("The dataset is being read right now, so its plan cannot change."),
    "dataset.exists": _("A dataset of this name exists."),
    "dataset.language_unknown": _("The languages are Chinese and English."),
    "dataset.name_invalid": _("A name is made of letters, digits, - and _."),
    "dataset.not_profiled": _("This dataset has no column plan yet."),
    "dataset.not_proposed": _("This dataset waits for no plan."),
    "dataset.plan_outdated": _("The detector has changed since this plan was made."),
    "dataset.regime_unknown": _("The regimes are eu, cn and ca."),
    "dataset.source_gone": _("The uploaded file of this dataset is gone."),
    "declarations.unreadable": _("The declarations are not a JSON object."),
    "ingest.cancelled": _("The ingest was cancelled."),
    "internal": _("Something went wrong on our side; the operator's log has the details."),
    "release.leaks": _("Looking at the output again found personal data, so nothing was sealed."),
    "table.bad_json": _("A line is not one flat JSON object."),
    "table.blank_header": _("A column has no name."),
    "table.bomb": _("The file grows out of proportion when it is unpacked."),
    "table.cell_too_long": _("A cell is longer than is accepted."),
    "table.column_missing": _("The table has no such column."),
    "table.columns_differ": _("The columns of the table changed on the way."),
    "table.duplicate_header": _("Two columns have the same name."),
    "table.empty": _("The file is empty."),
    "table.encoding_unknown": _("The encoding cannot be told; choose it."),
    "table.encoding_unsupported": _("This encoding is not read here."),
    "table.format_mismatch": _("The file is not what its name says it is."),
    "table.format_unknown": _("This format is not read here."),
    "table.header_missing": _("The first row holds data where the column names should be."),
    "table.invalid": _("The table cannot be read."),
    "table.kind_mismatch": _("A value does not fit the declared kind of its column."),
    "table.line_too_long": _("A line is longer than is accepted."),
    "table.long_header": _("A column's name is too long."),
    "table.nested": _("A cell holds a list or an object, not one value."),
    "table.no_rows": _("The table has a header and no rows."),
    "table.not_parquet": _("The Parquet file is damaged, encrypted or cut short."),
    "table.not_workbook": _("The .xlsx file is damaged or protected."),
    "table.nul_byte": _("A row holds a NUL character."),
    "table.ragged_row": _("A row has another number of cells than the header."),
    "table.too_many_columns": _("The table has too many columns."),
    "table.unbalanced_quotes": _("A quoted cell never ends."),
    "table.undecodable": _("Bytes of the file do not belong to its encoding."),
    "table.unsupported_type": _("A column is of a type that has no text form."),
    # Plans
    "anonymize.operator_invalid": _("An operator's settings are not valid."),
    "anonymize.mask_tail": _("The last characters of an identifier are never kept."),
    "recognition.plan_invalid": _("A typed column needs an entity."),
    "recognition.unknown_column": _("The plan has no such column."),
    "recognition.timeout": _("Looking at one value took too long."),
    # Budgets and runs
    "budget.cap_invalid": _("This cap is out of range."),
    "budget.exceeded": _("The dataset's privacy budget does not allow this run any more."),
    "budget.over_cap": _("This ε is over the cap of the dataset's privacy budget."),
    "budget.unreachable": _("No noise level gives this ε."),
    "run.config_invalid": _("A parameter of the run is out of range."),
    "run.declarations_changed": _(
        "The dataset's declarations changed since the run was asked for."
    ),
    "run.epsilon_invalid": _("ε must be a positive number."),
    "run.delta_invalid": _("δ must lie between 0 and 1."),
    "run.failed": _("The run failed."),
    "run.idempotency_conflict": _("This request was sent before, with other content."),
    "run.model_invalid": _("There is no such kind of model."),
    "run.guarantee_invalid": _("There is no such guarantee."),
    "run.noise_invalid": _("No usable noise level follows from this request."),
    "run.not_public": _("This dataset was not declared public."),
    "run.not_sealed": _("There is no sealed version of this dataset to train on."),
    "run.plan_invalid": _("The plan of this run cannot be read."),
    "run.queue_invalid": _("There is no such queue."),
    "run.refused": _("The rules of the house forbid this run."),
    "run.rows_differ": _("The version does not hold the rows that were declared."),
    "run.state": _("The state of this run does not allow this now."),
    "run.target_barred": _("The column plan does not allow this target."),
    "run.target_missing": _("There is no such target column."),
    "run.too_few_rows": _("There are too few rows to train on."),
    "run.worker_lost": _(
        "The worker died after it had touched the data; what it spent stays spent."
    ),
    "feature.bounds_missing": _("A numeric column has no declared bounds."),
    "feature.column_missing": _("A declared column is not in the table."),
    "feature.declaration_invalid": _("The declaration of a column is not valid."),
    "feature.target_labels": _("The labels of the target are not declared."),
    "feature.target_leak": _("The target would be one of the features."),
    "engine.diverged": _("The training diverged."),
    # Models, licenses and keys
    "model.name_invalid": _("A model's name is made of letters, digits, - and _."),
    "model.name_taken": _("This model name is taken."),
    "model.no_version": _("This model has no version yet."),
    "model.not_released": _("No version of this model is released."),
    "model.state": _("The state of this model version does not allow this now."),
    "license.expired": _("The license has expired."),
    "license.features_invalid": _("Choose one or more of the features."),
    "license.not_a_customer": _("This tenant is not a customer."),
    "license.quota_invalid": _("A quota is a whole number of at least 1."),
    "license.revoked": _("The license was revoked."),
    "license.term_invalid": _("A license ends after it starts, and not in the past."),
    "key.mode_refused": _("Only who gave the license issues a key whose calls are not charged."),
    "key.mode_unknown": _("A key is live or test."),
    "key.name_invalid": _("A key needs a name of 1 to 80 characters."),
    "key.revoked": _("This key was revoked already."),
    "key.term_invalid": _("A key ends in the future, and not after its license."),
    "term.invalid": _("This date is not valid."),
    # Evidence
    "audit.log_empty": _("Nothing in the log was signed yet; try again in a moment."),
    "audit.not_sequenced": _("The entry waits for the next signed tree."),
    "audit.key_missing": _("A signing key is not where it should be."),
    "audit.proof_invalid": _("A proof does not hold."),
    "crypto.open_failed": _("The sealed data does not open."),
    "objects.missing": _("The sealed bytes of an object are gone."),
}


def sentence(code: str) -> str:
    """What a code says to a person; the code itself where there is no sentence."""
    known = SENTENCES.get(code)
    return code if known is None else str(known)


def told(error: DomainError) -> str:
    """An error for a person: its sentence, what it names by number, its code."""
    known = sentence(error.stable_code)
    if known == error.stable_code:
        known = error.detail
    elif error.detail != _GENERIC and _speaks_english():
        known = error.detail[:1].upper() + error.detail[1:]
    elif any(letter.isdigit() for letter in error.detail):
        known = f"{known} {error.detail}"  # which row, which limit
    return gettext("%(sentence)s (%(code)s)") % {"sentence": known, "code": error.stable_code}


def _speaks_english() -> bool:
    return (get_language() or "en").startswith("en")
