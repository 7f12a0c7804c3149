"""The main job on real servers: PostgreSQL holds the truth, RabbitMQ or Redis the nudges."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.settings.env import BASE_DIR

Environment = Callable[..., dict[str, str]]
ROWS = 6000


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
@pytest.mark.timeout(600)
def test_the_main_job(
    fresh_database_url: str, environment: Environment, broker: str, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", "--rows", str(ROWS), "--json"],
        cwd=BASE_DIR,
        env=environment(fresh_database_url, broker),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["rows"], told["leaks"]) == (ROWS, 0)
    assert told["entities"]["national_id"].keys() == {"CN_ID", "US_SSN"}
    assert float(told["epsilon"]["epsilon_spent"]) <= 1
    assert (told["predictions"], told["receipts"]) == (50, 50)
    assert told["verified"].startswith("VERIFIED")
    assert told["tampered"].startswith("BROKEN")
    # Nothing that was planted lies anywhere under the home in the clear.
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        assert b"@example." not in path.read_bytes(), path.name
