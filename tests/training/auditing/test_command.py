"""`manage.py audit_engine`: one object or a table; 0, 1 or 2. No database is open here."""

import io
import itertools
import json
from typing import Any

import pytest
from django.core.management import call_command

from training import randomness
from training.config import Plan

SMALL = ("--canaries", "400", "--runs", "2", "--steps", "40")


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = itertools.count()
    monkeypatch.setattr(
        randomness,
        "fresh_secret",
        lambda: randomness.seeded_secret(next(seeds), allow_seeded=True),
    )


def command(*arguments: str) -> tuple[int, str, str]:
    out, error = io.StringIO(), io.StringIO()
    try:
        call_command("audit_engine", *arguments, stdout=out, stderr=error)
    except SystemExit as stopped:
        return int(stopped.code or 0), out.getvalue(), error.getvalue()
    return 0, out.getvalue(), error.getvalue()


def halve(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Plan.noise
    monkeypatch.setattr(Plan, "noise", lambda self, source, count: real(self, source, count) / 2)


@pytest.mark.parametrize("path", ["closed", "hooked"])
def test_one_object(path: str) -> None:
    code, out, _ = command(*SMALL, "--epsilon", "4", "--pass", path, "--json")
    (line,) = out.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert (code, found["passes"], found["pass"]) == (0, True, path)
    assert set(found) == {
        "passes", "checks", "epsilon_claimed", "delta", "confidence", "one_run", "one_run_curve",
        "gaussian_fit", "participation", "unpaid_steps", "canaries", "runs", "pass", "steps",
        "sample_rate", "noise_multiplier", "seconds",
    }  # fmt: skip
    assert (found["canaries"], found["runs"], found["steps"]) == (800, 2, 40)
    assert 3.99 < float(found["epsilon_claimed"]) <= 4.0


def test_a_table_and_exit_4_where_the_claim_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = command(*SMALL, "--epsilon", "4")
    assert code == 0
    assert out.count("holds") == 6
    assert "BROKEN" not in out
    halve(monkeypatch)
    code, out, _ = command(*SMALL, "--epsilon", "4")
    assert code == 4
    (line,) = [line for line in out.splitlines() if "BROKEN" in line]
    assert line.startswith("fit, Gaussian scores")


@pytest.mark.parametrize(
    ("flag", "value", "code"),
    [
        ("--epsilon", "0", "run.epsilon_invalid"),
        ("--epsilon", "nan", "run.epsilon_invalid"),
        ("--steps", "0", "run.steps_invalid"),
        ("--runs", "0", "auditing.runs_invalid"),
        ("--canaries", "50", "auditing.canaries_invalid"),
        ("--canaries", "5001", "auditing.canaries_invalid"),
    ],
)
def test_bad_input_is_exit_2(flag: str, value: str, code: str) -> None:
    status, out, error = command(*SMALL, flag, value)
    assert (status, out, json.loads(error)["code"]) == (2, "", code)
