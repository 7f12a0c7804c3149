"""What it costs to check an API key: ours, remembered, beside djangorestframework-api-key's.

    DATABASE_URL=postgresql://… python -m tests.benchmarks.serving.key_check

Both in one process, on one PostgreSQL, one key each: `gateway.keys.authenticate(text)`, and
`HasAPIKey().has_permission(request, None)`, of which nothing but the key is read from the request.
CPU time of this process alone, so that what the database works for the peer is not counted, in
turns A B A B …; medians. Prints one JSON object.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.settings.env import BASE_DIR

ROUNDS: Final = 15
OURS: Final = 20_000  # checks a round
THEIRS: Final = 400
FLOOD: Final = 20_000  # bad keys


def key_check_ratio(environ: Mapping[str, str]) -> dict[str, float]:
    """`key_check_ratio`, and the figures behind it, measured in a process of its own.

    Args:
        environ: of that process; DATABASE_URL names an empty PostgreSQL database.

    Returns:
        `key_check_ratio` (theirs / ours), `key_check_us`, `key_check_peer_us`, `bad_key_us` (of one
        whose checksum fails) and `unknown_key_us` (of one that nobody holds, never seen before).
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.serving.key_check"],
        env={**environ, "DJANGO_SETTINGS_MODULE": "tests.benchmarks.serving.key_check_settings"},
        capture_output=True,
        text=True,
        cwd=BASE_DIR,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def cost(check: Callable[[], Any], times: int) -> float:
    """Microseconds of CPU that one check takes."""
    began = time.process_time()
    for _ in range(times):
        check()
    return (time.process_time() - began) / times * 1e6


def main() -> None:
    """Measure, and print."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.serving.key_check_settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import RequestFactory
    from rest_framework_api_key.models import APIKey
    from rest_framework_api_key.permissions import HasAPIKey

    from gateway import keys
    from gateway.errors import CredentialError
    from gateway.models import KeyMode
    from tests.factories.gateway import make_shop

    secret = make_shop().secret
    _, foreign = APIKey.objects.create_key(name="bench")
    request: Any = RequestFactory().get("/", headers={"Authorization": f"Api-Key {foreign}"})

    ours = functools.partial(keys.authenticate, secret)

    def theirs() -> None:
        if not HasAPIKey().has_permission(request, None):
            raise RuntimeError("the peer refused its own key")

    def refused(text: str) -> None:
        try:
            keys.authenticate(text)
        except CredentialError:
            return
        raise RuntimeError("a bad key was let in")

    cost(ours, 2000), cost(theirs, 50)
    told: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        told["ours"].append(cost(ours, OURS))
        told["theirs"].append(cost(theirs, THEIRS))
    own, peer = (statistics.median(told[side]) for side in ("ours", "theirs"))
    bad = iter([secret[:-1] + ("0" if secret[-1] != "0" else "1")] * FLOOD)
    unknown = iter([keys.generate(KeyMode.LIVE).text for _ in range(FLOOD // 10)])
    print(
        json.dumps(
            {
                "key_check_ratio": round(peer / own, 1),
                "key_check_us": round(own, 3),
                "key_check_peer_us": round(peer, 1),
                "bad_key_us": round(cost(lambda: refused(next(bad)), FLOOD), 3),
                "unknown_key_us": round(cost(lambda: refused(next(unknown)), FLOOD // 10), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
