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
    "dataset.columns_differ": _("A file has other columns than the files before it."),
    "dataset.groups_missing": _("Not every row group was treated."),
    "dataset.not_busy": _("Nothing of this dataset is under way."),
    "dataset.not_staged": _("A file of this dataset must be read anew first."),
    "dataset.plan_not_in_force": _("This column plan is not the one in force."),
    "dataset.rows_differ": _("A row group holds other rows than were cut."),
    "dataset.wait_over": _("The ingest has not ended yet; it goes on."),
    "job.given_up": _("Several workers died over this; it was given up."),
    "dataset.declaration_invalid": _("The declarations do not fit."),
    "dataset.not_its_file": _("This file was uploaded for something else."),
    "dataset.busy": _("The dataset is being read right now, so its plan cannot change."),
    "dataset.exists": _("A dataset of this name exists."),
    "dataset.language_unknown": _("The languages are Chinese and English."),
    "dataset.name_invalid": _("A name is made of letters, digits, - and _."),
    "dataset.not_profiled": _("This dataset has no column plan yet."),
    "dataset.not_proposed": _("This dataset waits for no plan."),
    "dataset.plan_outdated": _("The detector has changed since this plan was made."),
    "dataset.rules_outdated": _("The tenant's own rules have changed since this plan was made."),
    "dataset.sensitive_unknown": _("There is no such special category of personal data."),
    "dataset.regime_unknown": _("Nothing is looked for under this law."),
    "dataset.source_gone": _("The uploaded file of this dataset is gone."),
    "declarations.unreadable": _("The declarations are not a JSON object."),
    "measurement.line_too_long": _("A line of the labeled set is too long."),
    "measurement.not_json": _("A line of the labeled set is not JSON."),
    "measurement.row_invalid": _("A line of the labeled set lacks what a row needs."),
    "measurement.span_invalid": _("A span of the labeled set does not fit its text."),
    "measurement.empty": _("The labeled set has no rows."),
    "ingest.cancelled": _("The ingest was cancelled."),
    "internal": _("Something went wrong on our side; the operator's log has the details."),
    "release.leaks": _("Looking at the output again found personal data, so nothing was sealed."),
    "release.k_missed": _("Fewer rows than required hide each person."),
    "release.l_missed": _("A class of rows holds too few different sensitive values."),
    "release.t_missed": _("A class of rows differs too much from all rows."),
    "release.too_much_suppressed": _("More than a tenth of the rows would have to stay behind."),
    "release.intersection": _("This recipient holds the dataset in another version or form."),
    "release.direct_identifiers": _("A column that goes out holds direct identifiers."),
    "release.recipient_invalid": _("A recipient's name is made of letters, digits, - and _."),
    "release.quasi_missing": _("Say by which columns a person could be recognized."),
    "release.column_unknown": _("The version has no such column."),
    "release.column_twice": _("A column is named twice."),
    "release.column_unfit": _("A column that leads back to persons does not go out as it is."),
    "release.threshold_laxer": _(
        "A release may be held to stricter thresholds, not to laxer ones."
    ),
    "release.level_unknown": _("A column has no such level."),
    "release.no_rows": _("The version has no rows."),
    "release.too_many_columns": _(
        "So many quasi-identifiers have too many generalizations to be tried."
    ),
    "release.too_many_combinations": _("The quasi-identifiers have too many combinations."),
    "release.nothing_to_approve": _("This release meets its thresholds and needs no approval."),
    "examination.kind_unknown": _("Choose one or more of the attacks that are offered."),
    "examination.shadows_invalid": _("Shadow models are 4 to 16, an even number."),
    "examination.key_invalid": _("The idempotency key is too long."),
    "examination.idempotency_conflict": _("This idempotency key was used for another request."),
    "examination.no_run": _("This model was not trained here, so its rows are not known."),
    "examination.not_private": _(
        "Shadow models would be trained on private rows, and each record's score depends on many "
        "others, so no affordable noise would hide one person. This attack is made on public rows, "
        "or where two people waived the guarantee."
    ),
    "examination.no_claim": _("This model claims no ε that its engine could be held against."),
    "examination.not_trained": _(
        "Nothing was trained for an ensemble: examine its members in this way."
    ),
    "examination.epsilon_over": _(
        "An examination takes no more ε than a run takes without an approval."
    ),
    "examination.worker_lost": _("Several workers died over this examination; it was given up."),
    "examination.refused": _("This model may not be examined so."),
    "examination.state": _("The examination has ended already."),
    "examination.failed": _("The examination came to no figures."),
    "examination.wait_over": _("The examination has not ended yet; it goes on."),
    "twin.rows_invalid": _("A twin has one to ten million rows."),
    "twin.nothing_public": _("No column has public bins: declare bounds or categories."),
    "twin.epsilon_over": _("A twin takes no more ε than a run takes without an approval."),
    "table.bad_json": _("A line is not one JSON object."),
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
    "table.hidden_header": _("A column's name holds characters that change the order it reads in."),
    "table.invalid": _("The table cannot be read."),
    "table.kind_mismatch": _("A value does not fit the declared kind of its column."),
    "table.line_too_long": _("A line is longer than is accepted."),
    "table.long_header": _("A column's name is too long."),
    "table.mixed_encodings": _("The rows of the file are in different encodings."),
    "table.nesting_conflict": _(
        "Two columns claim one place in the nested output; choose CSV or Parquet."
    ),
    "table.no_rows": _("The table has a header and no rows."),
    "table.not_gzip": _("The gzip file is damaged, cut short or followed by something else."),
    "table.not_parquet": _("The Parquet file is damaged, encrypted or cut short."),
    "table.not_workbook": _("The .xlsx file is damaged or protected."),
    "table.nul_byte": _("A row holds a NUL character."),
    "table.ragged_row": _("A row has another number of cells than the header."),
    "table.too_deep": _("The data are nested too deep."),
    "table.too_many_columns": _("The table has too many columns."),
    "table.too_many_values": _("The lists of one row hold too many values."),
    "table.unbalanced_quotes": _("A quoted cell never ends."),
    "table.undecodable": _("Bytes of the file do not belong to its encoding."),
    "table.unsupported_type": _("A column is of a type that has no text form."),
    # Sources
    "source.and_files": _("Name files or a source, not both."),
    "source.columns_ambiguous": _("Two columns of the result have the same name."),
    "source.nothing_there": _("Nothing is there."),
    "source.outside": _("This path leads out of the source."),
    "source.query_refused": _("The source refused the query."),
    "source.selection_invalid": _("The selection is too long, or holds a NUL character."),
    "callfile.empty": _("The file has no rows."),
    "callfile.ended": _("This file has ended."),
    "callfile.expired": _("The answers to this file are kept no longer."),
    "callfile.given_up": _("Every worker that took this file died."),
    "callfile.no_answers": _("Nothing of this file was answered."),
    "callfile.rows_too_many": _("The file has too many rows."),
    "callfile.too_large": _("The file is too large."),
    "callfile.too_many": _("Too many files of this license wait already."),
    "callfile.unreadable": _("The file cannot be read as what it is said to be."),
    "callfile.waiting": _("This file is being answered."),
    "request.rows_invalid": _("Rows do not fit the model's schema."),
    "batch.busy": _("Other batches are being answered: send it again."),
    "batch.too_slow": _("The batch takes too long: send fewer rows at a time."),
    "source.target_unclear": _("Name a new dataset, or the one that takes a batch."),
    "source.too_many_files": _("More files are there than are accepted at once."),
    "source.unknown": _("No such source is set up here."),
    "source.unreachable": _("The source does not answer."),
    "source.unreadable": _("The source cannot be read."),
    # Plans
    "anonymize.operator_invalid": _("An operator's settings are not valid."),
    "anonymize.mask_tail": _("The last characters of an identifier are never kept."),
    "recognition.model_missing": _("A model that the settings ask for is not installed."),
    "rules.empty": _("There is no rule to try."),
    "rules.entity_invalid": _("An entity is named by 3 to 31 capital letters, digits and _."),
    "rules.invalid": _("These rules cannot be read."),
    "rules.pattern_invalid": _("A pattern cannot be read, is too large, or matches nothing."),
    "rules.term_invalid": _("A term has 2 to 200 characters."),
    "rules.text_too_long": _("The example is too long."),
    "rules.too_large_here": _(
        "This edition is too large for the form: use the API or the command line."
    ),
    "rules.too_many": _("There are too many rules."),
    "rules.unchanged": _("The newest edition says the same."),
    "rules.unknown": _("The tenant has no such edition of rules."),
    "rules.unreadable": _("The rules are not JSON."),
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
    "run.no_curves": _("This run has no curve yet."),
    "run.goes_on": _("What is kept of this run is still needed."),
    "run.one_class": _(
        "The usable rows do not hold both labels of the target: there is nothing to learn."
    ),
    "run.not_public": _("This dataset was not declared public."),
    "feature.pixels": _("A CNN reads as many pixel columns as its image has, and nothing else."),
    "examination.cancelled": _("The examination was cancelled."),
    "run.not_trained": _("This account ends with what it was opened for; nothing trains in it."),
    "examination.no_engine": _("A boosted model was not trained by the loop that canaries audit."),
    "feature.not_binned": _("A boosted model cannot read an encoded text."),
    "run.image_invalid": _("An image has channels, height and width within the limits."),
    "run.module_invalid": _("There is no such module, or it does not give one logit a row."),
    "run.module_not_allowed": _("The operator does not allow this module."),
    "run.views_invalid": _("A record has 1 to 16 views, and 1 alone in this kind of model."),
    "run.view_noise_invalid": _("The noise of a view is above 0 and at most 10."),
    "run.replace_layers_invalid": _("Only layers of a module of one's own can be replaced."),
    "run.adversary_invalid": _("An adversary is 0 to 1, and of networks of layers alone."),
    "run.patience_invalid": _("Patience is a whole number of blocks within the limits."),
    "run.members_invalid": _("An ensemble, and nothing else, names two to ten members, each once."),
    "run.member_unknown": _("There is no such model version to be a member."),
    "run.member_withdrawn": _("A member of the ensemble is withdrawn."),
    "run.member_kind": _("This kind of model cannot be a member of an ensemble."),
    "run.member_differs": _(
        "Members have the dataset, purpose, target, labels, privacy unit and guarantee of the "
        "request."
    ),
    "run.member_columns": _(
        "The dataset does not let a model read every column of a member any more."
    ),
    "run.ensemble_fixed": _("The same members would make the same ensemble."),
    "run.twin_invalid": _("Only a run with a DP guarantee has a twin without noise: yes or no."),
    "run.twin_not_public": _(
        "A twin is trained without noise, so no ε covers it: only on rows declared public."
    ),
    "run.search_invalid": _(
        "A search has 2 to 32 candidates, an expected number of 2 to 64 trials, and ε-DP."
    ),
    "search.field_fixed": _("All candidates of a search have this field in common."),
    "search.nothing_usable": _("The best trial of the search came to nothing."),
    "run.forms_invalid": _("There is no such form of a model, or it is named twice."),
    "run.not_trained_here": _("This model version was not trained here."),
    "run.not_sealed": _("There is no sealed version of this dataset to train on."),
    "run.plan_invalid": _("The plan of this run cannot be read."),
    "run.priority_invalid": _("There is no such priority."),
    "run.queue_invalid": _("There is no such queue."),
    "run.refused": _("The rules of the house forbid this run."),
    "run.rows_differ": _("The version does not hold the rows that were declared."),
    "run.subject_changed": _(
        "Persons are called otherwise in this version than in one that was trained on."
    ),
    "run.subject_unreadable": _(
        "The subject column does not tell persons apart any more; give it a pseudonym or a token."
    ),
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
    "feature.one_text": _("Adapters read one encoded text: ignore the other columns."),
    "encoder.missing": _("The text encoder is not installed: run make install."),
    "encoder.differs": _("The text encoder's files are not those that are pinned."),
    "engine.devices_busy": _("Other runs had the devices for a day: try again."),
    "engine.devices_lost": _("Another run took the devices over: try again."),
    "engine.diverged": _("The training diverged."),
    "engine.rank_lost": _(
        "A process of the training died; a retry goes on, and what was spent stays spent."
    ),
    "checkpoint.damaged": _(
        "What the last worker kept of this attempt is damaged; what it spent stays spent."
    ),
    "checkpoint.not_written": _("The checkpoint could not be written: is the disk full?"),
    # Quality
    "quality.column_missing": _("A part of the table lacks a column."),
    "quality.contract_column": _("The contract names a column that the table does not have."),
    "quality.contract_invalid": _("A term of the contract cannot be read."),
    "quality.contract_race": _("Another contract was set meanwhile: look at it, and try again."),
    "quality.contract_unmet": _("This version does not meet its quality contract."),
    "quality.no_version": _("This dataset has no sealed version yet."),
    "quality.normalization_invalid": _("The form that values are brought to is not valid."),
    "quality.not_checked": _("The quality of this version was not checked within 30 days."),
    "quality.not_sketched": _("This version has no sketch yet: check its quality first."),
    "quality.sketch_mismatch": _("These sketches are of different tables."),
    "quality.too_large": _(
        "This version is too large to wait for: check it from the command line."
    ),
    "quality.unit_unknown": _("This unit is not known."),
    "version.number_invalid": _("A version's number is expected."),
    # Models, licenses and keys
    "model.name_invalid": _("A model's name is made of letters, digits, - and _."),
    "model.name_taken": _("This model name is taken."),
    "model.no_version": _("This model has no version yet."),
    "model.not_released": _("No version of this model is released."),
    "model.state": _("The state of this model version does not allow this now."),
    "license.expired": _("The license has expired."),
    "license.amendment_invalid": _("Change at least one of the terms that can be amended."),
    "license.feature_missing": _("The license does not cover this feature."),
    "license.features_invalid": _("Choose one or more of the features."),
    "license.file_days_invalid": _("A license file is good for 1 to 366 days."),
    "rollout.service_unknown": _("A version answers all calls, a share of them, or none."),
    "rollout.share_invalid": _("A canary's share is a whole number of percent from 1 to 99."),
    "rollout.service_taken": _("Another version of this model has this part."),
    "rollout.nothing_beside": _("No other version of this model would answer."),
    "rollout.sunset_invalid": _("A version's service ends in the future."),
    "rollout.sunset_earlier": _("Customers were told of a later end of service."),
    "rollout.invalid": _("This part of the service cannot be given."),
    "license.not_a_customer": _("This tenant is not a customer."),
    "license.not_a_trial": _("A paid license does not become a trial."),
    "license.not_suspended": _("This license is not suspended."),
    "license.purpose_differs": _("The license is for another purpose."),
    "license.purpose_missing": _("The license is for several purposes: the call must name one."),
    "license.purposes_invalid": _("Choose one or more purposes."),
    "license.quota_below_use": _("More units are used already than that."),
    "license.quota_invalid": _("A quota is a whole number of at least 1."),
    "license.reason_unknown": _("Choose one of the reasons."),
    "license.region_differs": _("The license is for other regions."),
    "license.region_missing": _("The license is for certain regions: the call must name one."),
    "license.regions_invalid": _("Regions are country codes or slugs in lower case."),
    "license.revoked": _("The license was revoked."),
    "license.quota_exhausted": _("The license's quota is used up."),
    "limit.burst_invalid": _("Calls at once are a whole number of at least 1."),
    "limit.empty": _("A limit has a rate, a quota or both."),
    "limit.lifted": _("This limit was lifted already."),
    "limit.period_unknown": _("A quota begins anew each month, or never."),
    "limit.quota_invalid": _("A quota is a whole number of at least 1."),
    "limit.race": _("This limit was set by somebody else at the same moment: look at it again."),
    "limit.rate_exceeded": _("Too many calls a second."),
    "limit.rate_invalid": _("Calls a second are a whole number of at least 1."),
    "quota.customer_exhausted": _("The customer's quota is used up."),
    "quota.key_exhausted": _("The key's quota is used up."),
    "quota.license_exhausted": _("The license's quota of this period is used up."),
    "quota.model_exhausted": _("The model's quota is used up."),
    "license.term_invalid": _("A license ends after it starts, and not in the past."),
    "key.address_refused": _("This key may not be used from here."),
    "key.addresses_invalid": _("These are no networks, or more than 32."),
    "key.expired": _("This key has expired."),
    "key.keep_unknown": _("Say which secret stays: the current or the previous one."),
    "key.overlap_invalid": _("The old secret stays good for 30 days at most."),
    "key.overlap_open": _(
        "The last rotation's overlap has not ended: say which of the two secrets stays."
    ),
    "key.refused": _("The key is good, and not for this."),
    "key.rotated_already": _(
        "The key was rotated by this request, and its secret cannot be shown again."
    ),
    "key.scope_missing": _("This key may not be used for this."),
    "key.scopes_invalid": _("These are no scopes, or the license does not cover them."),
    "license.seats_invalid": _("Seats are a whole number from 1 to 10,000."),
    "license.seats_taken": _("All seats of this license are taken: revoke a key first."),
    "license.suspended": _("The license is suspended."),
    "license.terms_changed": _("The license's terms changed meanwhile: send the call again."),
    "license.trial_renewed": _("A trial is not renewed: make it a paid license first."),
    "license.trial_too_long": _("A trial lasts 30 days at most."),
    "license.trial_used": _("This customer had a trial of this model already."),
    "key.mode_refused": _("Only who gave the license issues a key whose calls are not charged."),
    "key.mode_unknown": _("A key is live or test."),
    "key.name_invalid": _("A key needs a name of 1 to 80 characters."),
    "key.revoked": _("This key was revoked already."),
    "key.term_invalid": _("A key ends in the future, and not after its license."),
    "term.invalid": _("This date is not valid."),
    "statement.month_invalid": _("A month is written like 2026-11."),
    "statement.no_license": _("There is no license of this customer here."),
    "statement.not_reconciled": _(
        "The log and the hourly sums differ: no statement is made until somebody has looked."
    ),
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
