"""The suite: a temporary home for each process, so that parallel workers share nothing.

PORTCULLIS_TEST_HOME names a home instead, for a process that a test starts. DATABASE_URL,
CELERY_BROKER_URL and REDIS_URL are read as everywhere: the suite also runs on real servers.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from gateway.settings.base import *
from gateway.settings.base import derive
from gateway.settings.env import DevelopmentEnvironment, load
from gateway.settings.firststart import prepare, secret_key


def _remove(folder: str, *, owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not remove its parent's home
        shutil.rmtree(folder, ignore_errors=True)


# PORTCULLIS_HOME is not asked: a developer's own must not be written to by tests.
_home = os.environ.get("PORTCULLIS_TEST_HOME")
if _home is None:
    _home = tempfile.mkdtemp(prefix="portcullis-test-")
    atexit.register(_remove, _home, owner=os.getpid())

_env = load(DevelopmentEnvironment).model_copy(update={"home": Path(_home).resolve()})
prepare(_env.home)
globals().update(derive(_env))

PROFILE = "test"
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]
SECRET_KEY = secret_key(_env.home)
LOG_KEY_FILE = _env.home / "keys" / "log.key"
RECEIPT_KEY_FILE = _env.home / "keys" / "receipt.key"
ROOT_KEY_FILE = _env.home / "keys" / "root.key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # for speed
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True  # each test client would list every static file
STATIC_ROOT = _env.home / "static"
ALLOW_SEEDED_NOISE = True
INPUT_COUNTS_EVERY = None  # no thread writes beside a test's transaction
# Figures that the tests of the ledger reckon with, whatever the defaults are.
DEFAULT_EPSILON_CAP = 10.0
RUN_APPROVAL_EPSILON = 3.0
CHECKPOINT_SECONDS = 0.0  # after every block
TRAINING_RUNS_PER_TENANT = 20  # a run that a test kills keeps its place
TRAINING_PROCESSES = 1
TRAINING_DEVICES = 0  # whatever this machine has

STATIC_ROOT.mkdir(exist_ok=True)
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: shared in-memory databases lock by table and ignore the busy timeout.
    DATABASES["default"]["TEST"] = {"NAME": str(_env.home / "test.sqlite3")}
