"""Production: every secret and name comes from the environment, or the process does not start."""

from gateway.settings.base import *
from gateway.settings.base import derive
from gateway.settings.env import ProductionEnvironment, load

_env = load(ProductionEnvironment)
globals().update(derive(_env))

PROFILE = "prod"
DEBUG = False
SECRET_KEY = _env.secret_key.get_secret_value()
ALLOWED_HOSTS = _env.allowed_hosts
CSRF_TRUSTED_ORIGINS = _env.csrf_trusted_origins
LOG_KEY_FILE = _env.log_key_file
RECEIPT_KEY_FILE = _env.receipt_key_file
ROOT_KEY_FILE = _env.root_key_file

SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # probes speak plain HTTP inside the cluster
SECURE_HSTS_SECONDS = _env.hsts_seconds
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# Trusting the header without a proxy that sets it would let a client claim HTTPS.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _env.behind_proxy else None
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-session"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrf"
