"""Two people at the same moment on PostgreSQL, where a look-up before a write protects nothing."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

from gateway.settings.env import BASE_DIR

ROUNDS: Final = 8  # two threads do not always meet
# How the two fared, in order of words, and what is left.
RACES: Final[dict[str, list[Any]]] = {
    "two_approvers": ["ok", "ok", [False, True]],
    "one_person_twice": ["approval.twice", "ok", 1],
    "approve_and_reject": ["ok", "proposal.closed", True],
    "one_approval_used_twice": ["approval.used", "ok"],
    "two_proposals_of_one_subject": ["ok", "ok", 1],
    "two_claims": [False, True, 1],
    "two_uploads_of_one_name": ["dataset.exists", "ok", 1, 1],
    "two_last_groups": ["ok", "ok", 1],
    "two_failing_groups": ["job.lost_lease", "ok", "cancelled", "failed"],
    "the_last_group_and_a_stop": ["failed", 0],
    "two_batches_at_once": ["dataset.busy", "ok", 2],
    "two_of_one_user_name": ["ok", "user.exists", 1],
    "two_of_one_purpose": ["ok", "purpose.exists", 1],
    "two_officers_leave": ["ok", "role.last_officer", 1],
    "two_roles_that_conflict": ["ok", "role.conflict", 1],
    "two_labels_of_one_prediction": ["feedback.conflict", "ok", 1],
    "one_label_twice": ["ok", "ok", 1],
    "two_passes_of_the_watch": ["ok", "ok", 3, 1],
}


@pytest.fixture(scope="module")
def ends(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Every race of the table, some rounds of each, in one process."""
    return _run(database_url, str(tmp_path_factory.mktemp("home")), ROUNDS, *RACES)


def _run(database_url: str, home: str, rounds: int, *names: str) -> dict[str, list[Any]]:
    environment = {
        "PATH": "",
        "PYTHONPATH": str(BASE_DIR),
        "DJANGO_SETTINGS_MODULE": "gateway.settings.dev",
        "PORTCULLIS_HOME": home,
        "DATABASE_URL": database_url,
    }
    _python(environment, "manage.py", "migrate", "--verbosity", "0")
    start = "import django; django.setup(); from tests.services.races import main"
    told: dict[str, list[Any]] = json.loads(
        _python(environment, "-c", f"{start}; main({rounds}, *{names!r})")
    )
    return told


def _python(environment: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=BASE_DIR, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", RACES)
def test_one_of_two_wins_and_the_other_is_told(ends: dict[str, list[Any]], name: str) -> None:
    assert ends[name] == [RACES[name]] * ROUNDS


def test_a_house_is_founded_once(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In an empty database, where there is no row to lock."""
    ends = _run(fresh_database_url, str(tmp_path_factory.mktemp("home")), 1, "two_founders")
    assert ends == {"two_founders": [["bootstrap.done", "ok", 1, 2]]}
