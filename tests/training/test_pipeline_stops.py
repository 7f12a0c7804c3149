"""Every way in which an attempt may end without a model, and what it costs then."""

import errno
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage

from audit.models import AuditEntry
from governance import leases
from governance.models import PurposeGrant
from governance.models.jobs import JobState
from governance.scoping import tenant_scope
from governance.vault import ObjectWriter
from tests.factories.attempts import account, fresh, job_of, outcome
from tests.factories.people import House, make_house
from tests.factories.training import DECLARATIONS, SMALL, ask, make_version, trained
from training import ledger, pipeline
from training.actions.runs import cancel_run
from training.models import ModelVersion, RunState


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


TEXT: dict[str, Any] = {"kind": "encoded", "encoder": "minilm-l6"}


def test_without_the_encoder_a_run_says_so_and_costs_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from training import encoder, packaged

    columns = {**DECLARATIONS["columns"], "note": TEXT}
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    run = ask(house, version)
    elsewhere = replace(packaged.ENCODERS["minilm-l6"], folder=tmp_path)
    monkeypatch.setattr(encoder, "_loaded", lambda _: encoder.SentenceEncoder(elsewhere))
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "encoder.missing")
    with tenant_scope(house.id):
        assert ledger.statement(version.dataset.budget).spent == 0


def test_cancelled_at_work_it_stops_and_costs_what_it_wrote(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))
    draw = pipeline._Attempt._draw

    def cancel_once(self: Any, progress: Any) -> None:
        draw(self, progress)
        if progress.step == 20:
            cancel_run(house.engineer, self.run)

    monkeypatch.setattr(pipeline._Attempt, "_draw", cancel_once)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.CANCELLED, "run.cancelled")
    known = account(run)
    assert (known.steps, known.closed, job_of(run).state) == (20, True, JobState.CANCELLED)
    assert outcome("run.stopped") == ("done", None)
    with tenant_scope(house.id):
        assert not ModelVersion.objects.exists()
        assert 0 < ledger.statement(run.version.dataset.budget).spent < 1


def test_a_full_disk_stops_the_run_and_the_ledger_is_right(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(house, make_version(house))
    keep, times = ObjectWriter.finish, iter(range(100))

    def full(self: Any) -> Any:
        if self._kind == "checkpoint" and next(times) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep(self)

    monkeypatch.setattr(ObjectWriter, "finish", full)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "checkpoint.not_written")
    known = account(run)
    assert (known.steps, known.closed) == (40, True)
    assert not list((Path(settings.PORTCULLIS_HOME) / "objects").rglob("*.part"))


def test_weights_that_diverge_fail_the_run_and_stay_charged(house: House) -> None:
    run = ask(house, make_version(house), config={**SMALL, "learning_rate": "1e38"})
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "engine.diverged")
    assert account(run).steps == 20
    assert outcome("run.stopped") == ("failed", "engine.diverged")


def test_whatever_else_goes_wrong_is_told_without_its_text(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError("11010518991231004X")

    monkeypatch.setattr(pipeline, "fit", broken)
    run = ask(house, make_version(house))
    leases.run_here(run.reference)
    assert fresh(run).error_code == "internal"
    assert "ValueError at test_pipeline_stops.py" in caplog.text
    assert "11010518991231004X" not in caplog.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"declarations": {**DECLARATIONS, "columns": {}}}, "run.declarations_changed"),
        ({"declarations": {"columns": {"gone": {"kind": "text"}}}}, "feature.column_missing"),
    ],
)
def test_declarations_that_changed_meanwhile_stop_it_before_it_reads(
    house: House, change: dict[str, Any], code: str
) -> None:
    version = make_version(house)
    run = ask(house, version)
    with tenant_scope(house.id):
        type(version.dataset).objects.filter(pk=version.dataset_id).update(**change)
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, code)
    known = account(run)
    assert (known.touched, known.closed) == (False, True)


def test_a_purpose_that_was_withdrawn_meanwhile_stops_it_before_it_reads(house: House) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        PurposeGrant.objects.all().delete()
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "purpose.not_granted")
    assert not account(run).touched
    assert outcome("run.begun") == ("denied", "purpose.not_granted")


def test_sealed_rows_that_do_not_open_stop_it_untouched(house: House) -> None:
    version = make_version(house)
    run = ask(house, version)
    with Path(default_storage.path(version.stored.name)).open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        file.write(b"\0")
    leases.run_here(run.reference)
    run = fresh(run)
    assert (run.state, run.error_code) == (RunState.FAILED, "crypto.open_failed")
    assert not account(run).touched


def test_a_second_message_for_a_finished_run_does_nothing(house: House) -> None:
    made = trained(house, make_version(house))
    before = AuditEntry.objects.count()
    pipeline.work(job_of(fresh(made.run)).id)
    assert AuditEntry.objects.count() == before
