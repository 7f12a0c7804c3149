"""A laptop, and the demo: everything under PORTCULLIS_HOME, loopback only, no server needed."""

from gateway.settings.base import *
from gateway.settings.base import derive
from gateway.settings.env import DevelopmentEnvironment, load
from gateway.settings.firststart import prepare, secret_key

_env = load(DevelopmentEnvironment)
prepare(_env.home)
globals().update(derive(_env))

PROFILE = "dev"
# Off unless asked for: Django's error pages show local variables, and those are data.
DEBUG = _env.debug
ALLOWED_HOSTS = _env.allowed_hosts
SECRET_KEY = secret_key(_env.home)
LOG_KEY_FILE = _env.log_key_file or _env.home / "keys" / "log.key"
RECEIPT_KEY_FILE = _env.receipt_key_file or _env.home / "keys" / "receipt.key"
ROOT_KEY_FILE = _env.root_key_file or _env.home / "keys" / "root.key"
WHITENOISE_USE_FINDERS = True  # `make serve` works without collectstatic
